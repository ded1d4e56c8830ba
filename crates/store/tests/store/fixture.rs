//! A job store whose clock the test moves.

use std::future::Future;

use hero_domain::{JobId, Priority, RunnerId, Timestamp};
use hero_store::{
    JobStore, Lane, ScheduleStore,
    model::{Model, Places},
};

/// Where every test begins: 2026-11-21T11:06:00Z.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_795_259_160_000);

/// A fresh store, and what only a test may do with it.
pub(crate) trait Fixture: Sized {
    type Store: JobStore + ScheduleStore;

    /// An empty store whose clock stands at [`BEGIN`].
    fn open() -> impl Future<Output = Self>;

    fn store(&self) -> &Self::Store;

    /// Moves the clock, as time goes by while supervisors sweep; what expires by it is gone at once.
    fn advance(&self, ms: i64) -> impl Future<Output = ()>;

    /// Moves the clock, as time goes by while the store is away.
    fn lose(&self, ms: i64) -> impl Future<Output = ()>;

    /// What the wait for work does: moves an id from one list of a lane into the runner's in-flight list.
    fn take(&self, runner: &RunnerId, lane: &Lane, priority: Priority)
    -> impl Future<Output = Option<JobId>>;

    /// Where every job is that waits or runs.
    fn places(&self) -> impl Future<Output = Places>;
}

/// The model.
pub(crate) struct InMemory(Model);

impl Fixture for InMemory {
    type Store = Model;

    async fn open() -> Self {
        Self(Model::new(BEGIN))
    }

    fn store(&self) -> &Model {
        &self.0
    }

    async fn advance(&self, ms: i64) {
        self.0.advance(ms);
    }

    async fn lose(&self, ms: i64) {
        self.0.lose(ms);
    }

    async fn take(&self, runner: &RunnerId, lane: &Lane, priority: Priority) -> Option<JobId> {
        self.0.take(runner, lane, priority)
    }

    async fn places(&self) -> Places {
        self.0.places()
    }
}
