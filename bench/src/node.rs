//! A node under test: a Redis of its own and the real services, each a process of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use hero_redis::RedisConfig;
use hero_store::Store;

use crate::{
    load::{Call, Load},
    options::Options,
    process::{Process, Usage},
    redis_server::{Counters, RedisServer},
    report::Cost,
    ws::WsConnection,
};

/// How long the services may take until they answer.
const START_TIME: Duration = Duration::from_secs(20);
/// How long a queue may stand still before a measurement gives up.
const STALL_TIME: Duration = Duration::from_secs(30);
/// Connections that the gateway takes.
pub(crate) const GATEWAY_CONNECTIONS: usize = 6_000;
const RUNNER_ID: &str = "bench-runner";

/// Where the service binaries are.
#[derive(Debug, Clone)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Those of the given folder; else those beside the bench itself, where `make bench` has built them.
    pub(crate) fn of(given: Option<&Path>) -> anyhow::Result<Self> {
        let bench = std::env::current_exe()?;
        let beside = bench.parent().context("the bench lies in no folder")?;
        Ok(Self(given.unwrap_or(beside).to_owned()))
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.0.join(name))
    }
}

/// A running node. Dropping it ends every process of it.
pub(crate) struct Node {
    // In the order in which they end: the edge first, Redis last.
    services: Vec<Process>,
    pub(crate) gateway: SocketAddr,
    /// Where the supervisor serves gRPC, where it is a process of its own.
    pub(crate) supervisor: Option<SocketAddr>,
    pub(crate) redis: RedisServer,
    _folder: Folder,
}

/// Where logs and data go.
pub(crate) enum Folder {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub(crate) fn new(options: &Options, name: &str) -> anyhow::Result<Self> {
        match &options.keep {
            None => Ok(Self::Temporary(tempfile::tempdir()?)),
            Some(folder) => {
                let folder = std::path::absolute(folder)?.join(name);
                std::fs::create_dir_all(&folder)?;
                Ok(Self::Kept(folder))
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// Which services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Staff {
    /// Redis alone, for what is asked of the store directly.
    Nobody,
    /// Gateway and supervisor; jobs stay in their queues.
    NoRunner,
    /// And one runner, for OSIS.
    OneRunner,
    /// And one runner that starts an interpreter for each Python job.
    OneColdRunner,
    /// The launcher alone, with everything in one process.
    Launcher,
}

/// Processor time and Redis' counters at a point in time.
pub(crate) struct Snapshot {
    usage: BTreeMap<&'static str, Usage>,
    counters: Counters,
}

impl Node {
    pub(crate) async fn start(
        options: &Options,
        binaries: &Binaries,
        name: &str,
        staff: Staff,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(options, name)?;
        let path = folder.path().to_owned();
        let redis = RedisServer::start(&path, options.aof).await?;
        let gateway = free_address()?;
        let mut services = Vec::new();
        let mut supervisor = None;
        match staff {
            Staff::Launcher => {
                let mut command = binaries.command("launcher");
                command.arg("--port").arg(gateway.port().to_string());
                command.args(["--redis-url", &redis.url()]).arg("--data-dir").arg(&path);
                command.env("HERO_LAUNCHER__ADMIN__LISTEN", "tcp://127.0.0.1:0");
                services.push(Process::start("launcher", &mut command, &path)?);
            }
            Staff::Nobody => return Ok(Self { services, gateway, supervisor, redis, _folder: folder }),
            Staff::NoRunner | Staff::OneRunner | Staff::OneColdRunner => {
                let grpc = free_address()?;
                supervisor = Some(grpc);
                services.push(gateway_process(binaries, gateway, grpc, &path)?);
                services.push(supervisor_process(binaries, grpc, &redis, &path)?);
                if staff != Staff::NoRunner {
                    let is_warm = staff == Staff::OneRunner;
                    services.push(runner_process(binaries, options, &redis, &path, is_warm)?);
                }
            }
        }
        let mut node = Self { services, gateway, supervisor, redis, _folder: folder };
        let ready = node.ready(staff).await;
        let logs = || format!("the {name} node is not ready; its last log lines:\n{}", tails(&path));
        ready.with_context(logs)?;
        Ok(node)
    }

    /// Waits until a call gets through the whole node.
    async fn ready(&mut self, staff: Staff) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIME;
        let probe = match staff {
            Staff::Nobody => return Ok(()),
            Staff::NoRunner => r#"{"jsonrpc":"2.0","id":0,"method":"list_jobs","params":[]}"#.to_owned(),
            Staff::OneRunner | Staff::OneColdRunner | Staff::Launcher => Load::osis(Call::Run, 1, 1).text(0),
        };
        loop {
            for service in &mut self.services {
                service.alive()?;
            }
            let answered = async { WsConnection::open(self.gateway).await?.call(probe.clone()).await };
            match answered.await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn ws(&self) -> anyhow::Result<WsConnection> {
        WsConnection::open(self.gateway).await
    }

    /// A store of the bench's own on this node's Redis.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(&RedisConfig::at(self.redis.url().parse()?))?)
    }

    pub(crate) fn usage(&self) -> anyhow::Result<BTreeMap<&'static str, Usage>> {
        self.services.iter().chain([&self.redis.process]).map(|p| Ok((p.name(), p.usage()?))).collect()
    }

    pub(crate) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let mut usage = self.usage()?;
        usage.insert("bench", crate::process::usage(std::process::id())?);
        Ok(Snapshot { usage, counters: self.redis.counters()? })
    }

    /// What `jobs` jobs have cost since `before`.
    pub(crate) fn cost(&self, of: &str, before: &Snapshot, jobs: usize) -> anyhow::Result<Cost> {
        let after = self.snapshot()?;
        let jobs = jobs as f64;
        let cpu_us_a_job = after
            .usage
            .iter()
            .filter_map(|(name, usage)| {
                let used = usage.cpu_us - before.usage.get(name)?.cpu_us;
                Some((*name, used as f64 / jobs))
            })
            .collect();
        let redis_a_job = after
            .counters
            .since(&before.counters)
            .into_iter()
            .map(|(name, (calls, usec))| (name, (calls as f64 / jobs, usec as f64 / jobs)))
            .collect();
        Ok(Cost { of: of.to_owned(), cpu_us_a_job, redis_a_job })
    }

    /// Ids that wait in the shared queue of a type, or that the runner holds.
    fn unfinished(&self, connection: &mut redis::Connection) -> anyhow::Result<usize> {
        let (queued, held): (usize, usize) = redis::pipe()
            .cmd("LLEN")
            .arg("hero:q:work:type:osis")
            .cmd("LLEN")
            .arg(format!("hero:q:inflight:{RUNNER_ID}"))
            .query(connection)?;
        Ok(queued + held)
    }

    /// Waits until the runner has ended every OSIS job; two list lengths every few milliseconds are all that
    /// this asks of Redis.
    pub(crate) async fn all_ended(&self) -> anyhow::Result<()> {
        let mut connection = self.redis.connect()?;
        let mut last = usize::MAX;
        let mut moved = Instant::now();
        loop {
            let left = self.unfinished(&mut connection)?;
            if left == 0 {
                return Ok(());
            }
            if left < last {
                moved = Instant::now();
            }
            last = left;
            anyhow::ensure!(moved.elapsed() < STALL_TIME, "{left} jobs have not moved for {STALL_TIME:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn gateway_process(
    binaries: &Binaries,
    address: SocketAddr,
    grpc: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Process> {
    let mut command = binaries.command("gateway");
    command
        .env("HERO_GATEWAY__LISTEN", format!("tcp://{address}"))
        .env("HERO_GATEWAY__SUPERVISOR", format!("tcp://{grpc}"))
        .env("HERO_GATEWAY__LIMITS__MAX_CONNECTIONS", GATEWAY_CONNECTIONS.to_string())
        .env("HERO_GATEWAY__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    Process::start("gateway", &mut command, folder)
}

fn supervisor_process(
    binaries: &Binaries,
    grpc: SocketAddr,
    redis: &RedisServer,
    folder: &Path,
) -> anyhow::Result<Process> {
    let mut command = binaries.command("supervisor");
    command
        .args(["--redis-url", &redis.url()])
        .env("HERO_SUPERVISOR__LISTEN", format!("tcp://{grpc}"))
        .env("HERO_SUPERVISOR__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    Process::start("supervisor", &mut command, folder)
}

fn runner_process(
    binaries: &Binaries,
    options: &Options,
    redis: &RedisServer,
    folder: &Path,
    is_warm: bool,
) -> anyhow::Result<Process> {
    let mut command = binaries.command("runner");
    command
        .args(["--redis-url", &redis.url(), "--id", RUNNER_ID, "--listen", "tcp://127.0.0.1:0"])
        .env("HERO_RUNNER__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    command.env("HERO_RUNNER__PYTHON__WARM", is_warm.to_string());
    if let Some(slots) = options.slots {
        command.env("HERO_RUNNER__OSIS__SLOTS", slots.to_string());
    }
    Process::start("runner", &mut command, folder)
}

/// An address that was free a moment ago, and that nobody gets who asks for any port.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(([127, 0, 0, 1], hero_testing::free_port()?).into())
}

fn tails(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let mut text = String::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|e| e == "log")
            && let Ok(log) = std::fs::read_to_string(&path)
        {
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(8)..];
            text.push_str(&format!("--- {}\n{}\n", path.display(), last.join("\n")));
        }
    }
    text
}
