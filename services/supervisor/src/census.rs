//! Who is there to take jobs, as of a moment ago: for notes, which are asked for more often than runners change.

use std::{sync::Arc, time::Duration};

use hero_domain::{Job, JobStatus, Runner};
use hero_store::{JobStore as _, Result, Store};
use tokio::{sync::Mutex, time::Instant};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// The runners of the store, asked for at most once in [`FRESH`].
pub(crate) struct Census {
    store: Store,
    latest: Mutex<Option<(Instant, Arc<Vec<Runner>>)>>,
}

impl Census {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, latest: Mutex::default() }
    }

    /// Adds to a job that waits in a queue what its caller should know.
    pub(crate) async fn note(&self, job: &mut Job) {
        if job.status != JobStatus::Dispatched || job.queued_at.is_none() {
            return;
        }
        // Without an answer there is nothing to note; the job is told all the same.
        if let Ok(runners) = self.runners().await {
            job.note_who_serves(runners.iter());
        }
    }

    async fn runners(&self) -> Result<Arc<Vec<Runner>>> {
        let mut latest = self.latest.lock().await;
        if let Some((at, runners)) = &*latest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(runners));
        }
        let runners = Arc::new(self.store.runners().await?);
        *latest = Some((Instant::now(), Arc::clone(&runners)));
        Ok(runners)
    }
}
