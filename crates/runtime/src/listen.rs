//! Listeners and streams over `tcp://`, `tls://` and `unix://` that behave alike; serving connections within
//! bounds, and asking peers over pooled ones.

mod accept;
mod address;
mod lines;
mod listener;
mod stream;
mod tls;

pub use accept::{AcceptConfig, accept};
pub use address::{Address, AddressError};
pub use lines::{LineError, LinesConfig, Peers};
pub use listener::{BindError, Listener};
pub use stream::{Peer, Stream, connect};
pub use tls::{Acceptor, Connector, TlsConfig, TlsError};
