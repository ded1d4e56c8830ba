//! The gateway over real sockets, before a real gRPC server with made-up ports behind it.

mod bounds;
mod calls;
mod node;
mod pages;
mod places;
