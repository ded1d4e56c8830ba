//! The one table of JSON-RPC methods, generic over the ports.
//!
//! Why it exists: a call may come in over HTTP, WebSocket, an overlay message, a bus command or a unix
//! socket, and it must mean the same everywhere. So the methods, their parameters, who may call them and how
//! a failure is told are written once, here, and every transport dispatches into [`module`].
//!
//! It promises that every method of [`METHODS`] takes its parameters by name and by position, that a
//! parameter at fault is named, that nobody is let in without a [`Session`] whose scope covers the method,
//! and that no input makes it panic.
//!
//! [`Wire`] is one such transport, for sockets of any kind: HTTP, WebSocket and raw lines on the same connection.
//!
//! It must never know who listens, who may connect or where the truth about jobs lives.

mod bus;
mod calls;
mod circles;
mod error;
mod examples;
mod fallback;
mod handler;
mod keys;
mod line;
mod measure;
mod method;
mod nodes;
mod openrpc;
mod overlay;
mod pace;
mod params;
mod schedules;
mod session;
mod stats;
mod subscriptions;
mod view;
mod wire;

pub use bus::BusReplyView;
pub use calls::{CallLimits, Calls, CallsLayer, over_http};
pub use error::{SCRIPT_FAILED, code_of, error_object, http_status};
pub use fallback::Fallback;
pub use handler::{Options, module, node_module};
pub use jsonrpsee::RpcModule;
pub use line::{answer, question};
pub use method::{METHODS, Method, Param, Rule, method};
pub use nodes::NodeParam;
pub use openrpc::openrpc;
pub use overlay::{MyceliumMessageView, MyceliumStatusView};
pub use pace::Pace;
pub use params::{FilterParams, JobParams, ScheduleParams};
pub use session::Session;
pub use stats::{FailureView, FlowView, JobCountsView, LaneView, RunnerCountsView, StatsView, StoreView};
pub use view::{
    AheadView, AuditView, CircleView, ContextBytesView, CreatedKeyView, ExplanationView, JobEventView,
    JobView, KeyView, LogLineView, LogNewsView, RunnerView, ScheduleView, ServingView, TemplateView,
};
pub use wire::{Wire, WireConfig};
