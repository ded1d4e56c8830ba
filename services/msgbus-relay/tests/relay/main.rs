//! The relay against real Redis servers and real HTTP, as old programs and old daemons meet it.

mod batch;
mod bus;
mod conformance;
mod faults;
mod http;
mod lookup;
mod python;
mod rpc;
mod unit;
