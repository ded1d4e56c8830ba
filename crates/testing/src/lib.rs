//! What tests need and no service does: a private Redis, the ports of a made-up node, a made-up overlay, and
//! conditions to wait on.

mod binaries;
mod condition;
mod fake;
pub mod mycelium;
mod redis_server;
mod sentinel;
mod tls;

pub use binaries::binaries;
pub use condition::eventually;
pub use fake::FakeNode;
pub use redis_server::RedisServer;
pub use sentinel::{Failover, free_port};
pub use tls::Certificates;
