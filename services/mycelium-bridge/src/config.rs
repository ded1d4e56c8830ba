//! The settings of the bridge.

use std::{net::Ipv6Addr, path::PathBuf, time::Duration};

use hero_client::mycelium::DaemonOptions;
use hero_config::{Invalid, Validate, ensure};
use hero_domain::{CircleKey, OverlayKey, Scope};
use hero_jsonrpc::CallLimits;
use hero_redis::RedisConfig;
use hero_runtime::{Address, AdminConfig, ChannelConfig, Chassis, DrainConfig, GrpcConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

/// The settings of the bridge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeConfig {
    /// Where the Mycelium daemon serves JSON-RPC.
    pub mycelium_url: String,
    /// The topic that requests come in on.
    pub topic: String,
    /// Where gRPC is served, for calls to other nodes. Whoever can connect is believed to be an edge.
    pub listen: Address,
    /// Where the supervisor serves gRPC.
    pub supervisor: Address,
    /// Who may call without a secret.
    pub peers: Vec<Peer>,
    /// Tell the daemon to take messages of the topic from the peers alone; each needs its `ip`.
    pub only_peers: bool,
    /// A unix socket that the daemon rings when a message comes in; absent: the bridge looks for itself.
    pub forward_socket: Option<PathBuf>,
    /// How often it is looked for messages.
    pub polling: PollingConfig,
    /// The bounds.
    pub limits: LimitsConfig,
    /// How answers are kept and followed.
    pub replies: RepliesConfig,
    /// Calls to other nodes.
    pub outbound: OutboundConfig,
    /// How long the daemon may take.
    pub daemon: DaemonConfig,
    /// How gRPC is served.
    pub grpc: GrpcConfig,
    /// Where requests are remembered.
    pub redis: RedisConfig,
    /// The channel to the supervisor.
    pub channel: ChannelConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

/// A node that may call without a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its public key in the overlay.
    pub pk: OverlayKey,
    /// What it may do.
    pub scope: Scope,
    /// The circles that it is confined to; empty: none. Of several a request names one as member `circle`.
    #[serde(default)]
    pub circles: Vec<CircleKey>,
    /// Its address in the overlay, for the daemon's allow-list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv6Addr>,
}

/// How often it is looked for messages. Never a long poll: that stops the daemon's whole API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PollingConfig {
    /// For this long after a message it is looked without a pause.
    pub eager_ms: u64,
    /// For this long after a message the pause is `busy_ms`.
    pub alert_ms: u64,
    /// The pause between two looks after traffic; it doubles up to `idle_ms`.
    pub busy_ms: u64,
    /// The pause between two looks when nothing comes.
    pub idle_ms: u64,
}

impl Default for PollingConfig {
    fn default() -> Self {
        Self { eager_ms: 10, alert_ms: 500, busy_ms: 1, idle_ms: 100 }
    }
}

/// The bounds of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Bytes of a request.
    pub max_request_bytes: usize,
    /// Bytes of an answer; a larger result says so and can be fetched in parts.
    pub max_response_bytes: usize,
    /// Calls in one batch.
    pub max_batch_calls: usize,
    /// Requests that are worked on at a time.
    pub max_in_flight: usize,
    /// Requests of one sender that are worked on at a time; more are refused.
    pub max_in_flight_per_sender: usize,
    /// Requests that one sender may begin in a second; more are dropped without an answer.
    pub max_rate_per_sender: u32,
    /// How long a call may take that does not wait for a job.
    pub call_timeout_ms: u64,
    /// How long the answer to a wrong secret is held back.
    pub failure_delay_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 1 << 20,
            max_response_bytes: 1 << 20,
            max_batch_calls: 100,
            max_in_flight: 1_024,
            max_in_flight_per_sender: 256,
            max_rate_per_sender: 2_000,
            call_timeout_ms: 15_000,
            failure_delay_ms: 250,
        }
    }
}

/// How answers are kept and followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepliesConfig {
    /// How long a request is remembered, so that a duplicate of it runs nothing.
    pub remember_s: u64,
    /// How long an answer is sent again until the daemon says that it arrived. The daemon's own limit is 300000.
    pub deadline_ms: u64,
    /// The pause before the first look at where an answer is; further ones take longer.
    pub look_ms: u64,
}

impl Default for RepliesConfig {
    fn default() -> Self {
        Self { remember_s: 3_600, deadline_ms: 300_000, look_ms: 150 }
    }
}

/// The bounds of calls to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutboundConfig {
    /// Calls that wait for their answer at a time; each holds a connection to the daemon, which has 100 for everybody.
    pub max_in_flight: usize,
    /// How long another node may take, for a call that does not wait for a job.
    pub call_timeout_ms: u64,
    /// How long it may take for one that does; also the most that a caller may ask for.
    pub wait_timeout_ms: u64,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { max_in_flight: 24, call_timeout_ms: 30_000, wait_timeout_ms: 3_900_000 }
    }
}

/// How long the daemon may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonConfig {
    /// How long a connection may take to be made.
    pub connect_timeout_ms: u64,
    /// How long a call may take.
    pub call_timeout_ms: u64,
    /// The pause between two looks at a daemon that answers.
    pub check_interval_ms: u64,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self { connect_timeout_ms: 2_000, call_timeout_ms: 10_000, check_interval_ms: 5_000 }
    }
}

impl DaemonConfig {
    pub(crate) const fn options(&self) -> DaemonOptions {
        DaemonOptions {
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            call_timeout: Duration::from_millis(self.call_timeout_ms),
        }
    }
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            mycelium_url: "http://127.0.0.1:8990".to_owned(),
            topic: "supervisor.rpc".to_owned(),
            listen: Address::loopback(8084),
            supervisor: Address::loopback(8081),
            peers: Vec::new(),
            only_peers: false,
            forward_socket: None,
            polling: PollingConfig::default(),
            limits: LimitsConfig::default(),
            replies: RepliesConfig::default(),
            outbound: OutboundConfig::default(),
            daemon: DaemonConfig::default(),
            grpc: GrpcConfig::default(),
            redis: RedisConfig::default(),
            channel: ChannelConfig::default(),
            admin: AdminConfig::at(9084),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

impl LimitsConfig {
    pub(crate) const fn calls(&self) -> CallLimits {
        CallLimits {
            max_batch: self.max_batch_calls,
            max_batch_concurrent: self.max_batch_calls,
            max_calls_per_connection: self.max_batch_calls,
            max_calls: self.max_in_flight.saturating_mul(self.max_batch_calls),
            call_timeout: Duration::from_millis(self.call_timeout_ms),
            max_response_bytes: self.max_response_bytes,
        }
    }
}

impl Chassis for BridgeConfig {
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

/// Over this the daemon takes a message and then loses it.
const MOST_PAYLOAD_BYTES: usize = 7_000_000;

impl Validate for BridgeConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let url = self.mycelium_url.parse::<http::Uri>().ok();
        let is_http = url.is_some_and(|url| url.scheme_str() == Some("http") && url.host().is_some());
        ensure(
            is_http,
            "mycelium_url",
            "write it as http://host:port; the daemon's default is http://127.0.0.1:8990",
        )?;
        ensure((1..=255).contains(&self.topic.len()), "topic", "it must have 1 to 255 bytes")?;
        for peer in &self.peers {
            ensure(
                !self.only_peers || peer.ip.is_some(),
                "only_peers",
                format!("the daemon's allow-list goes by address; give peer {} its ip", peer.pk),
            )?;
        }
        let LimitsConfig { max_request_bytes, max_response_bytes, .. } = self.limits;
        for (key, value, most) in [
            ("limits.max_request_bytes", max_request_bytes, MOST_PAYLOAD_BYTES),
            ("limits.max_response_bytes", max_response_bytes, MOST_PAYLOAD_BYTES),
            ("limits.max_batch_calls", self.limits.max_batch_calls, 10_000),
            ("limits.max_in_flight", self.limits.max_in_flight, 1 << 20),
            ("limits.max_in_flight_per_sender", self.limits.max_in_flight_per_sender, 1 << 20),
            // 64 more are the bridge's own, and over 100 the daemon turns everybody away.
            ("outbound.max_in_flight", self.outbound.max_in_flight, 32),
            ("limits.max_rate_per_sender", self.limits.max_rate_per_sender as usize, 1 << 20),
        ] {
            ensure((1..=most).contains(&value), key, format!("it must be 1 to {most}"))?;
        }
        const DAY_MS: u64 = 86_400_000;
        for (key, value) in [
            ("limits.call_timeout_ms", self.limits.call_timeout_ms),
            ("outbound.call_timeout_ms", self.outbound.call_timeout_ms),
            ("outbound.wait_timeout_ms", self.outbound.wait_timeout_ms),
            ("polling.busy_ms", self.polling.busy_ms),
            ("polling.idle_ms", self.polling.idle_ms),
            ("replies.remember_s", self.replies.remember_s),
            ("replies.deadline_ms", self.replies.deadline_ms),
            ("replies.look_ms", self.replies.look_ms),
            ("daemon.connect_timeout_ms", self.daemon.connect_timeout_ms),
            ("daemon.call_timeout_ms", self.daemon.call_timeout_ms),
            ("daemon.check_interval_ms", self.daemon.check_interval_ms),
        ] {
            ensure((1..=DAY_MS).contains(&value), key, "it must be 1 to 86400000")?;
        }
        ensure(
            self.polling.idle_ms >= self.polling.busy_ms,
            "polling.idle_ms",
            "it must be at least polling.busy_ms",
        )?;
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.grpc.check_exposure(&self.listen).map_err(|invalid| invalid.within("grpc"))?;
        self.validate_chassis()
    }
}

#[cfg(test)]
mod tests {
    use hero_config::Validate as _;

    use super::BridgeConfig;

    #[test]
    fn the_example_shows_every_setting() {
        hero_config::example::assert_covers::<BridgeConfig>(include_str!("../config.example.toml"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |change: fn(&mut BridgeConfig)| {
            let mut config = BridgeConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(with(|config| config.mycelium_url = "127.0.0.1:8990".into()), "mycelium_url");
        assert_eq!(with(|config| config.topic = String::new()), "topic");
        assert_eq!(with(|config| config.limits.max_response_bytes = 8 << 20), "limits.max_response_bytes");
        assert_eq!(with(|config| config.outbound.max_in_flight = 64), "outbound.max_in_flight");
        assert_eq!(with(|config| config.polling.idle_ms = 0), "polling.idle_ms");
        BridgeConfig::default().validate().unwrap();
    }
}
