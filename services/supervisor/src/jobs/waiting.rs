//! Waiting for the end of a job: watch first, look second, so that an end in between is not missed.

use std::time::Duration;

use hero_domain::{ApiError, Caller, Job, JobId, NewJob, Reason, Result};
use hero_store::{JobStore as _, Watch};
use tokio::time::Instant;

use super::{StoredJobs, confine};

impl StoredJobs {
    /// Creates, starts and waits.
    pub(super) async fn run_admitted(
        &self,
        caller: &Caller,
        mut job: NewJob,
        wait: Option<Duration>,
    ) -> Result<Job> {
        let _place = self.waiters.enter()?;
        let until = Instant::now() + self.wait.bound(wait, job.timeout_s, &self.limits);
        job.is_id_minted = job.id.is_none();
        let id = *job.id.get_or_insert_with(JobId::mint);
        let mut watch = self.waits.watch(id);
        let created = self.submit_one(job).await?;
        if created.id != id {
            // The idempotency key was known: it is the first job's end that counts, which may be long ago.
            watch = self.waits.watch(created.id);
            let first = self.store.get(created.id, confine(caller)).await?;
            if first.status.is_ended() {
                return Ok(first);
            }
        }
        self.until_ended(caller, watch, until).await
    }

    /// Waits for a job that may have ended before.
    pub(super) async fn wait_for(&self, caller: &Caller, id: JobId, wait: Option<Duration>) -> Result<Job> {
        let _place = self.waiters.enter()?;
        let began = Instant::now();
        let watch = self.waits.watch(id);
        let job = self.store.get(id, confine(caller)).await?;
        if job.status.is_ended() {
            return Ok(job);
        }
        self.until_ended(caller, watch, began + self.wait.bound(wait, job.timeout_s, &self.limits)).await
    }

    async fn until_ended(&self, caller: &Caller, mut watch: Watch, until: Instant) -> Result<Job> {
        let id = watch.id();
        loop {
            let told = tokio::select! {
                told = watch.ended(until.saturating_duration_since(Instant::now())) => told,
                () = self.closing.cancelled() => return Err(shutting_down(id)),
            };
            if let Some(job) = watch.take_job().filter(|job| caller.sees_context(&job.context_id)) {
                return Ok(job);
            }
            // Also when the time is over: an announcement may have been missed, the record is the truth.
            let job = self
                .store
                .get(id, confine(caller))
                .await
                .map_err(|error| ApiError::from(error).with_job(id))?;
            if job.status.is_ended() {
                return Ok(job);
            }
            if !told || Instant::now() >= until {
                return Err(over(id));
            }
            watch = self.waits.watch(id);
        }
    }
}

fn over(id: JobId) -> ApiError {
    ApiError::new(
        Reason::WaitTimeout,
        format!("the wait for job {id} is over before the job is; it goes on, so wait for it again or ask for its status"),
    )
    .with_job(id)
}

fn shutting_down(id: JobId) -> ApiError {
    ApiError::new(
        Reason::ShuttingDown,
        format!("this server is shutting down; job {id} goes on, so wait for it again"),
    )
    .with_job(id)
}
