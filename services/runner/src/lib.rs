//! Why this exists: somebody has to run the scripts. A runner claims jobs from the store within its free slots,
//! executes each with the engine of its type, and reports how it ended.
//!
//! It promises: a claimed job ends, whatever its script does: by itself, by its timeout, by a stop within a
//! second; no script can delay the runner's sign of life; an end is reported until the store has taken it; a
//! runner that is told to stop lets jobs finish for a while and hands the rest back. It must never know a Redis
//! key, the gateway or the supervisor.

mod attempt;
mod backoff;
mod child;
mod config;
pub mod engine;
mod holdings;
mod lane;
mod lease;
mod log;
mod runner;
pub mod sandbox;
mod stall;
#[cfg(test)]
mod trial;

pub use attempt::{Attempt, Ended, Interrupt, Order, Reports, Run};

pub use config::{LimitsConfig, RunnerConfig, RunnerFlags};
pub use engine::sal::run_if_child;
pub use runner::Runner;
