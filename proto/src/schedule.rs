//! The contract of schedules over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcSchedules;
pub use server::{ScheduleFace, schedule_server};
