//! The message bus: a program pushes a JSON message into its local Redis and gets the answers in its return queue,
//! wherever the twins are that it asked.
//!
//! It promises to speak to old programs and old daemons as they speak (`docs/msgbus.md`), that a message which was
//! taken is never lost, whatever is killed when, and that each destination of a request has exactly one answer: its
//! reply, an error or a timeout. Nothing that comes over HTTP is believed before its signature was checked.
//!
//! It must never know what a command means; JSON-RPC over the bus (`hero.rpc`) goes into the one method table.

mod admission;
mod batch;
mod bus;
mod client;
mod config;
mod intake;
pub mod key;
mod keys;
mod ledger;
pub mod message;
mod numbers;
mod outbox;
mod rates;
mod registry;
mod relay;
mod rpc;
mod server;
mod service;
mod stats;
mod twins;
mod upkeep;
mod waiters;

pub use config::{AcceptConfig, RelayConfig, RelayFlags, RpcConfig, SendConfig, TwinsConfig};
pub use service::MsgbusRelay;
