//! The supervisor as its callers see it: a real Redis of its own, real gRPC sockets, and a runner's hand that
//! takes jobs and ends them.

mod contract;
mod feeds;
mod node;
mod outage;
mod places;
mod refusals;
mod schedules;
mod settings;
mod submits;
mod waits;
