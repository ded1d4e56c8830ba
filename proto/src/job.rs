//! The contract of jobs over gRPC.

mod client;
mod convert;
mod server;
mod stats;

pub use client::GrpcJobs;
pub use server::{JobFace, job_server};

pub(crate) use convert::{new_job, script_type, to_new_job, to_script_type};
