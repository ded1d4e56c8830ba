//! The contract of the message bus over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcBus;
pub use server::{BusFace, bus_server};
