//! t
#![allow(dead_code,unused_imports, unreachable_pub)]
mod redis_server;
pub use redis_server::{Error as RedisServerError, Patience, RedisServer};
