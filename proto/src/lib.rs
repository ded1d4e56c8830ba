//! The gRPC face of the ports: messages, conversions, clients and servers.
//!
//! It promises that a call means the same on both ends of a wire: every domain type survives the way there
//! and back, an [`ApiError`](hero_domain::ApiError) too (code, reason, words, field, job, pause), and the
//! [`Caller`](hero_domain::Caller) travels in the metadata. A client ([`GrpcJobs`], [`GrpcRunners`],
//! [`GrpcKeys`], [`GrpcCircles`], [`GrpcSchedules`], [`GrpcNodes`]) implements a port over a channel, [`GrpcPorts`] is
//! all that JSON-RPC needs of them, a server ([`job_server`], [`runner_server`], [`key_server`], [`circle_server`],
//! [`schedule_server`], [`node_server`]) serves any
//! implementation of a port. It must never know who implements a port, where it listens, or what Redis is.

mod bus;
pub mod call;
mod caller;
mod circle;
mod convert;
mod error;
mod job;
mod key;
mod limits;
mod node;
mod overlay;
pub mod pb;
mod ports;
mod runner;
mod schedule;

pub use bus::{BusFace, GrpcBus, bus_server};
pub use call::{Calls, Deadlines};
pub use circle::{CircleFace, GrpcCircles, circle_server};
pub use error::{from_status, to_status};
pub use job::{GrpcJobs, JobFace, job_server};
pub use key::{GrpcKeys, KeyFace, key_server};
pub use limits::{MAX_LOG_PAGE_BYTES, MAX_MESSAGE_BYTES};
pub use node::{GrpcNodes, NodeFace, node_server};
pub use overlay::{GrpcOverlay, OverlayFace, overlay_server};
pub use ports::GrpcPorts;
pub use runner::{GrpcRunners, RunnerFace, runner_server};
pub use schedule::{GrpcSchedules, ScheduleFace, schedule_server};

/// The compiled protos with everything that they import, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
