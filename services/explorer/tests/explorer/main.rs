//! An explorer in this process, its Redis, and nodes of all kinds at real sockets.

mod bad_nodes;
mod heartbeats;
mod passed_on;
mod setup;
mod sockets;
