//! The Mycelium bridge before a made-up overlay whose messages arrive at once: what is measured is not the daemon.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hero_client::{
    Client, Destination,
    mycelium::{Daemon, DaemonOptions, Pushed},
};
use hero_domain::JobId;
use hero_testing::mycelium::{FakeDaemon, FakeOverlay, RealDaemon};
use serde_json::{Value, json};

use super::Bench;
use crate::{
    latency::Latencies,
    node::{Folder, Node, Staff},
    process::Process,
    report::Target,
};

/// What the bridge may add to a call.
const OVERHEAD_MS: f64 = 2.0;
/// Requests a second through one bridge.
const RATE: f64 = 500.0;
/// Callers at a time while the rate is taken; each holds a connection to its daemon, which has 100.
const CALLERS: usize = 64;
/// What it may add to a request and its reply between two real daemons.
const REAL_ADDED_MS: f64 = 15.0;
/// The topic of the daemons' own requests.
const ECHO: &str = "bench.echo";
const IDLE_PERCENT: f64 = 1.0;
const IDLE_CALLS: f64 = 50.0;
/// How long the bridge may take until it answers.
const START_TIME: Duration = Duration::from_secs(20);
/// After this time without traffic it has calmed down.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("overlay", Staff::NoRunner).await?;
    let overlay = FakeOverlay::new();
    let (here, there) = (overlay.daemon().await?, overlay.daemon().await?);
    let folder = Folder::new(bench.options, "overlay-bridge")?;
    let bridge = start(bench, &node, &folder, &here.pk(), &there.url())?;
    let to: Destination = there.pk().parse()?;
    let over = Client::over_mycelium(here.url(), to).build()?;
    let direct = Client::builder(format!("http://{}", node.gateway)).build()?;
    answers(&over).await?;

    let times = bench.sizes.round_trips / 10;
    let mut without = load(&direct, 1, times).await?.checked("calls to the gateway")?;
    let mut with = load(&over, 1, times).await?.checked("calls over the bridge")?;
    let (without, with) = (without.percentile_ms(0.5), with.percentile_ms(0.5));
    bench.report.plain("overlay.gateway.1.p50", without, "ms");
    bench.report.plain("overlay.bridge.1.p50", with, "ms");
    let target = Some(Target::AtMost(OVERHEAD_MS));
    bench.report.add("overlay.overhead.p50", with - without, "ms", target, None);
    let mut many = load(&over, CALLERS, times * 5).await?.checked("calls over the bridge")?;
    bench.report.add("overlay.rate", many.rate(), "/s", Some(Target::AtLeast(RATE)), None);
    bench.report.plain("overlay.bridge.64.p99", many.percentile_ms(0.99), "ms");
    idle(bench, &bridge, &there).await?;
    drop((bridge, node));
    match &bench.options.mycelium {
        Some(binary) => real(bench, binary).await,
        None => Ok(()),
    }
}

async fn answers(node: &Client) -> anyhow::Result<()> {
    let answered = async {
        while node.whoami().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_TIME, answered).await.context("the bridge does not answer")
}

/// Two real daemons: a call over the bridge beside a request and its reply that the daemons carry by themselves.
async fn real(bench: &mut Bench<'_>, binary: &Path) -> anyhow::Result<()> {
    let there = RealDaemon::start(binary, &[])?;
    let here = RealDaemon::start(binary, &[there.peer()])?;
    let daemon = |of: &RealDaemon| Daemon::new(&of.url(), DaemonOptions::default());
    let (asking, answering) = (daemon(&here)?, daemon(&there)?);
    let peered = async {
        while !matches!(asking.peers().await, Ok(1..)) || !matches!(answering.peers().await, Ok(1..)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_TIME, peered).await.context("the daemons do not find each other")?;
    let to = Destination::Pk(answering.info().await?.node_pubkey);
    let times = (bench.sizes.round_trips / 40).min(500);

    let echo = tokio::spawn(async move {
        loop {
            match answering.pop(ECHO).await {
                Ok(Some(message)) => {
                    let payload = message.payload.unwrap_or_default();
                    let _ = answering.reply(&message.id, &message.from, &payload).await;
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
    let mut own = Latencies::with_capacity(times);
    for _ in 0..times {
        let asked = Instant::now();
        match asking.ask(&to, Some(ECHO), b"an echo of some bytes", Duration::from_secs(10)).await? {
            Pushed::Reply(_) => own.add(asked.elapsed()),
            Pushed::Expired(id) => own.add_failure(&format!("message {id} got no reply")),
        }
    }
    echo.abort();
    let own = own.checked("the daemons' own requests")?.percentile_ms(0.5);

    let node = bench.node("overlay-real", Staff::NoRunner).await?;
    let folder = Folder::new(bench.options, "overlay-real-bridge")?;
    let peer = asking.info().await?.node_pubkey.to_string();
    let _bridge = start(bench, &node, &folder, &peer, &there.url())?;
    let over = Client::over_mycelium(here.url(), to).build()?;
    answers(&over).await?;
    let with = load(&over, 1, times).await?.checked("calls over real daemons")?.percentile_ms(0.5);
    bench.report.plain("overlay.real.daemon.p50", own, "ms");
    bench.report.plain("overlay.real.bridge.p50", with, "ms");
    bench.report.add("overlay.real.added", with - own, "ms", Some(Target::AtMost(REAL_ADDED_MS)), None);
    Ok(())
}

fn start(
    bench: &Bench<'_>,
    node: &Node,
    folder: &Folder,
    peer: &str,
    daemon: &str,
) -> anyhow::Result<Process> {
    let peer = format!(r#"[{{ pk = "{}", scope = "user" }}]"#, peer);
    let config = folder.path().join("bridge.toml");
    std::fs::write(&config, format!("peers = {peer}\n"))?;
    let mut command = bench.binaries.command("mycelium-bridge");
    command
        .arg("--config")
        .arg(config)
        .args(["--mycelium-url", daemon, "--listen", "tcp://127.0.0.1:0"])
        .args(["--supervisor", &format!("tcp://{}", node.supervisor.context("there is a supervisor")?)])
        .args(["--redis-url", &node.redis.url()])
        .env("HERO_MYCELIUM_BRIDGE__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    Process::start("mycelium-bridge", &mut command, folder.path())
}

/// The same look, many times: a job that does not exist costs the node next to nothing.
async fn load(client: &Client, callers: usize, times: usize) -> anyhow::Result<Latencies> {
    let begun = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let client = client.clone();
        let params = json!({ "filter": { "limit": 1, "caller_id": JobId::mint() } });
        running.spawn(async move {
            let mut seen = Latencies::with_capacity(times / callers);
            for _ in 0..times / callers {
                let asked = Instant::now();
                match client.call::<Value>("list_jobs", &params).await {
                    Ok(_) => seen.add(asked.elapsed()),
                    Err(error) => seen.add_failure(&error.to_string()),
                }
            }
            seen
        });
    }
    let mut seen = Latencies::with_capacity(times);
    while let Some(one) = running.join_next().await {
        seen.merge(one?);
    }
    seen.elapsed = begun.elapsed();
    Ok(seen)
}

/// What it costs that nothing comes.
async fn idle(bench: &mut Bench<'_>, bridge: &Process, daemon: &FakeDaemon) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let (before, calls, begun) = (bridge.usage()?, daemon.calls(), Instant::now());
    tokio::time::sleep(Duration::from_secs(bench.sizes.idle_s)).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let percent = (bridge.usage()?.cpu_us - before.cpu_us) as f64 / elapsed / 1e4;
    let rate = (daemon.calls() - calls) as f64 / elapsed;
    bench.report.add("overlay.idle.cpu", percent, "%", Some(Target::AtMost(IDLE_PERCENT)), None);
    bench.report.add("overlay.idle.calls", rate, "/s", Some(Target::AtMost(IDLE_CALLS)), None);
    Ok(())
}
