//! A bound on callers that wait, and the count of those that do.

use std::sync::Arc;

use hero_domain::{ApiError, Reason, Result};
use hero_telemetry::{Attributes, metrics, names};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When a refused caller may come back.
const RETRY_AFTER_MS: u64 = 1_000;

/// The places for callers that wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Waiters {
    places: Arc<Semaphore>,
    most: usize,
}

/// A caller's place; dropping it (the wait is over, the call was given up) frees it.
pub(crate) struct Waiter(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

impl Waiters {
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), most }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// TooManyRequests when there is none; nothing was done then.
    pub(crate) fn enter(&self) -> Result<Waiter> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(refused(format!("{} callers wait for jobs already", self.most)));
        };
        metrics().waiters.add(1, &Attributes::none());
        Ok(Waiter(place))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        metrics().waiters.add(-1, &Attributes::none());
    }
}

/// The refusal of a call by a limit of ours, counted.
pub(crate) fn refused(what: String) -> ApiError {
    metrics().limit_refused.add(1, &Attributes::new(&[(names::REASON, Reason::TooManyRequests.as_str())]));
    ApiError::new(Reason::TooManyRequests, format!("{what}, as many as may be; try again in a moment"))
        .with_retry_after_ms(RETRY_AFTER_MS)
}
