//! One explorer with many nodes: what their heartbeats cost, whether any is thought away that is not, how long a page of
//! them takes, and what passing a call on adds to calling the node itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::JoinSet,
};

use super::Bench;
use crate::{
    lines::{Lines, question},
    node::{Folder, free_address},
    process::{Process, Usage},
    redis_server::RedisServer,
    report::Target,
};

/// The pause between two heartbeats of a node.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the explorer may take until it answers.
const START_TIME: Duration = Duration::from_secs(20);
/// What the explorer may use of one processor.
const CPU_PERCENT: f64 = 50.0;
const MEMORY_MIB: f64 = 200.0;
const PAGE_MS: f64 = 5.0;
const ADDED_MS: f64 = 0.5;
const PAGE: &str = r#"{"filter":{"limit":100,"sort":"free_slots"}}"#;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (nodes, alive) = (bench.sizes.nodes, Duration::from_secs(bench.sizes.nodes_s));
    let folder = Folder::new(bench.options, "explorer")?;
    let redis = RedisServer::start(folder.path(), bench.options.aof).await?;
    let address = free_address()?;
    let mut command = bench.binaries.command("explorer");
    command
        .env("HERO_EXPLORER__TCP", format!("tcp://{address}"))
        .env("HERO_EXPLORER__SOCKET", format!("unix://{}", folder.path().join("explorer.sock").display()))
        .env("HERO_EXPLORER__LISTEN", "tcp://127.0.0.1:0")
        .env("HERO_EXPLORER__ADMIN__LISTEN", "tcp://127.0.0.1:0")
        .env("HERO_EXPLORER__REDIS__URL", redis.url());
    let mut explorer = Process::start("explorer", &mut command, folder.path())?;
    let mut client = ready(&mut explorer, address).await?;

    let echo = echo().await?;
    let simulator = Simulator::start(address, echo, nodes).await?;
    let known = known(&mut client, nodes, INTERVAL * 12).await;
    simulator.failed()?;
    known?;
    let before = explorer.usage()?;
    let away = watch(&mut client, nodes, alive).await?;
    let after = explorer.usage()?;
    simulator.failed()?;
    record(bench, before, after, alive, away);
    calls(bench, address, echo).await
}

/// What the steady state has cost.
fn record(bench: &mut Bench<'_>, before: Usage, after: Usage, alive: Duration, away: u64) {
    let percent = (after.cpu_us - before.cpu_us) as f64 / alive.as_secs_f64() / 1e4;
    let peak = after.peak as f64 / f64::from(1 << 20);
    let report = &mut bench.report;
    report.plain("explorer.nodes", bench.sizes.nodes as f64, "");
    report.plain("explorer.watched", alive.as_secs_f64(), "s");
    report.add("explorer.cpu", percent, "%", Some(Target::AtMost(CPU_PERCENT)), None);
    report.add("explorer.memory", peak, "MiB", Some(Target::AtMost(MEMORY_MIB)), None);
    report.add("explorer.falsely_away", away as f64, "", Some(Target::AtMost(0.0)), None);
}

/// Pages of nodes, and calls that are passed on beside the same calls made directly. The nodes go on all the while.
async fn calls(bench: &mut Bench<'_>, address: SocketAddr, echo: SocketAddr) -> anyhow::Result<()> {
    let times = bench.sizes.round_trips / 10;
    let mut client = Lines::open(address).await?;
    let pages = client.load(&question("list_nodes", PAGE), times / 4).await?;
    let page = pages.checked("list_nodes")?.percentile_ms(0.5);
    let target = Some(Target::AtMost(PAGE_MS));
    bench.report.add("explorer.page_of_100.p50", page, "ms", target, None);

    let mut direct = Lines::open(echo).await?;
    let direct = direct.load(&question("whoami", "[]"), times).await?;
    let direct = direct.checked("the node itself")?.percentile_ms(0.5);
    bench.report.plain("explorer.direct.p50", direct, "ms");
    let passed = question("call_node", r#"{"node_id":"node-0","method":"whoami"}"#);
    client.load(&passed, times / 10).await?.checked("warm-up")?;
    let passed = client.load(&passed, times).await?;
    let passed = passed.checked("call_node")?.percentile_ms(0.5);
    bench.report.plain("explorer.call_node.p50", passed, "ms");
    let target = Some(Target::AtMost(ADDED_MS));
    bench.report.add("explorer.call_node.added", passed - direct, "ms", target, None);
    Ok(())
}

async fn ready(explorer: &mut Process, address: SocketAddr) -> anyhow::Result<Lines> {
    let answered = async {
        loop {
            explorer.alive()?;
            match Lines::open(address).await {
                Ok(client) => return anyhow::Ok(client),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(START_TIME, answered).await.context("the explorer does not listen")?
}

/// How many nodes are alive.
async fn alive(client: &mut Lines) -> anyhow::Result<u64> {
    let params = r#"{"filter":{"state":"alive","limit":1}}"#;
    let answer: Value = serde_json::from_str(&client.ask(&question("list_nodes", params)).await?)?;
    answer["result"]["total"].as_u64().with_context(|| format!("list_nodes answered {answer}"))
}

/// Waits until every node is known.
async fn known(client: &mut Lines, nodes: usize, longest: Duration) -> anyhow::Result<()> {
    let all = async {
        while alive(client).await? < nodes as u64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(longest, all).await.context("not every node was heard of")?
}

/// Looks once a second for so long; the most nodes that were thought away at a time.
async fn watch(client: &mut Lines, nodes: usize, time: Duration) -> anyhow::Result<u64> {
    let until = tokio::time::Instant::now() + time;
    let mut away = 0;
    while tokio::time::Instant::now() < until {
        away = away.max(nodes as u64 - alive(client).await?);
        tokio::time::sleep_until(until.min(tokio::time::Instant::now() + Duration::from_secs(1))).await;
    }
    Ok(away)
}

/// A node as far as calls are concerned: it answers every line.
async fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 0 {
                    let answer = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"bench (admin)\"}\n";
                    stream.get_mut().write_all(answer.as_bytes()).await?;
                    line.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });
    Ok(address)
}

/// Nodes that live, each with a key and a connection of its own. They end with this.
struct Simulator {
    _nodes: JoinSet<()>,
    failures: Arc<AtomicU64>,
}

impl Simulator {
    async fn start(explorer: SocketAddr, echo: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let failures = Arc::new(AtomicU64::new(0));
        let mut nodes = JoinSet::new();
        for number in 0..count {
            let mut node = Node::new(number, echo)?;
            let failures = Arc::clone(&failures);
            // Spread over the interval, as nodes are that were started at any time.
            let first =
                INTERVAL.min(Duration::from_millis(count as u64)).mul_f64(number as f64 / count as f64);
            nodes.spawn(async move {
                tokio::time::sleep(first).await;
                if node.live(explorer).await.is_err() {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(Self { _nodes: nodes, failures })
    }

    /// A node whose heartbeat was not taken makes every figure worthless.
    fn failed(&self) -> anyhow::Result<()> {
        let failures = self.failures.load(Ordering::Relaxed);
        anyhow::ensure!(failures == 0, "{failures} nodes were not heard by the explorer");
        Ok(())
    }
}

struct Node {
    key: Ed25519KeyPair,
    public_key: String,
    beat: Value,
    counter: u64,
}

impl Node {
    fn new(number: usize, echo: SocketAddr) -> anyhow::Result<Self> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok().context("a seed makes a key")?;
        let beat = json!({
            "node_id": format!("node-{number}"), "name": format!("machine {number}"), "version": "1.0.0",
            "addresses": [format!("tcp://{echo}")], "script_types": ["OSIS", "Python", "SAL"],
            "labels": {"zone": format!("zone-{}", number % 20)}, "runners": 1, "slots": 16, "busy": number % 16,
            "queues": {"Python": number % 3}, "twin_id": number,
            "machine": {"cpus": 8, "cpu_percent": 12.5, "load": 0.75, "memory_bytes": 17_179_869_184_u64,
                "memory_used_bytes": 4_294_967_296_u64, "disk_bytes": 1_099_511_627_776_u64, "disk_used_bytes": 1},
            "started_at_ms": now_ms(), "interval_ms": INTERVAL.as_millis() as u64,
        });
        Ok(Self { public_key: hex(key.public_key().as_ref()), key, beat, counter: 0 })
    }

    async fn live(&mut self, explorer: SocketAddr) -> anyhow::Result<()> {
        let mut connection = Lines::open(explorer).await?;
        let mut pause = tokio::time::interval(INTERVAL);
        loop {
            pause.tick().await;
            let answer = connection.ask(&self.line()).await?;
            anyhow::ensure!(!answer.contains("\"error\""), "{answer}");
        }
    }

    fn line(&mut self) -> String {
        self.counter += 1;
        self.beat["counter"] = self.counter.into();
        self.beat["sent_at_ms"] = now_ms().into();
        let beat = self.beat.to_string();
        let signature = hex(self.key.sign(beat.as_bytes()).as_ref());
        let key = &self.public_key;
        question("heartbeat", &format!(r#"{{"beat":{beat},"public_key":"{key}","signature":"{signature}"}}"#))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
