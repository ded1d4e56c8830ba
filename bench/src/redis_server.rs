//! A private `redis-server` on a unix socket, as every figure is taken against one that nobody else uses.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::process::Process;

/// More than the largest measurement needs; a mistake must not take the machine's memory.
const MAX_MEMORY: &str = "6gb";
const START_TIME: Duration = Duration::from_secs(10);

/// A running Redis; dropping it ends it.
#[derive(Debug)]
pub(crate) struct RedisServer {
    pub(crate) process: Process,
    socket: PathBuf,
}

/// Counters of Redis at a point in time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// Calls and microseconds by command.
    pub(crate) commands: BTreeMap<String, (u64, u64)>,
    /// Bytes of data.
    pub(crate) used_memory: u64,
}

impl RedisServer {
    pub(crate) async fn start(folder: &Path, aof: bool) -> anyhow::Result<Self> {
        let socket = folder.join("redis.sock");
        let mut command = Command::new("redis-server");
        command
            .current_dir(folder)
            .args(["--port", "0", "--save", "", "--maxmemory", MAX_MEMORY])
            .args(["--maxmemory-policy", "noeviction", "--appendfsync", "everysec"])
            .args(["--appendonly", if aof { "yes" } else { "no" }])
            .arg("--unixsocket")
            .arg(&socket);
        let process = Process::start("redis-server", &mut command, folder)
            .context("is redis-server installed? (Debian: apt-get install redis-server)")?;
        let mut server = Self { process, socket };
        let deadline = Instant::now() + START_TIME;
        while server.connect().and_then(|mut c| Ok(redis::cmd("PING").exec(&mut c)?)).is_err() {
            server.process.alive()?;
            anyhow::ensure!(Instant::now() < deadline, "redis-server did not answer within {START_TIME:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// A bare blocking connection.
    pub(crate) fn connect(&self) -> anyhow::Result<redis::Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }

    pub(crate) fn info(&self, section: &str) -> anyhow::Result<String> {
        Ok(redis::cmd("INFO").arg(section).query(&mut self.connect()?)?)
    }

    pub(crate) fn counters(&self) -> anyhow::Result<Counters> {
        let mut counters = Counters::default();
        for line in self.info("commandstats")?.lines() {
            let Some((name, values)) = line.strip_prefix("cmdstat_").and_then(|l| l.split_once(':')) else {
                continue;
            };
            let field = |key: &str| {
                values.split(',').find_map(|v| v.strip_prefix(key)).and_then(|v| v.parse().ok()).unwrap_or(0)
            };
            counters.commands.insert(name.to_owned(), (field("calls="), field("usec=")));
        }
        counters.used_memory = self
            .info("memory")?
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .context("no used_memory in INFO")?
            .trim()
            .parse()?;
        Ok(counters)
    }

    /// The value of a line `key:value` of INFO.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let info = self.info("server")?;
        let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(line.context("no redis_version in INFO")?.trim().to_owned())
    }
}

impl Counters {
    /// What was spent since `before`, by command: calls and microseconds.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, (u64, u64)> {
        self.commands
            .iter()
            .map(|(name, (calls, usec))| {
                let (old_calls, old_usec) = before.commands.get(name).copied().unwrap_or_default();
                (name.clone(), (calls - old_calls, usec - old_usec))
            })
            .filter(|(_, (calls, _))| *calls > 0)
            .collect()
    }
}
