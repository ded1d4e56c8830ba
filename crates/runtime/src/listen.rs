//! Listeners and streams over `tcp://` and `unix://` that behave alike.

mod address;
mod listener;
mod stream;

pub use address::{Address, AddressError};
pub use listener::{BindError, Listener};
pub use stream::{Peer, Stream, connect};
