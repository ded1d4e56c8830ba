//! The contract of keys over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcKeys;
pub use server::{KeyFace, key_server};
