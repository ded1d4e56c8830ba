//! Waiting for work, and for what a runner is told.

use hero_domain::JobId;

use crate::api::Result;

/// The wait for work of one lane: blocking connections of its own, reconnecting by themselves.
pub struct Work {}

impl Work {
    /// The next id that was moved into the runner's in-flight list; pass it to [`crate::JobStore::exchange`]
    /// as `taken`. Only while this is being awaited are ids taken from the queues; one that a connection had
    /// moved when the wait was dropped comes out of the next call, or of [`Work::moved`].
    ///
    /// # Errors
    /// Never ends by itself while Redis is away; an error is a refusal that a repeat would not change.
    pub async fn next(&mut self) -> Result<JobId> {
        std::future::pending().await
    }

    /// An id that was moved after a wait had been dropped, without taking more: await it while no slot is
    /// free, and hand what comes back by an exchange that wants none.
    pub async fn moved(&mut self) -> JobId {
        std::future::pending().await
    }
}

/// What a runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlMessage {
    /// Kill this job: it was stopped or deleted.
    Stop(JobId),
    /// Take no new jobs (true), or take them again (false).
    Drain(bool),
}

/// The messages to one runner.
pub struct Control {}

impl Control {
    /// The next message; waits, and reconnects by itself.
    pub async fn next(&mut self) -> ControlMessage {
        std::future::pending().await
    }
}
