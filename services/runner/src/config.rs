//! The runner's settings.

use std::{path::PathBuf, time::Duration};

use hero_config::{Invalid, Overrides, Validate, ensure};
use hero_domain::{CircleKey, JobLimits, RunnerId, ScriptType};
use hero_redis::RedisConfig;
use hero_runtime::{Address, AdminConfig, Chassis, DrainConfig, GrpcConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{OutputLimits, osis::OsisConfig, python::PythonConfig, sal::SalConfig, v::VConfig},
    sandbox::SandboxConfig,
};

const ADMIN_PORT: u16 = 9082;
const GRPC_PORT: u16 = 8082;

/// The settings of a runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunnerConfig {
    /// Who it is; empty: `<host>-<process>-<random>`. Two runners must not share one.
    pub id: String,
    /// The circle that it serves, by its public key, and no other jobs; empty: the jobs of the node itself.
    pub circle: String,
    /// Which scripts it executes. A type that this machine cannot serve is left out, and the log says so.
    pub script_types: Vec<ScriptType>,
    /// How long its jobs are its own without a sign of life, in milliseconds.
    pub lease_ms: u64,
    /// How long a lane with a free slot may hear nothing of its queues while Redis answers, in milliseconds. It connects
    /// anew then, and the runner is not ready; after three times as long it is not alive.
    pub stall_ms: u64,
    /// Where gRPC health and reflection are served.
    pub listen: Address,
    /// How gRPC is served.
    pub grpc: GrpcConfig,
    /// Where the jobs are.
    pub redis: RedisConfig,
    /// Bounds on what a job may leave behind.
    pub limits: LimitsConfig,
    /// OSIS: Rhai in process.
    pub osis: OsisConfig,
    /// Python: a process per job.
    pub python: PythonConfig,
    /// SAL: Rhai with the System Abstraction Layer, a process per job.
    pub sal: SalConfig,
    /// V: compiled once, a process per job.
    pub v: VConfig,
    /// What scripts with a process of their own are kept in.
    pub sandbox: SandboxConfig,
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How it stops: jobs get the grace, what is left is handed back.
    pub drain: DrainConfig,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            id: String::new(),
            circle: String::new(),
            script_types: ScriptType::ALL.to_vec(),
            lease_ms: 10_000,
            stall_ms: 20_000,
            listen: Address::loopback(GRPC_PORT),
            grpc: GrpcConfig::default(),
            redis: RedisConfig::default(),
            limits: LimitsConfig::default(),
            osis: OsisConfig::default(),
            python: PythonConfig::default(),
            sal: SalConfig::default(),
            v: VConfig::default(),
            sandbox: SandboxConfig::default(),
            admin: AdminConfig::at(ADMIN_PORT),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

/// Bounds on what one job may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Bytes of a job's output; more ends the job as output_too_large.
    pub max_output_bytes: usize,
    /// Bytes of a job's log; what comes after is dropped, and the log says so.
    pub max_log_bytes: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = JobLimits::default();
        Self { max_output_bytes: limits.max_output_bytes, max_log_bytes: limits.max_log_bytes }
    }
}

impl RunnerConfig {
    /// The circle that it serves; none: the jobs of the node itself.
    #[must_use]
    pub fn circle(&self) -> Option<CircleKey> {
        self.circle.parse().ok()
    }

    /// How long its jobs are its own without a sign of life.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long a lane may hear nothing of its queues.
    #[must_use]
    pub const fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }

    /// The bounds that engines keep.
    #[must_use]
    pub const fn limits(&self) -> OutputLimits {
        OutputLimits { max_output_bytes: self.limits.max_output_bytes }
    }

    /// How many jobs of a type it runs at once.
    #[must_use]
    pub fn slots(&self, script_type: ScriptType) -> usize {
        let configured = match script_type {
            ScriptType::Osis => self.osis.slots,
            ScriptType::Sal => self.sal.slots,
            ScriptType::V => self.v.slots,
            ScriptType::Python => self.python.slots,
        };
        match configured {
            0 => 2 * std::thread::available_parallelism().map_or(1, usize::from),
            slots => slots,
        }
    }
}

impl Chassis for RunnerConfig {
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

impl Validate for RunnerConfig {
    fn validate(&self) -> Result<(), Invalid> {
        /// More at once on one machine is a mistake.
        const MOST_SLOTS: usize = 10_000;
        if !self.id.is_empty() {
            self.id.parse::<RunnerId>().map_err(|error| Invalid::new("id", error.to_string()))?;
        }
        if !self.circle.is_empty() {
            self.circle.parse::<CircleKey>().map_err(|error| Invalid::new("circle", error.to_string()))?;
        }
        ensure(!self.script_types.is_empty(), "script_types", "name at least one, for example [\"OSIS\"]")?;
        ensure(
            (1_000..=3_600_000).contains(&self.lease_ms),
            "lease_ms",
            "it must be between 1000 and 3600000 (an hour)",
        )?;
        ensure(
            (1_000..=3_600_000).contains(&self.stall_ms),
            "stall_ms",
            "it must be between 1000 and 3600000 (an hour)",
        )?;
        ensure(self.limits.max_output_bytes > 0, "limits.max_output_bytes", "it must be more than 0")?;
        ensure(
            (1..=MOST_SLOTS).contains(&self.osis.slots),
            "osis.slots",
            format!("it must be between 1 and {MOST_SLOTS}"),
        )?;
        for (key, slots) in
            [("python.slots", self.python.slots), ("sal.slots", self.sal.slots), ("v.slots", self.v.slots)]
        {
            let words = format!("it must be at most {MOST_SLOTS}; 0 is twice the processors");
            ensure(slots <= MOST_SLOTS, key, words)?;
        }
        let osis = &self.osis;
        // Rhai takes 0 for "no limit", and each level takes room on a stack of fixed size.
        for (key, value, most) in [
            ("osis.max_call_levels", osis.max_call_levels, 256),
            ("osis.max_expression_depth", osis.max_expression_depth, 256),
            ("osis.max_variables", osis.max_variables, usize::MAX),
            ("osis.max_string_bytes", osis.max_string_bytes, usize::MAX),
            ("osis.max_memory_bytes", osis.max_memory_bytes, usize::MAX),
            ("osis.max_array_elements", osis.max_array_elements, 100_000),
            ("osis.max_map_members", osis.max_map_members, 100_000),
        ] {
            ensure((1..=most).contains(&value), key, format!("it must be between 1 and {most}"))?;
        }
        self.sandbox.validate().map_err(|invalid| invalid.within("sandbox"))?;
        ensure(
            (1..=16 << 20).contains(&osis.objects.max_object_bytes),
            "osis.objects.max_object_bytes",
            "it must be between 1 and 16777216",
        )?;
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.validate_chassis()
    }
}

/// The runner's own flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RunnerFlags {
    /// Who this runner is; two must not share a name
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Which scripts it executes: osis, sal, v, python
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub script_types: Vec<String>,
    /// Where Redis is
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// Where gRPC health and reflection are served
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The Python interpreter
    #[arg(long, value_name = "PATH")]
    pub python: Option<String>,
}

impl RunnerFlags {
    /// The settings that the flags stand for.
    #[must_use]
    pub fn into_overrides(self) -> Overrides {
        Overrides::new()
            .set("id", "--id", self.id)
            .set_list("script_types", "--script-types", self.script_types)
            .set("redis.url", "--redis-url", self.redis_url)
            .set("listen", "--listen", self.listen)
            .set("python.interpreter", "--python", self.python)
    }
}

/// The directories of this process' PATH.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hero_config::Validate;
    use hero_domain::ScriptType;

    use super::RunnerConfig;

    #[test]
    fn the_example_shows_every_setting() {
        hero_config::example::assert_covers::<RunnerConfig>(include_str!("../config.example.toml"));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |change: fn(&mut RunnerConfig)| {
            let mut config = RunnerConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(refused(|c| c.id = "a b".into()), "id");
        assert_eq!(refused(|c| c.script_types.clear()), "script_types");
        assert_eq!(refused(|c| c.lease_ms = 10), "lease_ms");
        assert_eq!(refused(|c| c.osis.slots = 0), "osis.slots");
        assert_eq!(refused(|c| c.osis.max_string_bytes = 0), "osis.max_string_bytes");
        assert_eq!(refused(|c| c.python.slots = 1_000_000), "python.slots");
        assert!(RunnerConfig::default().validate().is_ok());
    }

    #[test]
    fn python_gets_two_slots_a_processor_unless_told() {
        let mut config = RunnerConfig::default();
        assert_eq!(config.slots(ScriptType::Python) % 2, 0);
        config.python.slots = 3;
        assert_eq!(config.slots(ScriptType::Python), 3);
    }
}
