//! Why this exists: every service lives the same life, so it is written once. Parse (exit 64 on a bad
//! configuration), bind (exit 1, naming the address), serve, and on a signal: not ready at once, wait the drain
//! delay, stop accepting, finish what is in flight up to the grace, flush telemetry, exit 0. A second signal ends
//! it now.
//!
//! It promises: `main.rs` of a service is `fn main() -> ExitCode { hero_runtime::main::<Supervisor>() }`; an admin
//! port with `/livez`, `/readyz`, `/metrics` and `/log-level`; gRPC health and reflection; sockets over `tcp://` and
//! `unix://` that behave alike. Liveness never depends on another system. It knows nothing of jobs.

pub mod admin;
mod chassis;
mod cli;
pub mod grpc;
pub mod health;
pub mod listen;
mod memory;
mod process;
mod service;
mod shutdown;
mod start_pages;
pub mod tasks;

pub use admin::{AdminConfig, AdminServer};
pub use chassis::{Chassis, ChassisConfig};
pub use grpc::{ChannelConfig, GrpcConfig};
pub use health::{Condition, Health};
pub use hero_telemetry::{LogFormat, Telemetry, TelemetryConfig};
pub use listen::{Address, Listener};
pub use process::{main, run};
pub use service::{Addresses, Context, NoFlags, Service, VERSION, run_service};
pub use shutdown::{DrainConfig, Shutdown, ShutdownTrigger};
pub use tasks::Tasks;
