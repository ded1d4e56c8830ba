//! The contract of circles over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcCircles;
pub use server::{CircleFace, circle_server};
