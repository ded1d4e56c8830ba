//! The settings of telemetry, embedded by every service as `[telemetry]`.

use std::collections::BTreeMap;

use hero_config::{Invalid, Validate, ensure};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What is logged and what is exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// A level (`info`) or levels by target (`info,hero_store=debug`).
    pub log_level: String,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Where traces and metrics are pushed over OTLP/gRPC, for example `http://127.0.0.1:4317`. Absent: nowhere.
    pub otlp_endpoint: Option<String>,
    /// The share of traces that begin here and are exported, 0 to 1. A caller's own decision is respected.
    pub sample_ratio: f64,
    /// How often metrics are pushed, when an endpoint is set.
    pub metric_interval_ms: u64,
    /// The name of the deployment, for example `production`.
    pub environment: Option<String>,
    /// Further attributes of everything that is exported.
    pub resource_attributes: BTreeMap<String, String>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            sample_ratio: 1.0,
            metric_interval_ms: 60_000,
            environment: None,
            resource_attributes: BTreeMap::new(),
        }
    }
}

impl Validate for TelemetryConfig {
    fn validate(&self) -> Result<(), Invalid> {
        EnvFilter::try_new(&self.log_level).map_err(|error| Invalid::new("log_level", error.to_string()))?;
        ensure((0.0..=1.0).contains(&self.sample_ratio), "sample_ratio", "it must be between 0 and 1")?;
        ensure(self.metric_interval_ms >= 1_000, "metric_interval_ms", "it must be at least 1000")?;
        let plain = self.otlp_endpoint.as_deref().is_none_or(|endpoint| endpoint.starts_with("http://"));
        ensure(
            plain,
            "otlp_endpoint",
            "it must be http://host:port; for TLS, export to a collector beside the service",
        )
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}
