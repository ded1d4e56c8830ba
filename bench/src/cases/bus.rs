//! The message bus: two relays, two Redis, an old program that asks and one that sends back what it gets; beside the
//! same two programs talking straight through one Redis.
//!
//! The programs are as the contract has them: RPUSH a request, BLPOP the answer. Each answer is told by its number, so
//! that one that is lost and one that comes twice are seen.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use redis::Connection;
use serde::{Deserialize, Serialize};

use super::Bench;
use crate::{
    latency::Latencies,
    node::{Binaries, free_address},
    process::Process,
    redis_server::RedisServer,
    report::Target,
};

const LOCAL: &str = "msgbus.system.local";
const SERVICE: &str = "msgbus.echo";
/// Seeds of the two twins' ed25519 keys, and their public keys.
const SEEDS: [&str; 2] = ["01", "02"];
const ACCOUNTS: [&str; 2] = [
    "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
    "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
];
const ASKER: u32 = 1;
const SERVER: u32 = 2;
/// A twin whose address takes connections and never answers.
const DEAD: u32 = 9;
/// Requests to it that wait while the others are measured.
const TO_THE_DEAD: usize = 200;
/// Payloads, in bytes.
const SMALL: usize = 64;
const LARGE: usize = 64 << 10;
const IN_FLIGHT: usize = 16;
/// How long an answer may take before it counts as lost, and how long the end of a run is waited for.
const LOST_AFTER_S: f64 = 30.0;
const START_TIME: Duration = Duration::from_secs(20);
/// The other twins' p99 may grow by this much beside a dead one: what two runs differ by.
const DEAD_GROWTH_PERCENT: f64 = 25.0;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let world = World::start(&bench.binaries, folder.path(), bench.options.aof).await?;
    let sizes = bench.sizes;
    let report = &mut bench.report;

    let straight = |in_flight, count, bytes| world.straight().run(in_flight, count, bytes);
    let bus = |in_flight, count, bytes| world.bus().run(in_flight, count, bytes);
    report.plain("bus.straight.16.rate", straight(IN_FLIGHT, sizes.bus / 2, SMALL)?.rate()?, "/s");
    report.plain("bus.straight.1.p50", straight(1, sizes.bus_one, SMALL)?.seen.percentile_ms(0.5), "ms");
    report.plain("bus.straight.64k.16.rate", straight(IN_FLIGHT, sizes.bus_large, LARGE)?.rate()?, "/s");

    bus(IN_FLIGHT, sizes.bus_one, SMALL)?;
    let floor = Some("bus.straight.1.p50");
    let p50 = bus(1, sizes.bus_one, SMALL)?.seen.percentile_ms(0.5);
    report.add("bus.1.p50", p50, "ms", Some(Target::AtMost(1.0)), floor);
    let floor = Some("bus.straight.64k.16.rate");
    let rate = bus(IN_FLIGHT, sizes.bus_large, LARGE)?.rate()?;
    report.add("bus.64k.16.rate", rate, "/s", Some(Target::AtLeast(1_000.0)), floor);

    let mut run = bus(IN_FLIGHT, sizes.bus, SMALL)?;
    let floor = Some("bus.straight.16.rate");
    report.add("bus.16.rate", run.seen.rate(), "/s", Some(Target::AtLeast(4_000.0)), floor);
    let p99 = run.seen.percentile_ms(0.99);
    report.plain("bus.16.p99", p99, "ms");
    let none = Some(Target::AtMost(0.0));
    report.add("bus.lost", run.lost as f64, "", none, None);
    report.add("bus.doubled", run.doubled as f64, "", none, None);
    report.add("bus.left_behind", world.left_behind().await? as f64, "", none, None);

    world.ask_the_dead()?;
    let p99_beside = bus(IN_FLIGHT, sizes.bus / 4, SMALL)?.seen.percentile_ms(0.99);
    report.add("bus.dead.16.p99", p99_beside, "ms", None, Some("bus.16.p99"));
    let growth = (p99_beside / p99 - 1.0) * 100.0;
    report.add("bus.dead.p99_growth", growth, "%", Some(Target::AtMost(DEAD_GROWTH_PERCENT)), None);
    Ok(())
}

/// Two twins and a dead one; in the order in which they end.
struct World {
    _relays: [Process; 2],
    _services: [Service; 2],
    redis: [RedisServer; 2],
    _dead: TcpListener,
}

impl World {
    async fn start(binaries: &Binaries, folder: &Path, aof: bool) -> anyhow::Result<Self> {
        let dead = TcpListener::bind("127.0.0.1:0")?;
        let addresses = [free_address()?, free_address()?];
        let mut table = format!("{DEAD} {} {}\n", "09".repeat(32), dead.local_addr()?);
        for ((twin, account), address) in [ASKER, SERVER].into_iter().zip(ACCOUNTS).zip(addresses) {
            table.push_str(&format!("{twin} {account} {address}\n"));
        }
        std::fs::write(folder.join("twins"), table)?;
        let folders = [folder.join("one"), folder.join("two")];
        for folder in &folders {
            std::fs::create_dir(folder)?;
        }
        let redis =
            [RedisServer::start(&folders[0], aof).await?, RedisServer::start(&folders[1], aof).await?];
        let relay = |at: usize| relay_process(binaries, folder, &folders[at], at, addresses[at], &redis[at]);
        let relays = [relay(0)?, relay(1)?];
        // On its own Redis for what comes over the bus, and beside the asker for what comes straight.
        let services = [Service::start(&redis[0])?, Service::start(&redis[1])?];
        let world = Self { _relays: relays, _services: services, redis, _dead: dead };
        world.ready()?;
        Ok(world)
    }

    /// Waits until a request gets through.
    fn ready(&self) -> anyhow::Result<()> {
        let run = self.bus().run(1, 1, SMALL)?;
        ensure!(run.lost == 0, "no answer came over the bus within {LOST_AFTER_S} s");
        Ok(())
    }

    fn bus(&self) -> Client<'_> {
        Client { redis: &self.redis[0], queue: LOCAL, twin: SERVER }
    }

    fn straight(&self) -> Client<'_> {
        Client { redis: &self.redis[0], queue: SERVICE, twin: SERVER }
    }

    /// Requests that are tried again and again while others are measured.
    fn ask_the_dead(&self) -> anyhow::Result<()> {
        let mut connection = self.redis[0].connect()?;
        let mut pipe = redis::pipe();
        for number in 0..TO_THE_DEAD {
            pipe.cmd("RPUSH").arg(LOCAL).arg(request(DEAD, number, SMALL, "bench.dead")?).ignore();
        }
        Ok(pipe.exec(&mut connection)?)
    }

    /// What both relays still hold, once they have had the time to put it down.
    async fn left_behind(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + START_TIME;
        loop {
            let mut left = 0;
            for redis in &self.redis {
                left += held(&mut redis.connect()?)?;
            }
            if left == 0 || Instant::now() > deadline {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn relay_process(
    binaries: &Binaries,
    folder: &Path,
    own: &Path,
    at: usize,
    address: SocketAddr,
    redis: &RedisServer,
) -> anyhow::Result<Process> {
    let mut command = binaries.command("msgbus-relay");
    command
        .args(["--key-type", "ed25519", "--twin", &[ASKER, SERVER][at].to_string()])
        .args(["--substrate", &format!("file:{}", folder.join("twins").display())])
        .args(["--redis", &redis.url(), "--listen", &address.to_string()])
        .args(["--grpc-listen", "tcp://127.0.0.1:0"])
        .env("HERO_MSGBUS_RELAY__MNEMONICS", SEEDS[at].repeat(32))
        .env("HERO_MSGBUS_RELAY__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    Process::start("msgbus-relay", &mut command, own)
}

fn held(connection: &mut Connection) -> anyhow::Result<usize> {
    let mut pipe = redis::pipe();
    for list in
        [LOCAL, "msgbus.system.local.processing", "msgbus.system.reply", "msgbus.system.reply.processing"]
    {
        pipe.cmd("LLEN").arg(list);
    }
    for list in ["msgbus.system.dead", SERVICE] {
        pipe.cmd("LLEN").arg(list);
    }
    for hash in ["msgbus.system.backlog", "msgbus.system.backlog.ret", "msgbus.system.answers"] {
        pipe.cmd("HLEN").arg(hash);
    }
    for set in ["msgbus.system.backlog.due", "msgbus.system.outbox", "msgbus.system.answers.due"] {
        pipe.cmd("ZCARD").arg(set);
    }
    let counts: Vec<usize> = pipe.query(connection)?;
    Ok(counts.into_iter().sum())
}

/// A message, as far as programs look at it.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    ver: i64,
    uid: String,
    cmd: String,
    exp: i64,
    #[serde(rename = "try")]
    retries: i64,
    dat: String,
    src: i64,
    dst: Vec<i64>,
    ret: String,
    shm: String,
    now: i64,
    err: String,
}

/// A request whose payload begins with its number.
fn request(twin: u32, number: usize, bytes: usize, ret: &str) -> anyhow::Result<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    Ok(serde_json::to_string(&Message {
        ver: 1,
        uid: String::new(),
        cmd: "echo".into(),
        exp: 600,
        retries: 1_000,
        dat: format!("{number:016}{}", "A".repeat(bytes - 16)),
        src: 0,
        dst: vec![twin.into()],
        ret: ret.into(),
        shm: String::new(),
        now: now.cast_signed(),
        err: String::new(),
    })?)
}

/// A program that sends back what it gets.
struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(redis: &RedisServer) -> anyhow::Result<Self> {
        let (stop, mut connection) = (Arc::new(AtomicBool::new(false)), redis.connect()?);
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut reply = None;
            while !stopped.load(Ordering::Relaxed) {
                reply = match echo(&mut connection, reply) {
                    Ok(reply) => reply,
                    Err(error) => return crate::report::say(&format!("the echo service: {error:#}")),
                };
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Gives the reply to what came before, and waits for what comes next: one call, as the asker's. The next reply.
fn echo(connection: &mut Connection, reply: Option<Message>) -> anyhow::Result<Option<Message>> {
    let mut pipe = redis::pipe();
    if let Some(reply) = reply {
        pipe.cmd("RPUSH").arg(&reply.ret).arg(serde_json::to_string(&reply)?).ignore();
    }
    pipe.cmd("BLPOP").arg(SERVICE).arg(0.2);
    let (item,): (Option<(String, Vec<u8>)>,) = pipe.query(connection)?;
    let Some((_, item)) = item else { return Ok(None) };
    let mut message: Message = serde_json::from_slice(&item)?;
    let asker = message.src;
    message.src = message.dst[0];
    message.dst = vec![asker];
    Ok(Some(message))
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It says itself why it ended.
            let _ = thread.join();
        }
    }
}

/// A program that asks.
struct Client<'a> {
    redis: &'a RedisServer,
    queue: &'static str,
    twin: u32,
}

/// What it saw.
struct Run {
    seen: Latencies,
    lost: usize,
    doubled: usize,
}

impl Run {
    /// Answers a second, unless some are missing.
    fn rate(&self) -> anyhow::Result<f64> {
        ensure!(self.lost + self.doubled == 0, "{} answers lost, {} doubled", self.lost, self.doubled);
        Ok(self.seen.rate())
    }
}

impl Client<'_> {
    /// Asks so often, with so many requests on their way at a time.
    fn run(&self, in_flight: usize, count: usize, bytes: usize) -> anyhow::Result<Run> {
        const RET: &str = "bench.answers";
        let mut connection = self.redis.connect()?;
        let mut sent: Vec<Option<Instant>> = vec![None; count];
        let mut answers = vec![0_u32; count];
        let mut seen = Latencies::with_capacity(count);
        let begin = Instant::now();
        let mut next = 0;
        let mut open = 0;
        while seen.count() < count {
            let mut pipe = redis::pipe();
            while open < in_flight && next < count {
                pipe.cmd("RPUSH").arg(self.queue).arg(request(self.twin, next, bytes, RET)?).ignore();
                sent[next] = Some(Instant::now());
                (next, open) = (next + 1, open + 1);
            }
            pipe.cmd("BLPOP").arg(RET).arg(LOST_AFTER_S);
            let (item,): (Option<(String, Vec<u8>)>,) = pipe.query(&mut connection)?;
            let Some((_, item)) = item else { break };
            let number = number_of(&item)?;
            answers[number] += 1;
            if answers[number] == 1 {
                open -= 1;
                seen.add(sent[number].context("an answer to nothing")?.elapsed());
            }
        }
        seen.elapsed = begin.elapsed();
        // What comes twice may come late.
        while let Some(item) = redis::cmd("LPOP").arg(RET).query::<Option<Vec<u8>>>(&mut connection)? {
            answers[number_of(&item)?] += 1;
        }
        let lost = answers.iter().filter(|count| **count == 0).count();
        let doubled = answers.iter().filter(|count| **count > 1).count();
        Ok(Run { seen, lost, doubled })
    }
}

fn number_of(item: &[u8]) -> anyhow::Result<usize> {
    let answer: Message = serde_json::from_slice(item)?;
    ensure!(answer.err.is_empty(), "an error came back: {}", answer.err);
    answer.dat.get(..16).context("an answer without a number")?.parse().context("an answer without a number")
}
