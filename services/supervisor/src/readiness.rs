//! Whether the store may be used at all: calls are let through once Redis was found fit to keep jobs.

use std::sync::{Arc, PoisonError, RwLock};

use hero_domain::{ApiError, Reason, Result};

/// When a refused caller may come back.
const RETRY_AFTER_MS: u64 = 1_000;

/// The door to the store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<RwLock<Option<Refusal>>>);

#[derive(Debug)]
struct Refusal {
    reason: Reason,
    why: String,
}

impl Gate {
    /// Closed until the first look at Redis.
    pub(crate) fn closed() -> Self {
        let why = "the job store has not been reached yet; repeat the call in a moment".to_owned();
        Self(Arc::new(RwLock::new(Some(Refusal { reason: Reason::StoreUnavailable, why }))))
    }

    /// # Errors
    /// The reason why the store must not be used now.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(refusal) => {
                Err(ApiError::new(refusal.reason, refusal.why.clone()).with_retry_after_ms(RETRY_AFTER_MS))
            }
        }
    }

    /// Redis is fit.
    pub(crate) fn open(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Redis must not be used. One that is merely away needs no closing: each call finds that out itself, and
    /// is served again the moment Redis is back.
    pub(crate) fn close(&self, reason: Reason, why: impl Into<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Refusal { reason, why: why.into() });
    }
}
