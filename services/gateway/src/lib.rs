//! The public edge: JSON-RPC over HTTP POST and WebSocket on one port.
//!
//! Why it exists: whoever calls from outside meets the bounds here (sizes, counts, times, origins, who may
//! call), so that nothing behind it has to defend itself against strangers. A call that passes is dispatched
//! into the one method table (`hero-jsonrpc`) over gRPC clients of the supervisor's ports.
//!
//! It promises to hold no job state (kill it, lose nothing), to answer a refusal in JSON with the reason and
//! the way out, to say at once when the supervisor is away, and never to serve an unauthenticated caller on
//! an address that others can reach, unless told `--insecure-no-auth`.
//!
//! It must never know Redis, a job's rules, or which supervisor answered.

mod auth;
mod coalesce;
mod config;
mod connection;
mod edge;
mod offered;
mod paced;
mod refusal;
mod service;
mod ui;
mod upstream;

pub use coalesce::Coalesced;
pub use config::{AuthConfig, GatewayConfig, LimitsConfig};
pub use service::{Gateway, GatewayFlags};
