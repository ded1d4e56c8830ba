//! The node that this supervisor is to others: it says that it lives, it can be called by JSON-RPC over sockets, and it
//! asks explorers about the others.

pub(crate) mod config;
mod face;
mod fleet;
mod forward;
mod heart;
mod identity;
mod machine;

pub(crate) use face::Face;
pub(crate) use fleet::Fleet;
pub(crate) use heart::{Heart, Pulse, tell};
