//! The ground that every other crate stands on: what a job, a runner and a caller are, which changes of
//! state exist, how an error is told apart, and the ports through which services are called.
//!
//! It promises that a rule is written once: the state machine ([`JobStatus::may_become`]), the limits
//! ([`JobLimits`]) and the error taxonomy ([`ErrorCode`], [`Reason`]) live here and nowhere else.
//! It must never know a socket, a clock, a Redis key, a gRPC message or a JSON-RPC envelope.

mod bus;
mod caller;
mod circle;
mod error;
mod event;
mod explain;
mod id;
mod job;
mod key;
mod limits;
mod log;
mod node;
mod overlay;
mod page;
pub mod ports;
mod runner;
mod schedule;
mod time;

pub use bus::{BusReply, BusRequest, DeadMessage};
pub use caller::{Caller, Scope};
pub use circle::{Circle, CircleLimits, NewCircle};
pub use error::{ApiError, ErrorCode, Reason, Result};
pub use event::{JobEvent, JobEventKind};
pub use explain::{Ahead, Explanation, Parked, Serving};
pub use id::{CircleKey, IdError, JobId, NodeId, RunnerId};
pub use job::{
    DEFAULT_CALLER, DEFAULT_CONTEXT, ErrorKind, Job, JobStatus, NewJob, ParseNameError, Priority, Progress,
    ScriptType,
};
pub use key::{AuditEntry, CreatedKey, KeyInfo, Login, NewKey, Proof};
pub use limits::JobLimits;
pub use log::{LogLine, LogPage, LogStream};
pub use node::{
    BeatOrder, Heartbeat, Machine, Node, NodeAnswer, NodeCall, NodeChange, NodeDecision, NodeFilter,
    NodePage, NodeSelector, NodeSort, NodeState, NodeTarget, SignedHeartbeat, Standing,
};
pub use overlay::{
    Destination, DestinationError, OverlayCall, OverlayKey, OverlayMessage, OverlayState, OverlayStatus,
};
pub use page::{JobFilter, JobPage};
pub use runner::{Runner, RunnerState};
pub use schedule::{CatchUp, NewSchedule, Overlap, Schedule, ScheduleId};
pub use time::{Timestamp, TimestampError};
