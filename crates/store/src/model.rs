//! The specification of the job store, in executable form: plain maps behind one lock, a clock that the test
//! moves, nothing clever and nothing bounded. The contract suite runs on it and on Redis, and random
//! histories compare the two answer by answer.
//!
//! What it decides, where [`JobStore`](crate::api::JobStore) leaves room:
//!
//! - **Order of checks in a create**: a known idempotency key first (nothing else is looked at), then the id,
//!   then the prerequisites. A key is known as long as its job is there.
//! - **A released or failed dependent changes in the same step** as its prerequisite ends, all the way down. The
//!   Redis store may leave what is beyond its bound to [`sweep`](crate::JobStore::sweep).
//! - **A job that goes back** (handed back, runner lost, taken beyond want) goes to the head of its queue: it has
//!   waited before those that came after it.
//! - **A stop that reached the runner is final**: however the attempt ends, unless with success, the job ends as
//!   stopped; it is not retried and not requeued.

mod admission;
mod claim;
mod jobs;
mod log;
mod runners;
mod schedules;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hero_domain::{
    Explanation, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, LogStream, NewJob, Priority, Runner,
    RunnerId, Timestamp,
};

use self::state::State;
pub use self::state::{Places, QueueName};
use crate::api::{
    Claim, Confine, Created, Exchanged, Finish, JobStore, Lane, LogAppended, Renewed, Result, Said, Session,
    SignIn, Stopped, Swept,
};

/// A job store in memory.
#[derive(Debug)]
pub struct Model {
    state: Mutex<State>,
}

impl Model {
    /// An empty store whose clock stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { state: Mutex::new(State::new(now)) }
    }

    /// Moves the clock, as time goes by while supervisors sweep.
    pub fn advance(&self, ms: i64) {
        self.lose(ms);
        let mut state = self.lock();
        state.swept_at = state.swept_at.map(|_| state.now);
    }

    /// Moves the clock, as time goes by while the store is away.
    pub fn lose(&self, ms: i64) {
        let mut state = self.lock();
        state.now = Timestamp::from_millis(state.now.as_millis() + ms);
        state.expire();
    }

    /// What the wait for work does: moves the first id of one list of a lane into the runner's in-flight list.
    pub fn take(&self, runner: &RunnerId, lane: &Lane, priority: Priority) -> Option<JobId> {
        self.lock().take(runner, lane, priority)
    }

    /// Where every job is that waits or runs.
    #[must_use]
    pub fn places(&self) -> Places {
        self.lock().places()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed while it held the lock has said so itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobStore for Model {
    async fn create(&self, jobs: &[NewJob], start: bool) -> Result<Vec<Created>> {
        self.lock().create(jobs, start)
    }

    async fn start(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        self.lock().start(id, confine)
    }

    async fn stop(&self, id: JobId, confine: Confine<'_>) -> Result<Stopped> {
        self.lock().stop(id, confine)
    }

    async fn retry(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        self.lock().retry(id, confine)
    }

    async fn explain(&self, id: JobId, confine: Confine<'_>) -> Result<Explanation> {
        self.lock().explain(id, confine)
    }

    async fn delete(&self, id: JobId, confine: Confine<'_>) -> Result<()> {
        self.lock().delete(id, confine)
    }

    async fn clear(&self, confine: Confine<'_>) -> Result<u64> {
        Ok(self.lock().clear(confine))
    }

    async fn get(&self, id: JobId, confine: Confine<'_>) -> Result<Job> {
        self.lock().get(id, confine)
    }

    async fn status(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        self.lock().status(id, confine)
    }

    async fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        self.lock().list(filter)
    }

    async fn append_log(
        &self,
        id: JobId,
        attempt: u32,
        lines: &[(LogStream, String)],
        max_bytes: usize,
    ) -> Result<LogAppended> {
        Ok(self.lock().append_log(id, attempt, lines, max_bytes))
    }

    async fn say(&self, id: JobId, attempt: u32, said: &Said) -> Result<bool> {
        Ok(self.lock().say(id, attempt, said))
    }

    async fn read_log(
        &self,
        id: JobId,
        confine: Confine<'_>,
        from: Option<&str>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.lock().read_log(id, confine, from, max_bytes)
    }

    async fn sign_in(&self, runner: &SignIn) -> Result<Session> {
        Ok(self.lock().sign_in(runner))
    }

    async fn exchange(
        &self,
        session: &Session,
        finished: &[Finish],
        claim: Option<&Claim>,
    ) -> Result<Exchanged> {
        self.lock().exchange(session, finished, claim)
    }

    async fn renew(&self, session: &Session, busy: u32, known: &[JobId]) -> Result<Renewed> {
        self.lock().renew(session, busy, known)
    }

    async fn sign_out(&self, session: &Session) -> Result<()> {
        self.lock().sign_out(session)
    }

    async fn drain(&self, runner: &RunnerId, draining: bool) -> Result<()> {
        self.lock().drain(runner, draining)
    }

    async fn remove(&self, runner: &RunnerId) -> Result<()> {
        self.lock().remove(runner)
    }

    async fn runners(&self) -> Result<Vec<Runner>> {
        Ok(self.lock().runners())
    }

    async fn limit_running(&self, context: Option<&str>, most: Option<u32>) -> Result<()> {
        self.lock().limit_running(context, most);
        Ok(())
    }

    async fn sweep(&self) -> Result<Swept> {
        Ok(self.lock().sweep())
    }
}
