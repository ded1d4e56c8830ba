//! What tests need and no service does: a private Redis, and the ports of a made-up node.

mod fake;
mod redis_server;

pub use fake::FakeNode;
pub use redis_server::RedisServer;
