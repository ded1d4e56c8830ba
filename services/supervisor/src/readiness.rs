//! Whether the store may be used at all: calls are let through once Redis was found fit to keep jobs.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use hero_domain::{ApiError, Reason, Result};

/// When a refused caller may come back.
const RETRY_AFTER_MS: u64 = 1_000;

/// The door to the store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    refusal: Arc<RwLock<Option<Refusal>>>,
    /// Redis is about to have used up its memory.
    is_full: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Refusal {
    reason: Reason,
    why: String,
}

impl Gate {
    /// Closed until the first look at Redis.
    pub(crate) fn closed() -> Self {
        let why = "the job store has not been reached yet; repeat the call in a moment".to_owned();
        let refusal = Refusal { reason: Reason::StoreUnavailable, why };
        Self { refusal: Arc::new(RwLock::new(Some(refusal))), is_full: Arc::default() }
    }

    /// # Errors
    /// The reason why the store must not be used now.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.refusal.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(refusal) => {
                Err(ApiError::new(refusal.reason, refusal.why.clone()).with_retry_after_ms(RETRY_AFTER_MS))
            }
        }
    }

    /// # Errors
    /// There is no room for new jobs: what is left is for the outputs and logs of those that are there.
    pub(crate) fn check_room(&self) -> Result<()> {
        if self.is_full() { Err(hero_store::Error::Full.into()) } else { Ok(()) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Whether there is room for new jobs.
    pub(crate) fn set_full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            match is_full {
                true => tracing::warn!("redis is about to have used up its memory: NEW JOBS ARE REFUSED"),
                false => tracing::info!("redis has room for new jobs again"),
            }
        }
    }

    /// Redis is fit.
    pub(crate) fn open(&self) {
        *self.refusal.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Redis must not be used. One that is merely away needs no closing: each call finds that out itself, and
    /// is served again the moment Redis is back.
    pub(crate) fn close(&self, reason: Reason, why: impl Into<String>) {
        *self.refusal.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Refusal { reason, why: why.into() });
    }
}
