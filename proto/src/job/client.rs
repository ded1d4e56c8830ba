//! The port of jobs, asked over a channel.

use std::time::Duration;

use hero_domain::{
    Caller, Explanation, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, NewJob, Reason, Result, Stats,
    ports::Jobs,
};
use tonic::transport::Channel;

use super::{convert, stats};
use crate::{
    call::{Calls, answer, malformed},
    convert::job_id,
    limits::{MAX_MESSAGE_BYTES, check_size},
    pb::job::v1::{self as pb, job_service_client::JobServiceClient},
};

/// The port of jobs over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcJobs {
    client: JobServiceClient<Channel>,
    calls: Calls,
}

impl GrpcJobs {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        let client = JobServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, calls }
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }

    fn waiting<T>(&self, caller: &Caller, wait: Option<Duration>, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.of_wait(wait), message)
    }
}

fn millis(wait: Option<Duration>) -> Option<u64> {
    wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

impl Jobs for GrpcJobs {
    async fn create(&self, caller: &Caller, job: NewJob) -> Result<JobId> {
        let message = pb::CreateJobRequest { job: Some(convert::to_new_job(job)) };
        check_size(&message, Reason::ScriptTooLarge, "script")?;
        let request = self.request(caller, message)?;
        let response = answer(self.client.clone().create_job(request).await)?;
        job_id(&response.job_id, "job_id").map_err(malformed)
    }

    async fn start(&self, caller: &Caller, id: JobId) -> Result<()> {
        let request = self.request(caller, pb::StartJobRequest { job_id: id.to_string() })?;
        answer(self.client.clone().start_job(request).await).map(|_| ())
    }

    async fn submit(&self, caller: &Caller, jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        let message = pb::SubmitJobsRequest { jobs: jobs.into_iter().map(convert::to_new_job).collect() };
        check_size(&message, Reason::BatchTooLarge, "jobs")?;
        let request = self.request(caller, message)?;
        convert::job_ids(answer(self.client.clone().submit_jobs(request).await)?).map_err(malformed)
    }

    async fn run(&self, caller: &Caller, job: NewJob, wait: Option<Duration>) -> Result<Job> {
        let message = pb::RunJobRequest { job: Some(convert::to_new_job(job)), wait_ms: millis(wait) };
        check_size(&message, Reason::ScriptTooLarge, "script")?;
        let request = self.waiting(caller, wait, message)?;
        let response = answer(self.client.clone().run_job(request).await)?;
        convert::job(response.job).map_err(malformed)
    }

    async fn wait(&self, caller: &Caller, id: JobId, wait: Option<Duration>) -> Result<Job> {
        let message = pb::WaitJobRequest { job_id: id.to_string(), wait_ms: millis(wait) };
        let request = self.waiting(caller, wait, message)?;
        let response = answer(self.client.clone().wait_job(request).await)?;
        convert::job(response.job).map_err(malformed)
    }

    async fn get(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let request = self.request(caller, pb::GetJobRequest { job_id: id.to_string() })?;
        let response = answer(self.client.clone().get_job(request).await)?;
        convert::job(response.job).map_err(malformed)
    }

    async fn status(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        let request = self.request(caller, pb::GetJobStatusRequest { job_id: id.to_string() })?;
        let response = answer(self.client.clone().get_job_status(request).await)?;
        convert::job_status(response).map_err(malformed)
    }

    async fn logs(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        let message =
            pb::GetJobLogsRequest { job_id: id.to_string(), max_bytes: max_bytes as u64, page_token: from };
        let request = self.request(caller, message)?;
        let response = answer(self.client.clone().get_job_logs(request).await)?;
        convert::log_page(response).map_err(malformed)
    }

    async fn list(&self, caller: &Caller, filter: JobFilter) -> Result<JobPage> {
        let request = self.request(caller, convert::to_list_request(filter))?;
        let response = answer(self.client.clone().list_jobs(request).await)?;
        convert::job_page(response).map_err(malformed)
    }

    async fn stop(&self, caller: &Caller, id: JobId) -> Result<()> {
        let request = self.request(caller, pb::StopJobRequest { job_id: id.to_string() })?;
        answer(self.client.clone().stop_job(request).await).map(|_| ())
    }

    async fn retry(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        let request = self.request(caller, pb::RetryJobRequest { job_id: id.to_string() })?;
        convert::retried_status(answer(self.client.clone().retry_job(request).await)?).map_err(malformed)
    }

    async fn retry_many(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<JobId>> {
        let request = self.request(caller, convert::to_retry_request(filter))?;
        convert::retried_ids(answer(self.client.clone().retry_jobs(request).await)?).map_err(malformed)
    }

    async fn explain(&self, caller: &Caller, id: JobId) -> Result<Explanation> {
        let request = self.request(caller, pb::ExplainJobRequest { job_id: id.to_string() })?;
        convert::explanation(answer(self.client.clone().explain_job(request).await)?).map_err(malformed)
    }

    async fn stats(&self, caller: &Caller) -> Result<Stats> {
        let request = self.request(caller, pb::GetStatsRequest {})?;
        stats::stats(answer(self.client.clone().get_stats(request).await)?).map_err(malformed)
    }

    async fn delete(&self, caller: &Caller, id: JobId) -> Result<()> {
        let request = self.request(caller, pb::DeleteJobRequest { job_id: id.to_string() })?;
        answer(self.client.clone().delete_job(request).await).map(|_| ())
    }

    async fn clear(&self, caller: &Caller) -> Result<u64> {
        let request = self.calls.request(caller, self.calls.deadlines.long_call, pb::ClearJobsRequest {})?;
        answer(self.client.clone().clear_jobs(request).await).map(|response| response.removed)
    }
}
