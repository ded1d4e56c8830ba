//! What a runner holds: every attempt from its claim until the store has taken its end.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use hero_domain::JobId;
use parking_lot::Mutex;

use crate::attempt::{Attempt, Order};

/// The attempts of a runner. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings(Arc<Mutex<HashMap<JobId, Arc<Attempt>>>>);

impl Holdings {
    /// Takes up an attempt. An older one of the same job is not this runner's any more.
    pub(crate) fn add(&self, attempt: Arc<Attempt>) {
        if let Some(older) = self.0.lock().insert(attempt.id(), attempt) {
            older.order(Order::Abandon);
        }
    }

    /// Lets go of an attempt, unless a newer one of the same job is held.
    pub(crate) fn remove(&self, attempt: &Attempt) {
        if let Entry::Occupied(held) = self.0.lock().entry(attempt.id())
            && held.get().number() == attempt.number()
        {
            held.remove();
        }
    }

    /// The ids of all jobs that are held.
    pub(crate) fn ids(&self) -> Vec<JobId> {
        self.0.lock().keys().copied().collect()
    }

    /// Tells one job's attempt something.
    pub(crate) fn order(&self, id: JobId, order: Order) {
        let attempt = self.0.lock().get(&id).cloned();
        if let Some(attempt) = attempt {
            attempt.order(order);
        }
    }

    /// Tells every attempt something.
    pub(crate) fn order_all(&self, order: Order) {
        let attempts: Vec<_> = self.0.lock().values().cloned().collect();
        attempts.iter().for_each(|attempt| attempt.order(order));
    }
}
