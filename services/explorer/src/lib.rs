//! Why this exists: somebody has to know which nodes there are, and to pass calls on to those that cannot be reached
//! otherwise.
//!
//! It promises that a heartbeat is believed only with the key that belongs to its node's id, and once; that no node is
//! given up because the explorer itself was slow; that a node that hangs, lies or talks too much harms its own callers
//! only; and that replicas over one Redis know the same. It must never know what a job or a runner is, beyond the
//! numbers that a node tells.

mod beat;
mod calls;
mod config;
mod nodes;
mod registry;
mod service;
mod shelf;
mod upkeep;

pub use config::{CallsConfig, ExplorerConfig, Flags, HeartbeatsConfig};
pub use service::Explorer;
