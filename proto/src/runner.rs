//! The contract of runners over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcRunners;
pub use server::{RunnerFace, runner_server};
