//! The Mycelium bridge as a process beside this one, for whoever starts a supervisor with `--mycelium-url`.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, bail};
use hero_config::Secret;
use hero_redis::RedisUrl;
use hero_runtime::{Address, Shutdown};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::config::{BRIDGE_REDIS_URL, BRIDGE_TOKENS, SupervisorConfig};

const PROGRAM: &str = "mycelium-bridge";
/// Where a bridge serves gRPC by default.
const BRIDGE_PORT: u16 = 8084;

/// What is started, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    program: PathBuf,
    arguments: Vec<String>,
    redis: RedisUrl,
    token: Secret,
}

impl Beside {
    /// The bridge that the settings ask for; it stands in the folder of this program.
    pub(crate) fn find(config: &SupervisorConfig, listen: &Address) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.mycelium_url else { return Ok(None) };
        let own = std::env::current_exe().context("this program does not know where it is")?;
        let program = own.with_file_name(PROGRAM);
        if !program.is_file() {
            bail!(
                "--mycelium-url needs the program {}, and it is not there; build it with `cargo build -p \
                 hero-mycelium-bridge`, or run the bridge by itself",
                program.display()
            );
        }
        let supervisor = listen.reachable().to_string();
        let own = Self::listen(config).map(|address| address.to_string()).unwrap_or_default();
        let arguments = [
            ("--mycelium-url", url),
            ("--topic", &config.topic),
            ("--supervisor", &supervisor),
            ("--listen", &own),
        ];
        let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.clone()]);
        let (redis, token) = (config.redis.url.clone(), config.grpc.token.clone());
        Ok(Some(Self { program, arguments: arguments.collect(), redis, token }))
    }

    /// Where the bridge serves gRPC; none: there is no bridge.
    pub(crate) fn listen(config: &SupervisorConfig) -> Option<Address> {
        let default = || config.mycelium_url.as_ref().map(|_| Address::loopback(BRIDGE_PORT));
        config.node.mycelium_bridge.clone().or_else(default)
    }

    /// Runs it until the drain. That it ends before is an error, after which it is started again.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(BRIDGE_REDIS_URL, self.redis.expose())
            .envs(BRIDGE_TOKENS.map(|name| (name, self.token.expose())))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        tokio::select! {
            status = child.wait() => bail!("the bridge has ended: {}", status?),
            () = shutdown.draining() => {}
        }
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It fails when the bridge has just ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        child.wait().await.context("the bridge cannot be waited for")?;
        Ok(())
    }
}
