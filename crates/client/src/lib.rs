//! One typed client of a node, whichever way leads there.
//!
//! Why it exists: a program should say `client.run_job(..)` and not care whether the node is behind HTTP, a
//! WebSocket, a socket on this machine or the overlay. The address decides; the methods are the same.
//!
//! ```no_run
//! # async fn example() -> hero_client::Result<()> {
//! use hero_client::{Client, RunJob, ScriptType};
//!
//! let client = Client::builder("http://127.0.0.1:8080").secret("user123").build()?;
//! let output = client.run_job(&RunJob::new(ScriptType::Osis, "40 + 2")).await?;
//! assert_eq!(output, "42");
//! # Ok(())
//! # }
//! ```
//!
//! It promises: every method has a deadline; a call that may be repeated without harm is repeated while the node
//! is away, any other one never after it may have been received; a failure says whose it is ([`Error`]); nothing
//! prints a secret. It must never know how a node does what it is asked for.

mod client;
mod error;
mod methods;
mod model;
pub mod mycelium;
mod params;
mod target;
mod transport;

pub use client::{Builder, Client, MyceliumBuilder, Options};
pub use error::{CallError, Error, Result};
pub use hero_config::Secret;
pub use hero_domain::{
    CatchUp, CircleKey, CircleLimits, Destination, ErrorKind, Heartbeat, JobId, JobStatus, Machine, Node,
    NodeChange, NodeFilter, NodeId, NodePage, NodeSelector, NodeSort, NodeState, NodeTarget, Overlap,
    OverlayKey, OverlayState, Priority, Reason, RunnerId, RunnerState, ScheduleId, Scope, ScriptType,
    Standing, Timestamp,
};
pub use methods::{METHODS, Subscription};
pub use model::{
    Ahead, AuditEntry, BusReply, Circle, ContextBytes, CreatedKey, Explanation, Job, JobEvent, JobTemplate,
    Key, LogLine, LogNews, MyceliumMessage, MyceliumStatus, Runner, Schedule, Serving,
};
pub use params::{BusRequest, Filter, NewJob, NewSchedule, RunJob};
pub use target::{AddressError, Target};
