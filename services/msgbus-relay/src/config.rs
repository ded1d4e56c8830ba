//! The settings of the relay, and the flags that old programs and units know.

use std::{collections::BTreeMap, time::Duration};

use hero_config::{Invalid, Overrides, Secret, Validate, ensure};
use hero_redis::RedisConfig;
use hero_runtime::{
    Address, AdminConfig, ChannelConfig, Chassis, DrainConfig, GrpcConfig, TelemetryConfig, listen::TlsConfig,
};
use serde::{Deserialize, Serialize};

use crate::key::KeyType;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayConfig {
    /// Where other twins deliver, over HTTP.
    pub listen: Address,
    /// Where the bus is served to this node's own services, over gRPC.
    pub grpc_listen: Address,
    /// This twin; 0: the one whose key this is.
    pub twin: u32,
    /// The mnemonic of the twin's key, or its seed of 32 bytes in hex.
    pub mnemonics: Secret,
    /// How it signs: sr25519 or ed25519.
    pub key_type: KeyType,
    /// Where twins are looked up: `http(s)://…` a web service, `file:…` a table, `explorer:…` the node registry.
    pub substrate: String,
    /// How many messages are worked on at once.
    pub workers: usize,
    /// Where the queues are.
    pub redis: RedisConfig,
    /// How twins are remembered.
    pub twins: TwinsConfig,
    /// How messages are sent.
    pub send: SendConfig,
    /// What is taken from other twins.
    pub accept: AcceptConfig,
    /// Which twins may use a command; one that is not named here may be used by all. `wallet.*` covers what
    /// begins so.
    pub allow: BTreeMap<String, Vec<u32>>,
    /// JSON-RPC over the bus.
    pub rpc: RpcConfig,
    /// How gRPC is served.
    pub grpc: GrpcConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            // Everything that comes in here is checked by its signature; a bus nobody reaches is no bus.
            listen: Address::Tcp { host: "0.0.0.0".to_owned(), port: 8051 },
            grpc_listen: Address::loopback(8085),
            twin: 0,
            mnemonics: Secret::default(),
            key_type: KeyType::default(),
            substrate: String::new(),
            workers: 1_000,
            redis: RedisConfig::default(),
            twins: TwinsConfig::default(),
            send: SendConfig::default(),
            accept: AcceptConfig::default(),
            allow: BTreeMap::new(),
            rpc: RpcConfig::default(),
            grpc: GrpcConfig::default(),
            admin: AdminConfig::at(9085),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

/// How twins are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinsConfig {
    /// How long a twin is remembered.
    pub cache_ms: u64,
    /// How long it is remembered that there is no such twin.
    pub missing_ms: u64,
    /// How many are remembered.
    pub max_cached: usize,
    /// How long an answer about a twin may take.
    pub timeout_ms: u64,
    /// Whom to believe on `explorer:tls://…`, and what to show there.
    pub tls: TlsConfig,
}

impl Default for TwinsConfig {
    fn default() -> Self {
        Self {
            cache_ms: 300_000,
            missing_ms: 10_000,
            max_cached: 10_000,
            timeout_ms: 5_000,
            tls: TlsConfig::default(),
        }
    }
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendConfig {
    /// How long one delivery may take.
    pub timeout_ms: u64,
    /// Deliveries to one twin at a time.
    pub max_in_flight: usize,
    /// The pause after the first failure; each further one doubles it.
    pub first_pause_ms: u64,
    /// The longest pause.
    pub longest_pause_ms: u64,
}

impl Default for SendConfig {
    fn default() -> Self {
        Self { timeout_ms: 10_000, max_in_flight: 64, first_pause_ms: 1_000, longest_pause_ms: 30_000 }
    }
}

impl SendConfig {
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// What is taken from other twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcceptConfig {
    /// Bytes of a body (413).
    pub max_body_bytes: usize,
    /// Messages in the queue of one command (429).
    pub max_queued: usize,
    /// Messages of one twin in a second (429); 0: no bound.
    pub max_per_second: u32,
    /// Seconds that a message may be old.
    pub max_age_s: i64,
    /// Seconds that a clock elsewhere may be ahead.
    pub max_ahead_s: i64,
    /// Seconds that a message is remembered, so that it is delivered once.
    pub memory_s: u64,
    /// Put requests to the front of their queue, as the old daemon does: for services that use BRPOP.
    pub newest_first: bool,
    /// Connections.
    pub max_connections: usize,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 4 << 20,
            max_queued: 100_000,
            max_per_second: 20_000,
            max_age_s: 60,
            max_ahead_s: 60,
            memory_s: 300,
            newest_first: false,
            max_connections: 4_096,
        }
    }
}

/// JSON-RPC over the bus: the command `hero.rpc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpcConfig {
    /// Where the supervisor serves gRPC.
    pub supervisor: Address,
    /// Twins that may do everything.
    pub admin: Vec<u32>,
    /// Twins that may use jobs.
    pub user: Vec<u32>,
    /// Calls that run at a time.
    pub max_calls: usize,
    /// The channel to the supervisor.
    pub channel: ChannelConfig,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            supervisor: Address::loopback(8081),
            admin: Vec::new(),
            user: Vec::new(),
            max_calls: 256,
            channel: ChannelConfig::default(),
        }
    }
}

impl RpcConfig {
    /// Whether anybody may call at all.
    pub(crate) const fn is_on(&self) -> bool {
        !self.admin.is_empty() || !self.user.is_empty()
    }
}

impl RelayConfig {
    /// Whether a twin may use a command.
    pub(crate) fn allows(&self, cmd: &str, twin: i64) -> bool {
        let covers = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => cmd.starts_with(start),
            None => cmd == pattern,
        };
        let rules = self.allow.iter().filter(|(pattern, _)| covers(pattern));
        // The most exact rule counts.
        let rule = rules.max_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len()));
        rule.is_none_or(|(_, twins)| twins.iter().any(|allowed| i64::from(*allowed) == twin))
    }
}

impl Chassis for RelayConfig {
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

impl Validate for RelayConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_chassis()?;
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.grpc.check_exposure(&self.grpc_listen).map_err(|invalid| invalid.within("grpc"))?;
        self.rpc.channel.validate().map_err(|invalid| invalid.within("rpc.channel"))?;
        for (key, value) in [
            ("workers", self.workers),
            ("twins.max_cached", self.twins.max_cached),
            ("send.max_in_flight", self.send.max_in_flight),
            ("accept.max_body_bytes", self.accept.max_body_bytes),
            ("accept.max_queued", self.accept.max_queued),
            ("accept.max_connections", self.accept.max_connections),
            ("rpc.max_calls", self.rpc.max_calls),
        ] {
            ensure((1..=u32::MAX as usize >> 3).contains(&value), key, "it must be 1 to 536870911")?;
        }
        const DAY_MS: u64 = 86_400_000;
        for (key, value) in [
            ("twins.timeout_ms", self.twins.timeout_ms),
            ("send.timeout_ms", self.send.timeout_ms),
            ("send.first_pause_ms", self.send.first_pause_ms),
            ("send.longest_pause_ms", self.send.longest_pause_ms),
            ("accept.memory_s", self.accept.memory_s.saturating_mul(1_000)),
        ] {
            ensure((1..=DAY_MS).contains(&value), key, "it must be more than 0 and at most a day")?;
        }
        for (key, value) in [("max_age_s", self.accept.max_age_s), ("max_ahead_s", self.accept.max_ahead_s)] {
            let key = format!("accept.{key}");
            ensure((1..=86_400).contains(&value), &key, "it must be more than 0 and at most a day")?;
        }
        let window = u64::try_from(self.accept.max_age_s + self.accept.max_ahead_s).unwrap_or_default();
        ensure(
            self.accept.memory_s >= window,
            "accept.memory_s",
            "it must be at least max_age_s and max_ahead_s together, or a message can be delivered twice",
        )
    }
}

/// The relay's own flags: those of the old daemon, and the project's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RelayFlags {
    /// Where twins are looked up: http(s)://… a web service, file:… a table, explorer:tcp://… the node registry
    #[arg(long, value_name = "URL")]
    pub substrate: Option<String>,
    /// The mnemonic (or hex seed) of the twin's key, or file:/path to it. Others can see flags in `ps`: prefer the
    /// file, or the environment [env: HERO_MSGBUS_RELAY__MNEMONICS]
    #[arg(long, alias = "menmonics", value_name = "WORDS")]
    pub mnemonics: Option<Secret>,
    /// How the key signs: sr25519 or ed25519 [default: sr25519]
    #[arg(long, value_name = "TYPE")]
    pub key_type: Option<String>,
    /// How many messages are worked on at once [default: 1000]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<u32>,
    /// debug, info, warn, error, fatal or panic [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// This twin [default: the one whose key this is]
    #[arg(long, value_name = "ID")]
    pub twin: Option<u32>,
    /// The Redis of the queues: redis://host:port, host:port or unix:///path [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "URL")]
    pub redis: Option<Secret>,
    /// Where other twins deliver: host:port [default: 0.0.0.0:8051]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the bus is served to this node's own services [default: tcp://127.0.0.1:8085]
    #[arg(long, value_name = "ADDRESS")]
    pub grpc_listen: Option<String>,
}

impl RelayFlags {
    pub(crate) fn overrides(self) -> Overrides {
        // Two levels of the old daemon are one here.
        let level = self.log_level.map(|level| match level.as_str() {
            "fatal" | "panic" => "error".to_owned(),
            _ => level,
        });
        let redis = self.redis.map(|url| match url.expose() {
            url if url.contains("://") => url.to_owned(),
            address => format!("redis://{address}"),
        });
        Overrides::new()
            .set("substrate", "--substrate", self.substrate)
            .set("mnemonics", "--mnemonics", self.mnemonics.map(|words| words.expose().to_owned()))
            .set("key_type", "--key-type", self.key_type)
            .set("workers", "--workers", self.workers.map(i64::from))
            .set("telemetry.log_level", "--log-level", level)
            .set("twin", "--twin", self.twin.map(i64::from))
            .set("redis.url", "--redis", redis)
            .set("listen", "--listen", self.listen)
            .set("grpc_listen", "--grpc-listen", self.grpc_listen)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};
    use hero_config::{Source, Validate as _, load_with};

    use super::{RelayConfig, RelayFlags};
    use crate::key::KeyType;

    fn config(args: &[&str]) -> RelayConfig {
        let command = RelayFlags::augment_args(Command::new("msgbusd").no_binary_name(true));
        let flags = RelayFlags::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap();
        load_with(Source { service: "msgbus-relay", overrides: flags.overrides(), ..Source::default() })
            .unwrap()
    }

    #[test]
    fn the_example_shows_every_setting() {
        hero_config::example::assert_covers::<RelayConfig>(include_str!("../config.example.toml"));
    }

    #[test]
    fn the_flags_of_the_old_daemon_set_what_they_name() {
        let line = "--substrate https://x.org/ --mnemonics abc --key-type ed25519 --workers 7 --log-level panic \
                    --twin 24 --redis 10.0.0.1:6380 --listen [::]:8052";
        let config = config(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!((config.substrate.as_str(), config.mnemonics.expose()), ("https://x.org/", "abc"));
        assert_eq!((config.key_type, config.workers, config.twin), (KeyType::Ed25519, 7, 24));
        assert_eq!(config.telemetry.log_level, "error");
        assert_eq!(config.redis.url.to_string(), "redis://10.0.0.1:6380/0");
        assert_eq!(config.listen.to_string(), "tcp://[::]:8052");
        assert!(!format!("{config:?}").contains("abc"));
    }

    #[test]
    fn the_most_exact_rule_says_who_may_use_a_command() {
        let mut config = RelayConfig::default();
        config.allow.insert("wallet.*".into(), vec![1]);
        config.allow.insert("wallet.balance".into(), vec![1, 2]);
        config.allow.insert("nobody".into(), Vec::new());
        assert!(config.allows("wallet.pay", 1) && !config.allows("wallet.pay", 2));
        assert!(config.allows("wallet.balance", 2) && config.allows("echo", 9));
        assert!(!config.allows("nobody", 1));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |change: fn(&mut RelayConfig)| {
            let mut config = RelayConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(with(|config| config.workers = 0), "workers");
        assert_eq!(with(|config| config.accept.memory_s = 30), "accept.memory_s");
        assert_eq!(with(|config| config.send.timeout_ms = 0), "send.timeout_ms");
        assert_eq!(with(|config| config.accept.max_age_s = 0), "accept.max_age_s");
        RelayConfig::default().validate().unwrap();
    }
}
