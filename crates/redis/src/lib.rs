//! How a Redis connection is opened, held and checked: one multiplexed connection for calls that comes back
//! by itself, dedicated ones for blocking reads and for
//! what is published, and scripts, as functions where Redis has those.
//!
//! It promises that a call fails fast while Redis is away ([`Error::is_away`]) and that an address is printed
//! without its password. It must never know a key of the product.

mod address;
mod config;
mod error;
mod link;
mod script;
mod shared;
mod subscription;
mod target;

pub use address::RedisUrl;
pub use config::RedisConfig;
pub use error::{Error, Result};
pub use link::{Blocking, Link};
pub use script::{Function, Library, Script};
pub use subscription::Subscription;

pub use redis::{Cmd, FromRedisValue, Pipeline, Value, cmd, pipe};
