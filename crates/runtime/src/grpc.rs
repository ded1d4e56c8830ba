//! gRPC as every service serves and calls it.

mod channel;
mod guard;
mod observe;
mod server;

pub use channel::{ChannelConfig, channel};
pub use guard::TOKEN;
pub use server::{GrpcConfig, Server};

/// Bytes that may be on their way on one connection. h2 also derives from it how many small messages a peer may
/// leave unread before it takes the connection for an attack and ends it (128 at the default of 64 KiB, which a
/// few hundred calls at once reach easily); an adaptive window begins at that default, so the windows are fixed.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes that may be on their way for one call.
const STREAM_WINDOW: u32 = 2 << 20;
