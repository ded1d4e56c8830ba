//! gRPC as every service serves and calls it.

mod channel;
mod observe;
mod server;

pub use channel::{ChannelConfig, channel};
pub use server::{GrpcConfig, Server};
