//! The contract of nodes over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcNodes;
pub use server::{NodeFace, node_server};
