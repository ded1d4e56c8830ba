//! A private Redis: a real `redis-server` on a Unix socket in a folder of its own, gone with the value.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a `redis-server` may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running `redis-server`. It is killed when the value is dropped.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    args: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub fn start() -> Result<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts a server that keeps its data over [`Self::kill`] and [`Self::restart`].
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub fn start_durable() -> Result<Self> {
        Self::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these arguments.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub fn start_with(args: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("hero-redis-").tempdir()?;
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut server = Self { folder, args, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Its address: `unix:///…/redis.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A connection to it, for a look at what a test has done.
    ///
    /// # Errors
    /// It does not answer.
    pub fn connection(&self) -> Result<redis::Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill, only to reap.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, in the same folder and on the same socket, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut command = Command::new("redis-server");
        command.current_dir(self.folder.path()).args(["--port", "0", "--unixsocket"]).arg(self.socket());
        command.args(["--logfile", "redis.log"]).args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().context("redis-server cannot be started; is it installed?")?);
        self.wait_until_it_answers()
    }

    /// Stops it from answering without closing a connection, as an overloaded host or a cut network does.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("redis-server does not run")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if self.is_answering() {
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begin.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default();
                bail!("redis-server does not answer ({ended:?}); its log:\n{log}");
            }
            pause();
        }
    }

    fn is_answering(&self) -> bool {
        let Ok(mut connection) = self.connection() else { return false };
        // While it loads its data it answers, but not with a pong.
        redis::cmd("PING").query::<String>(&mut connection).is_ok()
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("redis.sock")
    }

    /// The folder of its data and its log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

#[expect(clippy::disallowed_methods, reason = "it is called where no runtime is, and for a moment only")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
