//! Why this exists: one kind of process decides what happens to jobs, so that every edge (gateway, bridge,
//! relay) is a face of it and holds no state. It serves the ports of jobs, runners, schedules, circles and keys over gRPC.
//!
//! It promises that every call is checked here again (scope, circle, limits), that a wait is watched before its
//! job is queued, and that upkeep goes on in every replica without a leader. It must never know a key of
//! Redis or an engine. [`NodeConfig`] makes it a node that others can call and find.

mod beside;
mod census;
mod circles;
mod config;
mod jobs;
mod keys;
mod node;
mod readiness;
mod runners;
mod schedules;
mod service;
mod submissions;
mod upkeep;
mod waiters;

pub use config::{
    AuthConfig, Flags, SchedulesConfig, SubmitConfig, SupervisorConfig, UpkeepConfig, WaitConfig,
};
pub use node::config::NodeConfig;
pub use service::Supervisor;
