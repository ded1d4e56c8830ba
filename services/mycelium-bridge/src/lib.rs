//! JSON-RPC over messages of the Mycelium overlay: a node is called from anywhere, with no open port.
//!
//! Why it exists: the overlay delivers at least once, in no order, and forgets everything at a restart. Here that
//! becomes calls that run once and are answered: requests are remembered in Redis by sender and id, answers are
//! kept there until the daemon says that they arrived, and what a killed bridge had begun is finished or answered
//! by the next one.
//!
//! It promises: a duplicate gets the first answer and runs nothing; a slow job holds up nobody; nobody gets in but
//! the configured peers and those who bring a secret; the daemon's API is never stopped by a long poll. It must
//! never know what a method does: calls go through the one table, as in the gateway.

mod config;
mod dispatch;
mod doorbell;
mod memory;
mod outbound;
mod peers;
mod receive;
mod replies;
mod request;
mod senders;
mod service;
mod stats;
mod watch;

pub use config::{BridgeConfig, Peer};
pub use service::{Bridge, BridgeFlags};
