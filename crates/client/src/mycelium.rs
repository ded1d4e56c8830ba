//! The Mycelium daemon, as far as messages go, and calls that travel through it.
//!
//! What the daemon does is told in docs/mycelium.md. Two things shape this code: a long poll stops the daemon's
//! whole API, so nothing here polls with a timeout; and a message to the daemon's own node never arrives, so such
//! a call goes over HTTP, or is refused with words.

mod daemon;
mod overlay;

pub use daemon::{Daemon, DaemonOptions, MessageState, NodeInfo, Pushed, Received};
pub(crate) use overlay::Overlay;
