//! A primary, its replica, and a Sentinel that makes the one the other when it is gone.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::RedisServer;

const START_LIMIT: Duration = Duration::from_secs(30);
/// What the Sentinel calls the primary.
const NAME: &str = "hero";

/// Two servers and a Sentinel, all killed when the value is dropped.
#[derive(Debug)]
pub struct Failover {
    /// The first primary.
    pub primary: RedisServer,
    /// Its replica, which becomes the primary.
    pub replica: RedisServer,
    sentinel: Child,
    port: u16,
    _folder: TempDir,
}

impl Failover {
    /// Starts all three, and waits until the Sentinel knows the replica.
    ///
    /// # Errors
    /// `redis-server` is not installed, or something does not answer in time.
    pub fn start() -> Result<Self> {
        let [first, second, port] = [free_port()?, free_port()?, free_port()?];
        let durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
        let ports = [first.to_string(), second.to_string()];
        let primary = RedisServer::start_with(&[&["--port", &ports[0]], &durable[..]].concat())?;
        let follow =
            ["--port", &ports[1], "--replicaof", "127.0.0.1", &ports[0], "--repl-diskless-sync-delay", "0"];
        let replica = RedisServer::start_with(&[&follow[..], &durable[..]].concat())?;
        wait_until("the replica follows", || {
            Ok(said(&primary, &["INFO", "replication"])?.contains("state=online"))
        })?;
        let folder = tempfile::Builder::new().prefix("hero-sentinel-").tempdir()?;
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {NAME} 127.0.0.1 {first} 1\n\
             sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 3000\n",
            folder.path().display()
        );
        std::fs::write(&file, settings)?;
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let sentinel = command.spawn().context("redis-server cannot be started; is it installed?")?;
        let this = Self { primary, replica, sentinel, port, _folder: folder };
        wait_until("the Sentinel knows the replica", || {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
            let mut ask = redis::cmd("INFO");
            let said: String = ask.arg("sentinel").query(&mut client.get_connection()?)?;
            Ok(said.contains("status=ok") && said.contains("slaves=1"))
        })?;
        Ok(this)
    }

    /// Its address, for services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{NAME}", self.port)
    }

    /// Waits until the replica has everything that was written so far.
    ///
    /// # Errors
    /// It does not, in time.
    pub fn replicate(&self) -> Result<()> {
        wait_until("the replica has everything", || {
            let offset = |server| -> Result<String> {
                let info = said(server, &["INFO", "replication"])?;
                let line = info.lines().find(|line| line.starts_with("master_repl_offset:"));
                Ok(line.unwrap_or_default().to_owned())
            };
            Ok(offset(&self.primary)? == offset(&self.replica)?)
        })
    }
}

impl Drop for Failover {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, only to reap.
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}

/// A port that nothing listens on, outside the range that systems take outgoing ports from.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16> {
    for _ in 0..1_000 {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

fn said(server: &RedisServer, words: &[&str]) -> Result<String> {
    let mut ask = redis::cmd(words[0]);
    Ok(ask.arg(&words[1..]).query(&mut server.connection()?)?)
}

fn wait_until(what: &str, look: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !look().unwrap_or(false) {
        if begun.elapsed() > START_LIMIT {
            bail!("after {START_LIMIT:?} still waiting until {what}");
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it is called where no runtime is, and for a moment only")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
