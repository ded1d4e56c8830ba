//! Why this exists: logs, metrics and traces have one door, so that OpenTelemetry is named in one crate, every
//! span and metric name in one file ([`names`]), and what is not exported costs nothing.
//!
//! It promises: [`init`] sets up a process once; [`metrics()`] works anywhere, also without `init`; spans are
//! made only when an exporter is configured; a caller's W3C traceparent travels on even when none is. It knows
//! nothing of jobs or transports.

mod config;
mod error;
mod logs;
mod metrics;
pub mod names;
mod process;
pub mod spans;
mod telemetry;
pub mod trace_context;

pub use config::{LogFormat, TelemetryConfig};
pub use error::Error;
pub use metrics::{Attributes, Counter, Gauge, Histogram, Metrics, UpDownCounter, metrics};
pub use telemetry::{Telemetry, init};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
