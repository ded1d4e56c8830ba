//! The settings of the explorer and the flags that set some of them.

use hero_auth::Secrets;
use hero_config::{Invalid, Overrides, Secret, Validate, ensure};
use hero_jsonrpc::WireConfig;
use hero_redis::RedisConfig;
use hero_runtime::{
    Address, AdminConfig, Chassis, DrainConfig, GrpcConfig, TelemetryConfig,
    listen::{AcceptConfig, LinesConfig, TlsConfig},
};
use serde::{Deserialize, Serialize};

/// Where the unix socket is by default.
const SOCKET: &str = "/tmp/hero-explorer.sock";
/// Names that are promised beside the regular ones.
pub(crate) const ENV_ALIASES: &[(&str, &str)] = &[("EXPLORER_TCP_ADDR", "tcp")];
/// The longest time that any setting may name, in milliseconds: 30 days.
const LONGEST_MS: u64 = 30 * 86_400_000;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct ExplorerConfig {
    /// The unix socket for JSON-RPC; whoever may open it is believed.
    pub socket: Address,
    /// Where JSON-RPC is served over the network beside it, `tcp://` or `tls://`; none: nowhere.
    pub tcp: Option<Address>,
    /// Where gRPC is served. Whoever can connect is believed to be a gateway, so keep it to those.
    pub listen: Address,
    /// Where the mycelium-bridge of this machine serves gRPC, for nodes that only the overlay leads to; none: they are
    /// not called.
    pub mycelium_bridge: Option<Address>,
    /// The secrets that callers over the network bring; see also `insecure_no_auth`.
    pub secrets: Secrets,
    /// Let callers over the network do everything without a secret. Without it they may send heartbeats and look.
    pub insecure_no_auth: bool,
    /// Take unsigned heartbeats over the network too: whoever reaches the port may claim to be any node.
    pub allow_unsigned: bool,
    /// What nodes say.
    pub heartbeats: HeartbeatsConfig,
    /// What is passed on to them.
    pub calls: CallsConfig,
    /// The certificate for `tls://`, and the authority whose nodes are believed.
    pub tls: TlsConfig,
    /// The bounds of the connections.
    pub accept: AcceptConfig,
    /// The bounds of JSON-RPC.
    pub wire: WireConfig,
    /// Where the registry is kept.
    pub redis: RedisConfig,
    /// How gRPC is served.
    pub grpc: GrpcConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

impl Default for ExplorerConfig {
    fn default() -> Self {
        Self {
            socket: Address::Unix(SOCKET.into()),
            tcp: None,
            listen: Address::loopback(8083),
            mycelium_bridge: None,
            secrets: Secrets::default(),
            insecure_no_auth: false,
            allow_unsigned: false,
            heartbeats: HeartbeatsConfig::default(),
            calls: CallsConfig::default(),
            tls: TlsConfig::default(),
            accept: AcceptConfig::default(),
            wire: WireConfig::default(),
            redis: RedisConfig::default(),
            grpc: GrpcConfig::default(),
            admin: AdminConfig::at(9083),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

/// What nodes say, and what their silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeartbeatsConfig {
    /// Bytes of one heartbeat.
    pub max_bytes: usize,
    /// Nodes that are known at once.
    pub max_nodes: usize,
    /// How far a node's clock may be off.
    pub max_skew_ms: u64,
    /// After so many missed heartbeats a node is suspect, and no selector takes it.
    pub suspect_after_missed: u64,
    /// After so many it is dead.
    pub dead_after_missed: u64,
    /// After so long a silence a dead node is gone.
    pub gone_after_ms: u64,
    /// After so long a silence a node is forgotten.
    pub forget_after_ms: u64,
    /// The pause between two looks at who is silent.
    pub judge_interval_ms: u64,
    /// The pause between two exchanges with Redis.
    pub save_interval_ms: u64,
}

impl Default for HeartbeatsConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 10,
            max_nodes: 100_000,
            max_skew_ms: 300_000,
            suspect_after_missed: 2,
            dead_after_missed: 5,
            gone_after_ms: 3_600_000,
            forget_after_ms: 7 * 86_400_000,
            judge_interval_ms: 1_000,
            save_interval_ms: 500,
        }
    }
}

impl Validate for HeartbeatsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, value) in [
            ("max_skew_ms", self.max_skew_ms),
            ("gone_after_ms", self.gone_after_ms),
            ("forget_after_ms", self.forget_after_ms),
            ("judge_interval_ms", self.judge_interval_ms),
            ("save_interval_ms", self.save_interval_ms),
        ] {
            ensure((10..=LONGEST_MS).contains(&value), key, "it must be 10 to 2592000000")?;
        }
        ensure((256..=1 << 20).contains(&self.max_bytes), "max_bytes", "it must be 256 to 1048576")?;
        ensure(self.max_nodes > 0, "max_nodes", "it must be more than 0")?;
        ensure(self.suspect_after_missed > 0, "suspect_after_missed", "it must be more than 0")?;
        ensure(
            self.dead_after_missed > self.suspect_after_missed,
            "dead_after_missed",
            "it must be more than suspect_after_missed",
        )
    }
}

/// What is passed on to nodes, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallsConfig {
    /// The secret that nodes want from this explorer.
    pub secret: Option<Secret>,
    /// The methods that are passed on, such as `vm_*`; empty: all.
    pub allow: Vec<String>,
    /// Methods that are not, whatever `allow` says.
    pub deny: Vec<String>,
    /// How long a node may take, for a call that does not wait for a job.
    pub call_timeout_ms: u64,
    /// How long it may take for one that does; also the most that a caller may ask for.
    pub wait_timeout_ms: u64,
    /// The connections to nodes.
    pub lines: LinesConfig,
    /// Whom to believe on `tls://` addresses, and what to show them.
    pub tls: TlsConfig,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self {
            secret: None,
            allow: Vec::new(),
            deny: Vec::new(),
            call_timeout_ms: 15_000,
            wait_timeout_ms: 3_600_000,
            lines: LinesConfig::default(),
            tls: TlsConfig::default(),
        }
    }
}

impl Chassis for ExplorerConfig {
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

impl Validate for ExplorerConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_chassis()?;
        self.secrets.validate().map_err(|invalid| invalid.within("secrets"))?;
        self.heartbeats.validate().map_err(|invalid| invalid.within("heartbeats"))?;
        self.calls.lines.validate().map_err(|invalid| invalid.within("calls.lines"))?;
        self.accept.validate().map_err(|invalid| invalid.within("accept"))?;
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.grpc.check_exposure(&self.listen).map_err(|invalid| invalid.within("grpc"))?;
        if let Some(key) = self.wire.out_of_range() {
            return Err(Invalid::new(format!("wire.{key}"), "it must be 1 to 536870912"));
        }
        ensure(
            matches!(self.socket, Address::Unix(_)),
            "socket",
            "it is a path, such as unix:///run/hero/explorer.sock; for the network there is `tcp`",
        )?;
        ensure(
            !matches!(self.tcp, Some(Address::Unix(_))),
            "tcp",
            "it is tcp://host:port or tls://host:port; for a unix socket there is `socket`",
        )?;
        for (key, value) in [
            ("calls.call_timeout_ms", self.calls.call_timeout_ms),
            ("calls.wait_timeout_ms", self.calls.wait_timeout_ms),
        ] {
            ensure((1..=LONGEST_MS).contains(&value), key, "it must be 1 to 2592000000")?;
        }
        Ok(())
    }
}

/// The explorer's own flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The unix socket [default: unix:///tmp/hero-explorer.sock]
    #[arg(long, value_name = "ADDRESS")]
    pub socket: Option<String>,
    /// Where to serve the network: tcp://host:port or tls://host:port [env: EXPLORER_TCP_ADDR]
    #[arg(long, value_name = "ADDRESS")]
    pub tcp: Option<String>,
    /// Where gRPC is served for gateways [default: tcp://127.0.0.1:8083]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the registry is kept: redis://host:port or unix:///path
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<Secret>,
    /// Take unsigned heartbeats over the network: whoever reaches the port may claim to be any node
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Let callers over the network do everything without a secret
    #[arg(long)]
    pub insecure_no_auth: bool,
    /// A secret that allows everything; may be given several times
    #[arg(long = "admin-secret", value_name = "SECRET")]
    pub admin_secrets: Vec<Secret>,
    /// A secret that allows calls; may be given several times
    #[arg(long = "user-secret", value_name = "SECRET")]
    pub user_secrets: Vec<Secret>,
    /// A secret that allows heartbeats; may be given several times
    #[arg(long = "register-secret", value_name = "SECRET")]
    pub register_secrets: Vec<Secret>,
}

impl Flags {
    pub(crate) fn overrides(self) -> Overrides {
        let exposed =
            |secrets: Vec<Secret>| secrets.iter().map(|secret| secret.expose().to_owned()).collect();
        Overrides::new()
            .set("socket", "--socket", self.socket)
            .set("tcp", "--tcp", self.tcp)
            .set("listen", "--listen", self.listen)
            .set("redis.url", "--redis-url", self.redis_url.map(|url| url.expose().to_owned()))
            .set_switch("allow_unsigned", "--allow-unsigned", self.allow_unsigned)
            .set_switch("insecure_no_auth", "--insecure-no-auth", self.insecure_no_auth)
            .set_list("secrets.admin", "--admin-secret", exposed(self.admin_secrets))
            .set_list("secrets.user", "--user-secret", exposed(self.user_secrets))
            .set_list("secrets.register", "--register-secret", exposed(self.register_secrets))
    }
}

#[cfg(test)]
mod tests {
    use hero_config::Validate as _;

    use super::ExplorerConfig;

    #[test]
    fn the_example_shows_every_setting() {
        hero_config::example::assert_covers::<ExplorerConfig>(include_str!("../config.example.toml"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let key = |change: fn(&mut ExplorerConfig)| {
            let mut config = ExplorerConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        ExplorerConfig::default().validate().unwrap();
        assert_eq!(key(|config| config.socket = "tcp://127.0.0.1:1".parse().unwrap()), "socket");
        assert_eq!(key(|config| config.tcp = Some("unix:///x".parse().unwrap())), "tcp");
        assert_eq!(key(|config| config.wire.max_calls = 0), "wire.max_calls");
        assert_eq!(key(|config| config.heartbeats.dead_after_missed = 2), "heartbeats.dead_after_missed");
        assert_eq!(key(|config| config.calls.call_timeout_ms = 0), "calls.call_timeout_ms");
    }
}
