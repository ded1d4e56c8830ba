//! The settings of the gateway, each bound with its name, its default and its reason.

use std::time::Duration;

use hero_config::{Invalid, Validate, ensure};
use hero_jsonrpc::{CallLimits, Options};
use hero_runtime::{Address, AdminConfig, ChannelConfig, Chassis, DrainConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

/// The settings of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayConfig {
    /// Where JSON-RPC is served.
    pub listen: Address,
    /// Where the supervisor serves gRPC.
    pub supervisor: Address,
    /// Where an explorer serves gRPC; none: the supervisor asks those that it knows.
    pub explorer: Option<Address>,
    /// Where the msgbus-relay serves gRPC; none: this node has no message bus.
    pub msgbus_relay: Option<Address>,
    /// Where the mycelium-bridge serves gRPC; none: this node is not in the Mycelium overlay.
    pub mycelium_bridge: Option<Address>,
    /// Serve callers without a secret on an address that others can reach.
    pub insecure_no_auth: bool,
    /// Names that a request may call this host (`Host`); empty: on a loopback address the names of loopback,
    /// else any. `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Web origins whose pages may call, such as `https://example.org`; `*` is any.
    pub allowed_origins: Vec<String>,
    /// Serve the dashboard at `/ui`: static pages, which call the same API as everybody.
    pub ui: bool,
    /// How callers are told apart.
    pub auth: AuthConfig,
    /// The bounds.
    pub limits: LimitsConfig,
    /// The channel to the supervisor.
    pub channel: ChannelConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

/// How callers are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// How long an answer about a secret is kept: as long may a removed key still work. 0 asks every time.
    pub cache_ms: u64,
    /// How long it is remembered that a circle is served: as long may a removed one still be connected to.
    pub circle_cache_ms: u64,
    /// How many answers are kept.
    pub max_cached: usize,
    /// How long a caller with a wrong secret waits for the refusal.
    pub failure_delay_ms: u64,
}

/// The bounds of the edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Bytes of a request's body or a WebSocket message.
    pub max_request_bytes: u32,
    /// Bytes of a response.
    pub max_response_bytes: u32,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Calls in one batch.
    pub max_batch_calls: usize,
    /// Calls of one batch that run at a time.
    pub max_batch_concurrent: usize,
    /// Connections.
    pub max_connections: usize,
    /// Calls of one WebSocket that run at a time.
    pub max_calls_per_connection: usize,
    /// Calls that run at a time, over all connections.
    pub max_calls: usize,
    /// Responses of one WebSocket that wait for their client to read.
    pub max_unsent_responses: u32,
    /// Bytes of log text in one get_job_logs.
    pub max_logs_bytes: usize,
    /// How long a request's head may take, and how long an idle HTTP connection is kept.
    pub header_timeout_ms: u64,
    /// How long a request's body may take.
    pub body_timeout_ms: u64,
    /// How long a call may take that does not wait for a job.
    pub call_timeout_ms: u64,
    /// How long a client may take nothing of what is sent to it before it is cut off.
    pub send_timeout_ms: u64,
    /// How often an open WebSocket is checked for life.
    pub ping_interval_ms: u64,
    /// How long a WebSocket may give no sign of life.
    pub idle_timeout_ms: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: Address::loopback(8080),
            supervisor: Address::loopback(8081),
            explorer: None,
            msgbus_relay: None,
            mycelium_bridge: None,
            insecure_no_auth: false,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            ui: true,
            auth: AuthConfig::default(),
            limits: LimitsConfig::default(),
            channel: ChannelConfig::default(),
            admin: AdminConfig::at(9080),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { cache_ms: 10_000, circle_cache_ms: 2_000, max_cached: 1_024, failure_delay_ms: 250 }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 2 << 20,
            max_response_bytes: 10 << 20,
            max_header_bytes: 32 << 10,
            max_batch_calls: 100,
            max_batch_concurrent: 100,
            max_connections: 1_024,
            max_calls_per_connection: 1_024,
            max_calls: 8_192,
            max_unsent_responses: 256,
            max_logs_bytes: 4 << 20,
            header_timeout_ms: 30_000,
            body_timeout_ms: 30_000,
            call_timeout_ms: 15_000,
            send_timeout_ms: 30_000,
            ping_interval_ms: 30_000,
            idle_timeout_ms: 45_000,
        }
    }
}

impl LimitsConfig {
    pub(crate) fn calls(&self) -> CallLimits {
        CallLimits {
            max_batch: self.max_batch_calls,
            max_batch_concurrent: self.max_batch_concurrent,
            max_calls_per_connection: self.max_calls_per_connection,
            max_calls: self.max_calls,
            call_timeout: Duration::from_millis(self.call_timeout_ms),
            max_response_bytes: self.max_response_bytes as usize,
        }
    }

    pub(crate) fn options(&self, failure_delay: Duration) -> Options {
        Options {
            max_logs_bytes: self.max_logs_bytes,
            max_output_bytes: self.max_response_bytes as usize,
            failure_delay,
            ..Options::default()
        }
    }
}

impl Validate for LimitsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        const LEAST_HEADER_BYTES: usize = 8_192;
        let counts = [
            ("max_request_bytes", self.max_request_bytes as usize),
            ("max_response_bytes", self.max_response_bytes as usize),
            ("max_batch_calls", self.max_batch_calls),
            ("max_batch_concurrent", self.max_batch_concurrent),
            ("max_connections", self.max_connections),
            ("max_calls_per_connection", self.max_calls_per_connection),
            ("max_calls", self.max_calls),
            ("max_unsent_responses", self.max_unsent_responses as usize),
            ("max_logs_bytes", self.max_logs_bytes),
        ];
        for (key, value) in counts {
            // The upper end is that of the semaphores behind these bounds, far from any real setting.
            ensure((1..=u32::MAX as usize >> 3).contains(&value), key, "it must be 1 to 536870911")?;
        }
        ensure(self.max_header_bytes >= LEAST_HEADER_BYTES, "max_header_bytes", "it must be at least 8192")?;
        let times = [
            ("header_timeout_ms", self.header_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("call_timeout_ms", self.call_timeout_ms),
            ("send_timeout_ms", self.send_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
        ];
        for (key, value) in times {
            ensure((1..=86_400_000).contains(&value), key, "it must be 1 to 86400000, a day")?;
        }
        ensure(
            self.idle_timeout_ms > self.ping_interval_ms,
            "idle_timeout_ms",
            "it must be more than ping_interval_ms, or every WebSocket is cut off",
        )
    }
}

impl Validate for GatewayConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.limits.validate().map_err(|invalid| invalid.within("limits"))?;
        self.channel.validate().map_err(|invalid| invalid.within("channel"))?;
        ensure(self.auth.max_cached > 0, "auth.max_cached", "it must be at least 1")?;
        ensure(self.auth.failure_delay_ms <= 10_000, "auth.failure_delay_ms", "it must be at most 10000")?;
        for origin in self.allowed_origins.iter().filter(|origin| *origin != "*") {
            let uri = origin.parse::<http::Uri>().ok();
            let is_origin = uri.is_some_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.path() == "/"
                    && !origin.ends_with('/')
            });
            let words =
                format!("`{origin}` is not an origin; write scheme and host, such as https://example.org");
            ensure(is_origin, "allowed_origins", words)?;
        }
        self.validate_chassis()
    }
}

impl Chassis for GatewayConfig {
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

#[cfg(test)]
mod tests {
    use hero_config::Validate as _;

    use super::{GatewayConfig, LimitsConfig};

    #[test]
    fn the_example_shows_every_setting() {
        hero_config::example::assert_covers::<GatewayConfig>(include_str!("../config.example.toml"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |change: fn(&mut GatewayConfig)| {
            let mut config = GatewayConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(with(|config| config.limits.max_calls = 0), "limits.max_calls");
        assert_eq!(with(|config| config.limits.header_timeout_ms = 0), "limits.header_timeout_ms");
        assert_eq!(with(|config| config.limits.idle_timeout_ms = 1), "limits.idle_timeout_ms");
        assert_eq!(with(|config| config.limits.max_header_bytes = 1), "limits.max_header_bytes");
        assert_eq!(with(|config| config.allowed_origins = vec!["example.org".into()]), "allowed_origins");
        assert_eq!(with(|config| config.allowed_origins = vec!["https://a.b/".into()]), "allowed_origins");
        GatewayConfig {
            allowed_origins: vec!["*".into(), "https://a.b:8443".into()],
            ..GatewayConfig::default()
        }
        .validate()
        .unwrap();
        LimitsConfig::default().validate().unwrap();
    }
}
