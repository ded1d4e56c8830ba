//! The bridge between an overlay and a made-up node, over real HTTP, gRPC and Redis. The overlay is the one of
//! `hero_testing`; with `HERO_MYCELIUM_BIN` naming a `mycelium` binary the stories of `real.rs` are told over two real daemons.

mod inbound;
mod outbound;
mod real;
mod setup;
