//! The contract of the overlay over gRPC.

mod client;
mod convert;
mod server;

pub use client::GrpcOverlay;
pub use server::{OverlayFace, overlay_server};
