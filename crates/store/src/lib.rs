//! Jobs in Redis: every key, every script, every promise of the job model.
//!
//! It promises that each change of state is one atomic script that checks the state machine again, that a
//! claimed job is in exactly one of queue, in-flight list and ended, and that a late report of a replaced
//! attempt changes nothing. No other crate spells a key. It must never know a port, a wire format or a scope.

mod access;
mod answer;
mod api;
mod create;
mod error;
mod exchange;
mod explain;
mod fitness;
mod keys;
mod list;
mod log;
#[cfg(feature = "model")]
pub mod model;
mod objects;
#[cfg(feature = "model")]
mod probe;
mod record;
mod runners;
mod schedules;
mod scripts;
mod stats;
mod store;
mod strays;
mod waits;
mod work;

pub use access::{MAX_CIRCLES, MAX_KEYS, StoredKey};
pub use api::*;
pub use error::Error;
pub use fitness::Fitness;
pub use keys::LONGEST_SWEEP_PAUSE_MS;
pub use objects::{
    Expected, Object, ObjectError, ObjectLimits, ObjectName, ObjectPage, ObjectResult, Objects, Revision,
};
pub use stats::Tally;
pub use store::{QueueDepth, Store};
pub use strays::Strays;
pub use waits::{Waits, Watch};
pub use work::{Control, ControlMessage, Work};
