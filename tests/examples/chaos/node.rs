//! The processes, and what can be done to them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hero_testing::RedisServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

use crate::{client::Client, ledger::Ledger};

/// Short, so that a run sees many of them end.
const LEASE_MS: u64 = 5_000;
const GRACE_MS: u64 = 4_000;
/// Longer than a drain may take, with everything that slows it down.
const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// A service as a process.
pub(crate) struct Member {
    pub(crate) name: String,
    program: PathBuf,
    settings: Vec<(String, String)>,
    log: File,
    child: Option<Child>,
}

/// All processes.
pub(crate) struct Node {
    folder: TempDir,
    keep: AtomicBool,
    redis_url: String,
    gateways: Vec<String>,
    pub(crate) redis: Mutex<RedisServer>,
    pub(crate) members: Vec<Mutex<Member>>,
}

impl Node {
    /// Starts everything.
    pub(crate) fn start(keep: bool) -> Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("hero-chaos-").tempdir()?;
        folder.disable_cleanup(keep);
        std::fs::create_dir(folder.path().join("effects"))?;
        let programs = programs(folder.path())?;
        let redis = RedisServer::start_durable()?;
        let redis_url = redis.url();
        let (mut members, mut gateways) = (Vec::new(), Vec::new());
        let mut add = |kind: &str, number: usize, settings: &[(&str, String)]| {
            Member::start(folder.path(), &programs, kind, number, settings)
                .map(|it| members.push(Mutex::new(it)))
        };
        for number in 0..2 {
            let inside = format!("unix://{}/supervisor-{number}.sock", folder.path().display());
            let gateway = free_address()?;
            add("supervisor", number, &[("REDIS__URL", redis_url.clone()), ("LISTEN", inside.clone())])?;
            add("gateway", number, &[("SUPERVISOR", inside), ("LISTEN", format!("tcp://{gateway}"))])?;
            gateways.push(gateway);
        }
        for number in 0..3 {
            let mut settings = vec![
                ("REDIS__URL", redis_url.clone()),
                ("LISTEN", "tcp://127.0.0.1:0".to_owned()),
                ("LEASE_MS", LEASE_MS.to_string()),
                ("PYTHON__SLOTS", "4".to_owned()),
            ];
            // One comes back under its own name, the others as strangers.
            if number == 0 {
                settings.push(("ID", "the-first".to_owned()));
            }
            // Jobs leave their effects in files of this run, which a confined job could not reach.
            settings.push(("SANDBOX__MODE", "none".to_owned()));
            add("runner", number, &settings)?;
        }
        Ok(Self {
            folder,
            keep: AtomicBool::new(keep),
            redis_url,
            gateways,
            redis: Mutex::new(redis),
            members,
        })
    }

    /// Waits until jobs are executed.
    pub(crate) async fn answers(&self, client: &Client) -> Result<()> {
        for script_type in ["OSIS", "Python"] {
            let answered = client.call("run_job", json!(["print(1)", script_type])).await;
            if let Err(failure) = answered.answer {
                self.keep();
                bail!("the node does not come up: {failure}; logs in {}", self.folder().display());
            }
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn gateways(&self) -> &[String] {
        &self.gateways
    }

    pub(crate) fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// Keeps the folder, for a look at it.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Finds that every process is there, and ends as it should.
    pub(crate) async fn check_processes(&self, ledger: &Ledger) {
        for member in &self.members {
            member.lock().await.stop(ledger).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let keep = self.keep.load(Ordering::Relaxed);
        self.folder.disable_cleanup(keep);
    }
}

impl Member {
    fn start(
        folder: &Path,
        programs: &Path,
        kind: &str,
        number: usize,
        settings: &[(&str, String)],
    ) -> Result<Self> {
        let name = format!("{kind}-{number}");
        let log = File::create(folder.join(format!("{name}.log")))?;
        let grace = ("DRAIN__GRACE_MS", GRACE_MS.to_string());
        let admin = ("ADMIN__LISTEN", "tcp://127.0.0.1:0".to_owned());
        let settings = settings.iter().chain([&grace, &admin]);
        let settings = settings
            .map(|(key, value)| (format!("HERO_{}__{key}", kind.to_uppercase()), value.clone()))
            .collect();
        let mut member = Self { name, program: programs.join(kind), settings, log, child: None };
        member.restart()?;
        Ok(member)
    }

    /// Starts it; it must not run.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERO_")) {
            command.env_remove(name);
        }
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(self.log.try_clone()?).stderr(self.log.try_clone()?);
        let child = command.kill_on_drop(true).spawn();
        self.child = Some(child.with_context(|| format!("{} cannot be started", self.program.display()))?);
        Ok(())
    }

    /// Notes when it has ended by itself, which nothing allows.
    fn check_alive(&mut self, ledger: &Ledger) -> bool {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => true,
            ended => {
                ledger.broke(format!("{} has ended by itself: {ended:?}", self.name));
                false
            }
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal, ledger: &Ledger) {
        if !self.check_alive(ledger) {
            return;
        }
        let pid = self.child.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            // It may end at this very moment; that is found when it is waited for.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self, ledger: &Ledger) {
        self.signal(Signal::KILL, ledger);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait().await;
        }
    }

    /// Ends it as an operator does, and finds that it ends well.
    pub(crate) async fn stop(&mut self, ledger: &Ledger) {
        self.signal(Signal::TERM, ledger);
        let Some(mut child) = self.child.take() else { return };
        match tokio::time::timeout(EXIT_LIMIT, child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(status) => ledger.broke(format!("{} did not end well after SIGTERM: {status:?}", self.name)),
            Err(_) => {
                ledger.broke(format!("{} did not end within {EXIT_LIMIT:?} of SIGTERM", self.name));
                let _ = child.kill().await;
            }
        }
    }
}

/// Copies of the binaries that stand beside this one, so that a build in between changes nothing.
fn programs(folder: &Path) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/examples/chaos
    let built = own.ancestors().nth(2).context("this program stands in target/<profile>/examples")?;
    let programs = folder.join("programs");
    std::fs::create_dir(&programs)?;
    for name in ["supervisor", "gateway", "runner"] {
        let from = built.join(name);
        std::fs::copy(&from, programs.join(name))
            .with_context(|| format!("{} is missing; use `make chaos`", from.display()))?;
    }
    Ok(programs)
}

/// An address that nothing listens on, outside the range that systems take outgoing ports from: it must still be
/// free when its gateway comes back.
fn free_address() -> Result<String> {
    for _ in 0..1_000 {
        let address = format!("127.0.0.1:{}", rand::random_range(20_000..32_000));
        if std::net::TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}
