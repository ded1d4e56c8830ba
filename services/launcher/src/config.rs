//! The settings of a whole node.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use hero_auth::Secrets;
use hero_config::{Invalid, Validate, ensure};
use hero_domain::CircleKey;
use hero_gateway::GatewayConfig;
use hero_redis::RedisUrl;
use hero_runner::RunnerConfig;
use hero_runtime::{Address, AdminConfig, Chassis, DrainConfig, TelemetryConfig};
use hero_supervisor::SupervisorConfig;
use serde::{Deserialize, Serialize};

use crate::Patience;

/// The settings of a whole node: those of the process at the top, those of each service in a section of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct LauncherConfig {
    /// The address to serve JSON-RPC on, over HTTP and WebSocket.
    pub host: String,
    /// The port of it; 0 takes any free one.
    pub port: u16,
    /// Circles to serve. Their form is checked; serving them comes in a later version.
    pub public_keys: Vec<String>,
    /// Refuse to start unless every call has to bring a secret.
    pub enable_auth: bool,
    /// Serve on other addresses than loopback although there is no secret.
    pub insecure_no_auth: bool,
    /// Secrets by scope; none at all: whoever reaches the port may do everything.
    pub secrets: Secrets,
    /// The Redis to keep jobs in. Absent: the one at redis://127.0.0.1:6379 if it answers, else a private one.
    pub redis_url: Option<RedisUrl>,
    /// Start a private Redis even if one answers at the default address.
    pub private_redis: bool,
    /// The folder of the private Redis. Absent: `hero` in the user's data folder.
    pub data_dir: Option<PathBuf>,
    /// How long the private Redis may take to load its data and answer, in milliseconds.
    pub redis_start_timeout_ms: u64,
    /// How long the private Redis may take to end, in milliseconds.
    pub redis_stop_timeout_ms: u64,
    /// The admin port of the process.
    pub admin: AdminConfig,
    /// Logs, metrics and traces of the process.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
    /// The gateway's own settings; its addresses and what is set above are given to it.
    pub gateway: GatewayConfig,
    /// The supervisor's own settings; its addresses and what is set above are given to it.
    pub supervisor: SupervisorConfig,
    /// The runner's own settings; what is set above is given to it.
    pub runner: RunnerConfig,
}

impl Default for LauncherConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            public_keys: Vec::new(),
            enable_auth: false,
            insecure_no_auth: false,
            secrets: Secrets::default(),
            redis_url: None,
            private_redis: false,
            data_dir: None,
            redis_start_timeout_ms: 120_000,
            redis_stop_timeout_ms: 20_000,
            admin: AdminConfig::at(9080),
            // On a terminal the table at the start says what is on; a log line is for what needs attention.
            telemetry: TelemetryConfig { log_level: "warn".to_owned(), ..TelemetryConfig::default() },
            drain: DrainConfig { grace_ms: 10_000, ..DrainConfig::default() },
            gateway: GatewayConfig::default(),
            supervisor: SupervisorConfig::default(),
            runner: RunnerConfig::default(),
        }
    }
}

impl LauncherConfig {
    /// The public address.
    pub(crate) fn listen(&self) -> Address {
        Address::Tcp { host: self.host.clone(), port: self.port }
    }

    /// The folder of the private Redis.
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        let default = || dirs::data_dir().map(|folder| folder.join("hero"));
        self.data_dir.clone().or_else(default).context(
            "there is no data folder: this user has no home folder; name one with --data-dir, or a Redis with --redis-url",
        )
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            start: Duration::from_millis(self.redis_start_timeout_ms),
            stop: Duration::from_millis(self.redis_stop_timeout_ms),
        }
    }

    /// The supervisor of this node, on any free port.
    pub(crate) fn supervisor(&self, redis: &RedisUrl) -> SupervisorConfig {
        let mut config = self.supervisor.clone();
        config.listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config.secrets = self.secrets.clone();
        config
    }

    /// The gateway of this node, before the supervisor that has been bound.
    pub(crate) fn gateway(&self, supervisor: &Address) -> GatewayConfig {
        let mut config = self.gateway.clone();
        config.listen = self.listen();
        config.supervisor = supervisor.clone();
        config.insecure_no_auth |= self.insecure_no_auth;
        config
    }

    /// The runner of this node.
    pub(crate) fn runner(&self, redis: &RedisUrl) -> RunnerConfig {
        let mut config = self.runner.clone();
        config.listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config
    }

    /// What the runner runs, for people.
    pub(crate) fn runner_in_words(&self) -> String {
        let types = self.runner.script_types.iter();
        let words: Vec<String> = types
            .map(|script_type| format!("{script_type} ({} at once)", self.runner.slots(*script_type)))
            .collect();
        words.join(", ")
    }

    /// Circles: the form of a key is checked; serving them is refused with words rather than left out silently.
    fn validate_circles(&self) -> Result<(), Invalid> {
        for key in &self.public_keys {
            key.parse::<CircleKey>().map_err(|error| Invalid::new("public_keys", error.to_string()))?;
        }
        ensure(
            self.public_keys.is_empty(),
            "public_keys",
            "the keys are well formed, but this version does not serve circles yet; start without them, and \
             use the node at its root path",
        )
    }

    fn validate_auth(&self) -> Result<(), Invalid> {
        let has_secret = !self.secrets.is_empty();
        ensure(
            has_secret || !self.enable_auth,
            "enable_auth",
            "there is no secret that a caller could bring; add --admin-secret or --user-secret",
        )?;
        ensure(
            has_secret || self.insecure_no_auth || self.listen().is_local(),
            "host",
            "other machines could run scripts here without a secret; add --admin-secret, or say \
             --insecure-no-auth if that is wanted",
        )
    }

    /// The process has one admin port, one telemetry and one way to stop: those at the top.
    fn validate_sections(&self) -> Result<(), Invalid> {
        let sections: [(&str, &dyn Chassis, &dyn Chassis); 3] = [
            ("gateway", &self.gateway, &GatewayConfig::default()),
            ("supervisor", &self.supervisor, &SupervisorConfig::default()),
            ("runner", &self.runner, &RunnerConfig::default()),
        ];
        for (section, given, default) in sections {
            for (name, same) in [
                ("admin", given.admin() == default.admin()),
                ("telemetry", given.telemetry() == default.telemetry()),
                ("drain", given.drain() == default.drain()),
            ] {
                let words = format!("the launcher has one for the whole process; set [{name}] instead");
                ensure(same, &format!("{section}.{name}"), words)?;
            }
        }
        Ok(())
    }
}

impl Chassis for LauncherConfig {
    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn drain(&self) -> &DrainConfig {
        &self.drain
    }
}

impl Validate for LauncherConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_circles()?;
        self.validate_auth()?;
        ensure(self.redis_start_timeout_ms > 0, "redis_start_timeout_ms", "it must be more than 0")?;
        ensure(self.redis_stop_timeout_ms > 0, "redis_stop_timeout_ms", "it must be more than 0")?;
        self.validate_sections()?;
        self.gateway.validate().map_err(|invalid| invalid.within("gateway"))?;
        self.supervisor.validate().map_err(|invalid| invalid.within("supervisor"))?;
        self.runner.validate().map_err(|invalid| invalid.within("runner"))?;
        self.validate_chassis()
    }
}
