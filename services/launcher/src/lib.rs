//! Why this exists: one command that gives a whole node. Supervisor, gateway and runner live in one process, by
//! their own `bind` and `run`, and talk over real gRPC on loopback sockets: there is no short cut that a fleet of
//! containers would not have.
//!
//! It promises: without any setting it works, with a private Redis of its own if it must, and jobs outlive it; what
//! it cannot do it refuses with words at the start. It must never know what a job is.

mod banner;
mod config;
mod flags;
mod node;
mod redis_server;
mod tenants;

pub use config::LauncherConfig;
pub use flags::LauncherFlags;
pub use hero_runner::run_if_child;
pub use node::Node;
pub use redis_server::{Error as RedisServerError, Patience, RedisServer};
