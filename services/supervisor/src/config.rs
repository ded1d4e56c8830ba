//! The settings of the supervisor and the flags that set some of them.

use std::time::Duration;

use hero_auth::{PublicKey, Secrets};
use hero_config::{Invalid, Overrides, Secret, Validate, ensure};
use hero_domain::{CircleKey, JobLimits};
use hero_redis::RedisConfig;
use hero_runtime::{Address, AdminConfig, Chassis, DrainConfig, GrpcConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

use crate::node::config::NodeConfig;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct SupervisorConfig {
    /// Where gRPC is served. Whoever can connect is believed to be an edge, so keep it to those.
    pub listen: Address,
    /// The secrets of the node; none: everybody is the local caller.
    pub secrets: Secrets,
    /// Refuse callers who bring nothing, even where no secret is configured.
    pub enable_auth: bool,
    /// Public keys of circles that are served beside those that were added at run time.
    pub circles: Vec<String>,
    /// How the owners of keys prove them.
    pub auth: AuthConfig,
    /// Where jobs are kept.
    pub redis: RedisConfig,
    /// What a job may bring and leave behind.
    pub jobs: JobLimits,
    /// How jobs are handed to Redis.
    pub submit: SubmitConfig,
    /// How callers wait for jobs.
    pub wait: WaitConfig,
    /// Promoting what is due, requeueing what was lost, and looking after Redis.
    pub upkeep: UpkeepConfig,
    /// Jobs that are started by the clock.
    pub schedules: SchedulesConfig,
    /// The node that it is to others.
    pub node: NodeConfig,
    /// The Mycelium daemon through which this node is called too: a bridge process is started beside. Absent: none.
    pub mycelium_url: Option<String>,
    /// The topic that requests come in on there.
    pub topic: String,
    /// How gRPC is served.
    pub grpc: GrpcConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            listen: Address::loopback(8081),
            secrets: Secrets::default(),
            enable_auth: false,
            circles: Vec::new(),
            auth: AuthConfig::default(),
            redis: RedisConfig::default(),
            jobs: JobLimits::default(),
            submit: SubmitConfig::default(),
            wait: WaitConfig::default(),
            upkeep: UpkeepConfig::default(),
            schedules: SchedulesConfig::default(),
            node: NodeConfig::default(),
            mycelium_url: None,
            topic: "supervisor.rpc".to_owned(),
            grpc: GrpcConfig::default(),
            admin: AdminConfig::at(9081),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

/// Where the bridge that is started beside finds the address of Redis: not among the arguments, which others can read.
pub(crate) const BRIDGE_REDIS_URL: &str = "HERO_MYCELIUM_BRIDGE__REDIS__URL";

/// How the owners of keys prove them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Seconds in which a nonce has to be signed and brought back.
    pub nonce_s: u32,
    /// Seconds that a token of a login is good for.
    pub token_s: u32,
    /// How long a circle is remembered: as long may one that another replica has removed still be served.
    pub circle_cache_ms: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { nonce_s: 300, token_s: 3_600, circle_cache_ms: 2_000 }
    }
}

/// How jobs are handed to Redis: what comes in while calls are on their way goes along in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubmitConfig {
    /// Calls that may be on their way to Redis at once.
    pub max_in_flight: usize,
    /// Jobs that one call takes along.
    pub max_jobs: usize,
    /// Bytes of scripts that one call takes along.
    pub max_bytes: usize,
    /// Requests that may wait for the next call; more are refused (TOO_MANY_REQUESTS).
    pub max_pending: usize,
}

impl Default for SubmitConfig {
    fn default() -> Self {
        Self { max_in_flight: 2, max_jobs: 256, max_bytes: 1 << 20, max_pending: 10_000 }
    }
}

/// How callers wait for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitConfig {
    /// Callers that may wait at once; more are refused (TOO_MANY_REQUESTS).
    pub max_waiters: usize,
    /// A wait without a bound of its own lasts the job's timeout and this much for the queue.
    pub queue_allowance_ms: u64,
}

impl Default for WaitConfig {
    fn default() -> Self {
        Self { max_waiters: 20_000, queue_allowance_ms: 60_000 }
    }
}

impl WaitConfig {
    /// How long a caller waits for a job that may run for so long.
    pub(crate) fn bound(&self, asked: Option<Duration>, timeout_s: u32, limits: &JobLimits) -> Duration {
        let allowance = Duration::from_millis(self.queue_allowance_ms);
        let longest = Duration::from_secs(limits.max_timeout_s.into()) + allowance;
        asked.unwrap_or_else(|| Duration::from_secs(timeout_s.into()) + allowance).min(longest)
    }
}

/// Upkeep of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpkeepConfig {
    /// The longest pause between two sweeps, and between two looks at a Redis that is away or unfit; at most 1500,
    /// for a longer time without sweeps is taken for an outage, and every runner's lease is given once more.
    pub sweep_interval_ms: u64,
    /// The pause between two looks at the settings of a Redis that is fit, and at the lengths of its queues.
    pub check_interval_ms: u64,
    /// How much of Redis' `maxmemory` new jobs may not have, in percent: it is for the outputs and logs of those that
    /// are there. Beyond it they are refused (STORE_FULL).
    pub reserve_percent: u8,
}

impl Default for UpkeepConfig {
    fn default() -> Self {
        Self { sweep_interval_ms: 1_000, check_interval_ms: 10_000, reserve_percent: 5 }
    }
}

/// Jobs that are started by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulesConfig {
    /// Schedules of one context (in a circle: of that circle); more are refused (TOO_MANY_SCHEDULES).
    pub max_per_context: u64,
    /// Schedules in all; more are refused (TOO_MANY_SCHEDULES).
    pub max_schedules: u64,
    /// A time that was not worked on for longer than this is missed, and its catch-up policy applies.
    pub grace_ms: u64,
    /// The longest pause between two looks at the clock; a time that is known of is not missed by it.
    pub look_interval_ms: u64,
}

impl Default for SchedulesConfig {
    fn default() -> Self {
        Self { max_per_context: 200, max_schedules: 2_000, grace_ms: 60_000, look_interval_ms: 1_000 }
    }
}

impl Chassis for SupervisorConfig {
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

impl SupervisorConfig {
    /// The configured circles, each in the one spelling of its key.
    pub(crate) fn circle_keys(&self) -> Result<Vec<CircleKey>, Invalid> {
        let of = |text: &String| match PublicKey::parse(text) {
            Ok(key) => Ok(key.name().clone()),
            Err(error) => Err(Invalid::new("circles", error.message())),
        };
        self.circles.iter().map(of).collect()
    }
}

impl Validate for AuthConfig {
    fn validate(&self) -> Result<(), Invalid> {
        ensure((10..=3_600).contains(&self.nonce_s), "nonce_s", "it must be 10 to 3600")?;
        ensure((60..=604_800).contains(&self.token_s), "token_s", "it must be 60 to 604800, a week")?;
        ensure(self.circle_cache_ms <= 60_000, "circle_cache_ms", "it must be at most 60000")
    }
}

impl Validate for SupervisorConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_chassis()?;
        self.secrets.validate().map_err(|invalid| invalid.within("secrets"))?;
        self.circle_keys()?;
        self.auth.validate().map_err(|invalid| invalid.within("auth"))?;
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.node.check(!self.secrets.is_empty()).map_err(|invalid| invalid.within("node"))?;
        validate_limits(&self.jobs).map_err(|invalid| invalid.within("jobs"))?;
        let submit = &self.submit;
        for (key, value) in [
            ("submit.max_in_flight", submit.max_in_flight),
            ("submit.max_jobs", submit.max_jobs),
            ("submit.max_bytes", submit.max_bytes),
            ("submit.max_pending", submit.max_pending),
            ("wait.max_waiters", self.wait.max_waiters),
        ] {
            ensure(value > 0, key, "it must be more than 0")?;
        }
        const DAY_MS: u64 = 86_400_000;
        ensure(
            self.wait.queue_allowance_ms <= DAY_MS,
            "wait.queue_allowance_ms",
            "it must be at most a day (86400000)",
        )?;
        ensure(
            (10..=DAY_MS).contains(&self.schedules.look_interval_ms),
            "schedules.look_interval_ms",
            "it must be 10 to 86400000",
        )?;
        let upkeep = &self.upkeep;
        ensure(
            (10..=DAY_MS).contains(&upkeep.sweep_interval_ms),
            "upkeep.sweep_interval_ms",
            "it must be 10 to 86400000",
        )?;
        ensure(
            (100..=DAY_MS).contains(&upkeep.check_interval_ms),
            "upkeep.check_interval_ms",
            "it must be 100 to 86400000",
        )?;
        ensure(upkeep.reserve_percent <= 50, "upkeep.reserve_percent", "it must be at most 50")
    }
}

fn validate_limits(limits: &JobLimits) -> Result<(), Invalid> {
    for (key, value) in [
        ("max_script_bytes", limits.max_script_bytes),
        ("max_output_bytes", limits.max_output_bytes),
        ("max_log_bytes", limits.max_log_bytes),
        ("max_submit_jobs", limits.max_submit_jobs),
        ("default_list_page", limits.default_list_page),
    ] {
        ensure(value > 0, key, "it must be more than 0")?;
    }
    let at_most = |key: &str, value: u64, most_key: &str, most: u64| {
        ensure(value <= most, key, format!("it must be at most {most_key} ({most})"))
    };
    ensure(limits.default_timeout_s > 0, "default_timeout_s", "it must be more than 0")?;
    at_most(
        "default_timeout_s",
        limits.default_timeout_s.into(),
        "max_timeout_s",
        limits.max_timeout_s.into(),
    )?;
    at_most(
        "default_list_page",
        limits.default_list_page as u64,
        "max_list_page",
        limits.max_list_page as u64,
    )?;
    ensure(limits.default_retry_backoff_ms > 0, "default_retry_backoff_ms", "it must be more than 0")?;
    at_most(
        "default_retry_backoff_ms",
        limits.default_retry_backoff_ms,
        "max_retry_backoff_ms",
        limits.max_retry_backoff_ms,
    )?;
    ensure(limits.default_max_deliveries > 0, "default_max_deliveries", "it must be more than 0")?;
    at_most(
        "default_max_deliveries",
        limits.default_max_deliveries.into(),
        "max_deliveries",
        limits.max_deliveries.into(),
    )?;
    at_most(
        "default_retention_s",
        limits.default_retention_s.into(),
        "max_retention_s",
        limits.max_retention_s.into(),
    )
}

/// The supervisor's own flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// A secret that allows everything; may be given several times [env: HERO_SUPERVISOR__SECRETS__ADMIN]
    #[arg(long = "admin-secret", value_name = "SECRET")]
    pub admin_secrets: Vec<Secret>,
    /// A secret that allows jobs; may be given several times [env: HERO_SUPERVISOR__SECRETS__USER]
    #[arg(long = "user-secret", value_name = "SECRET")]
    pub user_secrets: Vec<Secret>,
    /// A secret that allows runners; may be given several times [env: HERO_SUPERVISOR__SECRETS__REGISTER]
    #[arg(long = "register-secret", value_name = "SECRET")]
    pub register_secrets: Vec<Secret>,
    /// Where jobs are kept: redis://host:port or unix:///path [env: HERO_SUPERVISOR__REDIS__URL]
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<Secret>,
    /// Where gRPC is served: tcp://host:port or unix:///path [env: HERO_SUPERVISOR__LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The Mycelium daemon through which this node is called too, such as http://127.0.0.1:8990; starts the program
    /// mycelium-bridge beside [env: HERO_SUPERVISOR__MYCELIUM_URL]
    #[arg(long, value_name = "URL")]
    pub mycelium_url: Option<String>,
    /// The topic of the calls that come in there [default: supervisor.rpc] [env: HERO_SUPERVISOR__TOPIC]
    #[arg(long)]
    pub topic: Option<String>,
}

impl Flags {
    pub(crate) fn overrides(self) -> Overrides {
        let exposed =
            |secrets: Vec<Secret>| secrets.iter().map(|secret| secret.expose().to_owned()).collect();
        Overrides::new()
            .set_list("secrets.admin", "--admin-secret", exposed(self.admin_secrets))
            .set_list("secrets.user", "--user-secret", exposed(self.user_secrets))
            .set_list("secrets.register", "--register-secret", exposed(self.register_secrets))
            .set("redis.url", "--redis-url", self.redis_url.map(|url| url.expose().to_owned()))
            .set("listen", "--listen", self.listen)
            .set("mycelium_url", "--mycelium-url", self.mycelium_url)
            .set("topic", "--topic", self.topic)
    }
}
