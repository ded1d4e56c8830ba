//! Jobs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Client, Error, Explanation, Filter, Job, JobId, JobStatus, NewJob, Reason, Result, RunJob,
    client::Repeat,
    model::{Logs, Played, Started},
};

/// How much longer than a job, or than the wait that was asked for, the answer may take: the supervisor's own
/// allowance for the queue, and the way.
const ALLOWANCE: Duration = Duration::from_secs(70);

impl Client {
    /// Who this client is to the node, and with which scope.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn whoami(&self) -> Result<String> {
        self.ask("whoami", Value::Null).await
    }

    /// Runs a script in the default language and returns its output.
    ///
    /// # Errors
    /// See [`Error`]; a script that failed is an [`Error::Call`] with its output so far.
    pub async fn play(&self, script: &str) -> Result<String> {
        let wait = self.options().wait_timeout;
        let played: Played = self.repeat("play", json!({ "script": script }), Repeat::Never, wait).await?;
        Ok(played.output)
    }

    /// Stores a job without starting it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_job(&self, job: &NewJob) -> Result<JobId> {
        self.new_job("create_job", job).await
    }

    /// Queues a created job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start_job(&self, id: JobId) -> Result<bool> {
        let started: Started = self.tell("start_job", json!({ "job_id": id })).await?;
        Ok(started.success)
    }

    /// Runs a job to its end and returns its output.
    ///
    /// # Errors
    /// See [`Error`]; a script that failed is an [`Error::Call`] with its output so far.
    pub async fn run_job(&self, job: &RunJob) -> Result<String> {
        let repeat = if job.idempotency_key.is_some() { Repeat::Harmless } else { Repeat::Never };
        self.repeat("run_job", job, repeat, self.wait_for(job.timeout)).await
    }

    /// Creates and starts a job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn submit_job(&self, job: &NewJob) -> Result<JobId> {
        self.new_job("submit_job", job).await
    }

    /// A job with an id of its caller's is there once, however often it is sent: that it exists after a repeat is
    /// the success that nobody heard of.
    async fn new_job(&self, method: &str, job: &NewJob) -> Result<JobId> {
        let params = json!({ "job": job });
        let (Some(id), false) = (job.id, job.is_repeatable()) else {
            let repeat = if job.is_repeatable() { Repeat::Harmless } else { Repeat::Never };
            return self.repeat(method, params, repeat, self.options().call_timeout).await;
        };
        match self.tell(method, &params).await {
            Err(Error::Unreachable { .. }) => {}
            answer => return answer,
        }
        match self.ask(method, params).await {
            Err(error) if error.reason() == Some(Reason::JobExists) => Ok(id),
            answer => answer,
        }
    }

    /// Creates and starts jobs, all or none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn submit_jobs(&self, jobs: &[NewJob]) -> Result<Vec<JobId>> {
        let is_repeatable = jobs.iter().all(NewJob::is_repeatable);
        let repeat = if is_repeatable { Repeat::Harmless } else { Repeat::Never };
        self.repeat("submit_jobs", json!({ "jobs": jobs }), repeat, self.options().call_timeout).await
    }

    /// Waits for a job's end; none: as long as the node lets it run.
    ///
    /// # Errors
    /// See [`Error`]; a wait that is over first is an [`Error::Call`] with WAIT_TIMEOUT.
    pub async fn wait_job(&self, id: JobId, timeout: Option<Duration>) -> Result<Job> {
        let seconds = timeout.map(|timeout| timeout.as_secs());
        let params = match seconds {
            Some(seconds) => json!({ "job_id": id, "timeout": seconds }),
            None => json!({ "job_id": id }),
        };
        let wait = timeout.map_or(self.options().wait_timeout, |timeout| timeout + ALLOWANCE);
        self.repeat("wait_job", params, Repeat::Harmless, wait).await
    }

    /// The whole job.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_job(&self, id: JobId) -> Result<Job> {
        self.ask("get_job", json!({ "job_id": id })).await
    }

    /// Where a job is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_job_status(&self, id: JobId) -> Result<JobStatus> {
        self.ask("get_job_status", json!({ "job_id": id })).await
    }

    /// What came out of a finished job.
    ///
    /// # Errors
    /// See [`Error`]; a script that failed is an [`Error::Call`] with its output so far.
    pub async fn get_job_output(&self, id: JobId) -> Result<String> {
        self.ask("get_job_output", json!({ "job_id": id })).await
    }

    /// A part of it, of so many characters from there on; behind the end: empty. For outputs that no answer carries.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_job_output_part(&self, id: JobId, offset: usize, length: usize) -> Result<String> {
        self.ask("get_job_output", json!({ "job_id": id, "offset": offset, "length": length })).await
    }

    /// What a job has logged so far; none: nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_job_logs(&self, id: JobId) -> Result<Option<String>> {
        let logs: Logs = self.ask("get_job_logs", json!({ "job_id": id })).await?;
        Ok(logs.logs)
    }

    /// Ids, newest first, one page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_jobs(&self, filter: &Filter) -> Result<Vec<JobId>> {
        self.ask("list_jobs", json!({ "filter": filter })).await
    }

    /// Stops a job; an ended one is left as it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stop_job(&self, id: JobId) -> Result<()> {
        self.ask("stop_job", json!({ "job_id": id })).await
    }

    /// Starts a job that ended in error again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry_job(&self, id: JobId) -> Result<JobStatus> {
        self.tell("retry_job", json!({ "job_id": id })).await
    }

    /// Starts jobs that ended in error again, a page at a time; none left: an empty list.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry_jobs(&self, filter: &Filter) -> Result<Vec<JobId>> {
        let wait = self.options().wait_timeout;
        self.repeat("retry_jobs", json!({ "filter": filter }), Repeat::Never, wait).await
    }

    /// Why a job is where it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn explain_job(&self, id: JobId) -> Result<Explanation> {
        self.ask("explain_job", json!({ "job_id": id })).await
    }

    /// Removes a job and its log.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_job(&self, id: JobId) -> Result<()> {
        self.tell("delete_job", json!({ "job_id": id })).await
    }

    /// Removes every job that this client may see.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn clear_all_jobs(&self) -> Result<()> {
        let wait = self.options().wait_timeout;
        self.repeat("clear_all_jobs", Value::Null, Repeat::Harmless, wait).await
    }

    fn wait_for(&self, job_timeout: Option<u32>) -> Duration {
        job_timeout
            .map_or(self.options().wait_timeout, |seconds| Duration::from_secs(seconds.into()) + ALLOWANCE)
    }
}
