//! Serves any implementation of the port of jobs.

use std::time::Duration;

use hero_domain::ports::Jobs;
use tonic::{Request, Response, Status, async_trait};

use super::{convert, stats};
use crate::{
    call::serve,
    convert::{job_id, required},
    limits::{MAX_LOG_PAGE_BYTES, MAX_MESSAGE_BYTES},
    pb::job::v1::{
        self as pb,
        job_service_server::{JobService, JobServiceServer},
    },
};

/// The gRPC face of a port of jobs.
#[derive(Debug)]
pub struct JobFace<J>(J);

/// A tonic service over a port of jobs.
pub fn job_server<J: Jobs>(jobs: J) -> JobServiceServer<JobFace<J>> {
    JobServiceServer::new(JobFace(jobs))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl<J: Jobs> JobService for JobFace<J> {
    async fn create_job(&self, request: Request<pb::CreateJobRequest>) -> Answer<pb::CreateJobResponse> {
        serve(request, |caller, message| async move {
            let job = convert::new_job(required(message.job, "job")?)?;
            let id = self.0.create(&caller, job).await?;
            Ok(pb::CreateJobResponse { job_id: id.to_string() })
        })
        .await
    }

    async fn start_job(&self, request: Request<pb::StartJobRequest>) -> Answer<pb::StartJobResponse> {
        serve(request, |caller, message| async move {
            self.0.start(&caller, job_id(&message.job_id, "job_id")?).await?;
            Ok(pb::StartJobResponse {})
        })
        .await
    }

    async fn submit_jobs(&self, request: Request<pb::SubmitJobsRequest>) -> Answer<pb::SubmitJobsResponse> {
        serve(request, |caller, message| async move {
            let jobs = convert::new_jobs(message.jobs)?;
            self.0.submit(&caller, jobs).await.map(convert::to_job_ids)
        })
        .await
    }

    async fn run_job(&self, request: Request<pb::RunJobRequest>) -> Answer<pb::RunJobResponse> {
        serve(request, |caller, message| async move {
            let job = convert::new_job(required(message.job, "job")?)?;
            let job = self.0.run(&caller, job, message.wait_ms.map(Duration::from_millis)).await?;
            Ok(pb::RunJobResponse { job: Some(convert::to_job(job)) })
        })
        .await
    }

    async fn wait_job(&self, request: Request<pb::WaitJobRequest>) -> Answer<pb::WaitJobResponse> {
        serve(request, |caller, message| async move {
            let id = job_id(&message.job_id, "job_id")?;
            let job = self.0.wait(&caller, id, message.wait_ms.map(Duration::from_millis)).await?;
            Ok(pb::WaitJobResponse { job: Some(convert::to_job(job)) })
        })
        .await
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Answer<pb::GetJobResponse> {
        serve(request, |caller, message| async move {
            let job = self.0.get(&caller, job_id(&message.job_id, "job_id")?).await?;
            Ok(pb::GetJobResponse { job: Some(convert::to_job(job)) })
        })
        .await
    }

    async fn get_job_status(
        &self,
        request: Request<pb::GetJobStatusRequest>,
    ) -> Answer<pb::GetJobStatusResponse> {
        serve(request, |caller, message| async move {
            let id = job_id(&message.job_id, "job_id")?;
            self.0.status(&caller, id).await.map(convert::to_job_status)
        })
        .await
    }

    async fn get_job_logs(&self, request: Request<pb::GetJobLogsRequest>) -> Answer<pb::GetJobLogsResponse> {
        serve(request, |caller, message| async move {
            let id = job_id(&message.job_id, "job_id")?;
            self.0
                .logs(&caller, id, message.page_token, page_bytes(message.max_bytes))
                .await
                .map(convert::to_log_page)
        })
        .await
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Answer<pb::ListJobsResponse> {
        serve(request, |caller, message| async move {
            let filter = convert::job_filter(message)?;
            self.0.list(&caller, filter).await.map(convert::to_job_page)
        })
        .await
    }

    async fn stop_job(&self, request: Request<pb::StopJobRequest>) -> Answer<pb::StopJobResponse> {
        serve(request, |caller, message| async move {
            self.0.stop(&caller, job_id(&message.job_id, "job_id")?).await?;
            Ok(pb::StopJobResponse {})
        })
        .await
    }

    async fn retry_job(&self, request: Request<pb::RetryJobRequest>) -> Answer<pb::RetryJobResponse> {
        serve(request, |caller, message| async move {
            let id = job_id(&message.job_id, "job_id")?;
            self.0.retry(&caller, id).await.map(convert::to_retried_status)
        })
        .await
    }

    async fn retry_jobs(&self, request: Request<pb::RetryJobsRequest>) -> Answer<pb::RetryJobsResponse> {
        serve(request, |caller, message| async move {
            let filter = convert::retry_filter(message)?;
            self.0.retry_many(&caller, filter).await.map(convert::to_retried_ids)
        })
        .await
    }

    async fn explain_job(&self, request: Request<pb::ExplainJobRequest>) -> Answer<pb::ExplainJobResponse> {
        serve(request, |caller, message| async move {
            let id = job_id(&message.job_id, "job_id")?;
            self.0.explain(&caller, id).await.map(convert::to_explanation)
        })
        .await
    }

    async fn get_stats(&self, request: Request<pb::GetStatsRequest>) -> Answer<pb::GetStatsResponse> {
        serve(request, |caller, pb::GetStatsRequest {}| async move {
            self.0.stats(&caller).await.map(stats::to_stats)
        })
        .await
    }

    async fn delete_job(&self, request: Request<pb::DeleteJobRequest>) -> Answer<pb::DeleteJobResponse> {
        serve(request, |caller, message| async move {
            self.0.delete(&caller, job_id(&message.job_id, "job_id")?).await?;
            Ok(pb::DeleteJobResponse {})
        })
        .await
    }

    async fn clear_jobs(&self, request: Request<pb::ClearJobsRequest>) -> Answer<pb::ClearJobsResponse> {
        serve(request, |caller, pb::ClearJobsRequest {}| async move {
            let removed = self.0.clear(&caller).await?;
            Ok(pb::ClearJobsResponse { removed })
        })
        .await
    }
}

/// 0 asks for as much as one answer may hold.
fn page_bytes(asked: u64) -> usize {
    match usize::try_from(asked) {
        Ok(bytes @ 1..=MAX_LOG_PAGE_BYTES) => bytes,
        _ => MAX_LOG_PAGE_BYTES,
    }
}
