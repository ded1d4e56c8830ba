//! The Mycelium bridge before a made-up overlay whose messages arrive at once: what is measured is not the daemon.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hero_client::{Client, Destination};
use hero_domain::JobId;
use hero_testing::mycelium::{FakeDaemon, FakeOverlay};
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
    let bridge = start(bench, &node, &folder, &here, &there)?;
    let to: Destination = there.pk().parse()?;
    let over = Client::over_mycelium(here.url(), to).build()?;
    let direct = Client::builder(format!("http://{}", node.gateway)).build()?;
    let answered = async {
        while over.whoami().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_TIME, answered).await.context("the bridge does not answer")?;

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
    idle(bench, &bridge, &there).await
}

fn start(
    bench: &Bench<'_>,
    node: &Node,
    folder: &Folder,
    here: &FakeDaemon,
    there: &FakeDaemon,
) -> anyhow::Result<Process> {
    let peer = format!(r#"[{{ pk = "{}", scope = "user" }}]"#, here.pk());
    let config = folder.path().join("bridge.toml");
    std::fs::write(&config, format!("peers = {peer}\n"))?;
    let mut command = bench.binaries.command("mycelium-bridge");
    command
        .arg("--config")
        .arg(config)
        .args(["--mycelium-url", &there.url(), "--listen", "tcp://127.0.0.1:0"])
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
