//! The node, told from outside, and the rules of the house, checked. One test binary, so that it links once.

mod client;
mod cluster;
mod house;
mod library;
mod load;
mod network;
mod process;
mod proxy;
mod stories;
mod wallet;
