//! Jobs, in both directions. Everything is moved, nothing is cloned: a script may be a mebibyte.

use hero_domain::{
    Ahead, ApiError, ContextBytes, ErrorKind, Explanation, Job, JobChange, JobDigest, JobEventKind,
    JobFilter, JobId, JobPage, JobStatus, LogLine, LogNews, LogPage, LogStream, NewJob, Parked, Priority,
    Progress, Reason, Result, ScriptType, Serving, Watched,
};

use crate::{
    convert::{
        circle_key, from_timestamp, job_id, named_on_both_sides, required, runner_id, timestamp, within,
    },
    pb::job::v1 as pb,
};

named_on_both_sides!(to_script_type, script_type: ScriptType = pb::ScriptType, ScriptTypeUnknown {
    Osis = "SCRIPT_TYPE_OSIS",
    Sal = "SCRIPT_TYPE_SAL",
    V = "SCRIPT_TYPE_V",
    Python = "SCRIPT_TYPE_PYTHON",
});
named_on_both_sides!(to_status, status: JobStatus = pb::JobStatus, InvalidParams {
    Dispatched = "JOB_STATUS_DISPATCHED",
    WaitingForPrerequisites = "JOB_STATUS_WAITING_FOR_PREREQUISITES",
    Started = "JOB_STATUS_STARTED",
    Error = "JOB_STATUS_ERROR",
    Finished = "JOB_STATUS_FINISHED",
});
named_on_both_sides!(to_error_kind, error_kind: ErrorKind = pb::ErrorKind, InvalidParams {
    ScriptFailed = "ERROR_KIND_SCRIPT_FAILED",
    Timeout = "ERROR_KIND_TIMEOUT",
    Stopped = "ERROR_KIND_STOPPED",
    RunnerLost = "ERROR_KIND_RUNNER_LOST",
    PrerequisiteFailed = "ERROR_KIND_PREREQUISITE_FAILED",
    InvalidScript = "ERROR_KIND_INVALID_SCRIPT",
    OutputTooLarge = "ERROR_KIND_OUTPUT_TOO_LARGE",
});
named_on_both_sides!(to_priority, priority: Priority = pb::Priority, InvalidParams {
    High = "PRIORITY_HIGH",
    Normal = "PRIORITY_NORMAL",
    Low = "PRIORITY_LOW",
});
named_on_both_sides!(to_log_stream, log_stream: LogStream = pb::LogStream, InvalidParams {
    Stdout = "LOG_STREAM_STDOUT",
    Stderr = "LOG_STREAM_STDERR",
    Log = "LOG_STREAM_LOG",
});
named_on_both_sides!(to_event_kind, event_kind: JobEventKind = pb::JobEventKind, InvalidParams {
    Created = "JOB_EVENT_KIND_CREATED",
    Queued = "JOB_EVENT_KIND_QUEUED",
    Waiting = "JOB_EVENT_KIND_WAITING",
    Delayed = "JOB_EVENT_KIND_DELAYED",
    Started = "JOB_EVENT_KIND_STARTED",
    Progress = "JOB_EVENT_KIND_PROGRESS",
    Finished = "JOB_EVENT_KIND_FINISHED",
    Failed = "JOB_EVENT_KIND_FAILED",
    Deleted = "JOB_EVENT_KIND_DELETED",
});

fn to_ids(ids: Vec<JobId>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

fn ids(texts: Vec<String>, field: &str) -> Result<Vec<JobId>> {
    texts.iter().map(|text| job_id(text, field)).collect()
}

/// The circle stays behind: it is the caller's, and travels with the caller.
pub(crate) fn to_new_job(job: NewJob) -> pb::NewJob {
    pb::NewJob {
        id: job.id.map(|id| id.to_string()),
        caller_id: job.caller_id,
        context_id: job.context_id,
        script: job.script,
        script_type: to_script_type(job.script_type).into(),
        timeout_s: Some(job.timeout_s),
        prerequisites: to_ids(job.prerequisites),
        retries: job.retries,
        retry_backoff_ms: Some(job.retry_backoff_ms),
        max_deliveries: Some(job.max_deliveries),
        priority: Some(to_priority(job.priority).into()),
        run_at: job.run_at.map(from_timestamp),
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: Some(job.retention_s),
        traceparent: job.traceparent,
    }
}

pub(crate) fn new_job(job: pb::NewJob) -> Result<NewJob> {
    let defaults = NewJob::new(script_type(job.script_type, "script_type")?, job.script);
    Ok(NewJob {
        id: job.id.map(|id| job_id(&id, "id")).transpose()?,
        is_id_minted: false,
        caller_id: job.caller_id,
        context_id: job.context_id,
        timeout_s: job.timeout_s.unwrap_or(defaults.timeout_s),
        prerequisites: ids(job.prerequisites, "prerequisites")?,
        retries: job.retries,
        retry_backoff_ms: job.retry_backoff_ms.unwrap_or(defaults.retry_backoff_ms),
        max_deliveries: job.max_deliveries.unwrap_or(defaults.max_deliveries),
        priority: job.priority.map_or(Ok(defaults.priority), |value| priority(value, "priority"))?,
        run_at: job.run_at.map(|at| timestamp(at, "run_at")).transpose()?,
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: job.retention_s.unwrap_or(defaults.retention_s),
        traceparent: job.traceparent,
        ..defaults
    })
}

pub(crate) fn new_jobs(jobs: Vec<pb::NewJob>) -> Result<Vec<NewJob>> {
    jobs.into_iter()
        .enumerate()
        .map(|(index, job)| new_job(job).map_err(|error| within(error, || format!("jobs[{index}]"))))
        .collect()
}

pub(crate) fn to_job(job: Job) -> pb::Job {
    pb::Job {
        id: job.id.to_string(),
        caller_id: job.caller_id,
        context_id: job.context_id,
        circle: job.circle.map(|key| key.to_string()),
        script: job.script,
        script_type: to_script_type(job.script_type).into(),
        timeout_s: job.timeout_s,
        prerequisites: to_ids(job.prerequisites),
        dependents: to_ids(job.dependents),
        retries: job.retries,
        retry_backoff_ms: job.retry_backoff_ms,
        max_deliveries: job.max_deliveries,
        priority: to_priority(job.priority).into(),
        run_at: job.run_at.map(from_timestamp),
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: job.retention_s,
        status: to_status(job.status).into(),
        error_kind: job.error_kind.map(|kind| to_error_kind(kind).into()),
        error: job.error,
        output: job.output,
        progress: job.progress.map(to_progress),
        result: job.result,
        attempt: job.attempt,
        runner_id: job.runner_id.map(|id| id.to_string()),
        created_at: Some(from_timestamp(job.created_at)),
        queued_at: job.queued_at.map(from_timestamp),
        started_at: job.started_at.map(from_timestamp),
        finished_at: job.finished_at.map(from_timestamp),
        updated_at: Some(from_timestamp(job.updated_at)),
        traceparent: job.traceparent,
        note: job.note,
    }
}

fn to_progress(it: Progress) -> pb::Progress {
    pb::Progress { per_mille: it.per_mille.into(), text: it.text }
}

fn progress(it: pb::Progress) -> Progress {
    Progress { per_mille: u16::try_from(it.per_mille).unwrap_or(u16::MAX).min(1000), text: it.text }
}

pub(crate) fn job(job: Option<pb::Job>) -> Result<Job> {
    let job = required(job, "job")?;
    Ok(Job {
        id: job_id(&job.id, "id")?,
        caller_id: job.caller_id,
        context_id: job.context_id,
        circle: job.circle.map(|key| circle_key(&key, "circle")).transpose()?,
        script: job.script,
        script_type: script_type(job.script_type, "script_type")?,
        timeout_s: job.timeout_s,
        prerequisites: ids(job.prerequisites, "prerequisites")?,
        dependents: ids(job.dependents, "dependents")?,
        retries: job.retries,
        retry_backoff_ms: job.retry_backoff_ms,
        max_deliveries: job.max_deliveries,
        priority: priority(job.priority, "priority")?,
        run_at: job.run_at.map(|at| timestamp(at, "run_at")).transpose()?,
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: job.retention_s,
        status: status(job.status, "status")?,
        error_kind: job.error_kind.map(|kind| error_kind(kind, "error_kind")).transpose()?,
        error: job.error,
        output: job.output,
        progress: job.progress.map(progress),
        result: job.result,
        attempt: job.attempt,
        runner_id: job.runner_id.map(|id| runner_id(&id, "runner_id")).transpose()?,
        created_at: timestamp(required(job.created_at, "created_at")?, "created_at")?,
        queued_at: job.queued_at.map(|at| timestamp(at, "queued_at")).transpose()?,
        started_at: job.started_at.map(|at| timestamp(at, "started_at")).transpose()?,
        finished_at: job.finished_at.map(|at| timestamp(at, "finished_at")).transpose()?,
        updated_at: timestamp(required(job.updated_at, "updated_at")?, "updated_at")?,
        traceparent: job.traceparent,
        note: job.note,
    })
}

pub(crate) fn to_list_request(filter: JobFilter) -> pb::ListJobsRequest {
    pb::ListJobsRequest {
        page_size: filter.limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        page_token: filter.cursor.map(|id| id.to_string()),
        filter: Some(to_filter(filter)),
    }
}

fn to_filter(filter: JobFilter) -> pb::JobFilter {
    pb::JobFilter {
        status: filter.status.map(|value| to_status(value).into()),
        script_type: filter.script_type.map(|value| to_script_type(value).into()),
        context_id: filter.context_id,
        caller_id: filter.caller_id,
        created_after: filter.created_after.map(from_timestamp),
        created_before: filter.created_before.map(from_timestamp),
        error_kind: filter.error_kind.map(|value| to_error_kind(value).into()),
    }
}

/// A filter without a cursor: what was started again is not where it was.
pub(crate) fn to_retry_request(filter: JobFilter) -> pb::RetryJobsRequest {
    let pb::ListJobsRequest { filter, page_size, .. } = to_list_request(filter);
    pb::RetryJobsRequest { filter, page_size }
}

pub(crate) fn retry_filter(request: pb::RetryJobsRequest) -> Result<JobFilter> {
    let pb::RetryJobsRequest { filter, page_size } = request;
    job_filter(pb::ListJobsRequest { filter, page_size, page_token: None })
}

pub(crate) fn retried_ids(response: pb::RetryJobsResponse) -> Result<Vec<JobId>> {
    ids(response.job_ids, "job_ids")
}

pub(crate) fn to_retried_ids(ids: Vec<JobId>) -> pb::RetryJobsResponse {
    pb::RetryJobsResponse { job_ids: to_ids(ids) }
}

pub(crate) fn retried_status(response: pb::RetryJobResponse) -> Result<JobStatus> {
    status(response.status, "status")
}

pub(crate) fn to_retried_status(value: JobStatus) -> pb::RetryJobResponse {
    pb::RetryJobResponse { status: to_status(value).into() }
}

fn to_ahead(it: Ahead) -> pb::Ahead {
    pb::Ahead { jobs: it.jobs, is_least: it.is_least }
}

fn ahead(it: pb::Ahead) -> Ahead {
    Ahead { jobs: it.jobs, is_least: it.is_least }
}

fn to_parked(it: Parked) -> pb::Parked {
    let Parked { context_id, running, limit, ahead } = it;
    pb::Parked { context_id, running, limit, ahead: Some(to_ahead(ahead)) }
}

fn parked(it: pb::Parked) -> Parked {
    let pb::Parked { context_id, running, limit, ahead: first } = it;
    Parked { context_id, running, limit, ahead: ahead(first.unwrap_or_default()) }
}

pub(crate) fn to_explanation(it: Explanation) -> pb::ExplainJobResponse {
    let serving = |Serving { runners, draining, slots, busy }| pb::Serving { runners, draining, slots, busy };
    pb::ExplainJobResponse {
        reasons: it.reasons(),
        job_id: it.job_id.to_string(),
        status: to_status(it.status).into(),
        script_type: to_script_type(it.script_type).into(),
        is_started: it.is_started,
        pending: it.pending,
        prerequisites: to_ids(it.prerequisites),
        not_before: it.not_before.map(from_timestamp),
        ahead: it.ahead.map(to_ahead),
        parked: it.parked.map(to_parked),
        serving: it.serving.map(serving),
        runner_id: it.runner_id.map(|id| id.to_string()),
        lease_until: it.lease_until.map(from_timestamp),
        attempt: it.attempt,
        error_kind: it.error_kind.map(|kind| to_error_kind(kind).into()),
        context_bytes: it.context_bytes.map(|ContextBytes { bytes, most }| pb::ContextBytes { bytes, most }),
    }
}

/// The words stay behind: they follow from the data.
pub(crate) fn explanation(it: pb::ExplainJobResponse) -> Result<Explanation> {
    let serving = |pb::Serving { runners, draining, slots, busy }| Serving { runners, draining, slots, busy };
    Ok(Explanation {
        job_id: job_id(&it.job_id, "job_id")?,
        status: status(it.status, "status")?,
        script_type: script_type(it.script_type, "script_type")?,
        is_started: it.is_started,
        pending: it.pending,
        prerequisites: ids(it.prerequisites, "prerequisites")?,
        not_before: it.not_before.map(|at| timestamp(at, "not_before")).transpose()?,
        ahead: it.ahead.map(ahead),
        parked: it.parked.map(parked),
        serving: it.serving.map(serving),
        runner_id: it.runner_id.map(|id| runner_id(&id, "runner_id")).transpose()?,
        lease_until: it.lease_until.map(|at| timestamp(at, "lease_until")).transpose()?,
        attempt: it.attempt,
        error_kind: it.error_kind.map(|kind| error_kind(kind, "error_kind")).transpose()?,
        context_bytes: it.context_bytes.map(|pb::ContextBytes { bytes, most }| ContextBytes { bytes, most }),
    })
}

pub(crate) fn job_filter(request: pb::ListJobsRequest) -> Result<JobFilter> {
    let filter = request.filter.unwrap_or_default();
    Ok(JobFilter {
        status: filter.status.map(|value| status(value, "status")).transpose()?,
        script_type: filter.script_type.map(|value| script_type(value, "script_type")).transpose()?,
        context_id: filter.context_id,
        caller_id: filter.caller_id,
        created_after: filter.created_after.map(|at| timestamp(at, "created_after")).transpose()?,
        created_before: filter.created_before.map(|at| timestamp(at, "created_before")).transpose()?,
        error_kind: filter.error_kind.map(|value| error_kind(value, "error_kind")).transpose()?,
        limit: request.page_size.map(|size| size as usize),
        cursor: request.page_token.map(|token| cursor(&token)).transpose()?,
    })
}

/// A cursor has the form of a job id; what has another form cannot have come from a page.
fn cursor(token: &str) -> Result<JobId> {
    token.parse().map_err(|_| {
        ApiError::new(Reason::CursorUnknown, "the cursor is not one that a page has returned")
            .with_field("cursor")
    })
}

pub(crate) fn to_job_page(page: JobPage) -> pb::ListJobsResponse {
    pb::ListJobsResponse {
        job_ids: to_ids(page.ids),
        next_page_token: page.next_cursor.map(|id| id.to_string()),
    }
}

pub(crate) fn job_page(page: pb::ListJobsResponse) -> Result<JobPage> {
    Ok(JobPage {
        ids: ids(page.job_ids, "job_ids")?,
        next_cursor: page.next_page_token.map(|token| cursor(&token)).transpose()?,
    })
}

fn to_log_lines(lines: Vec<LogLine>) -> Vec<pb::LogLine> {
    let line = |line: LogLine| pb::LogLine {
        stream: to_log_stream(line.stream).into(),
        at: Some(from_timestamp(line.at)),
        text: line.text,
    };
    lines.into_iter().map(line).collect()
}

fn log_lines(lines: Vec<pb::LogLine>) -> Result<Vec<LogLine>> {
    let line = |line: pb::LogLine| {
        Ok(LogLine {
            stream: log_stream(line.stream, "stream")?,
            at: timestamp(required(line.at, "at")?, "at")?,
            text: line.text,
        })
    };
    lines.into_iter().map(line).collect()
}

pub(crate) fn to_log_page(page: LogPage) -> pb::GetJobLogsResponse {
    pb::GetJobLogsResponse { lines: to_log_lines(page.lines), next_page_token: page.next }
}

pub(crate) fn log_page(page: pb::GetJobLogsResponse) -> Result<LogPage> {
    Ok(LogPage { lines: log_lines(page.lines)?, next: page.next_page_token })
}

pub(crate) fn to_log_news(news: LogNews) -> pb::FollowJobLogsResponse {
    pb::FollowJobLogsResponse {
        lines: to_log_lines(news.lines),
        place: news.place,
        ended: news.ended.map(|value| to_status(value).into()),
    }
}

pub(crate) fn log_news(news: pb::FollowJobLogsResponse) -> Result<LogNews> {
    Ok(LogNews {
        lines: log_lines(news.lines)?,
        place: news.place,
        ended: news.ended.map(|value| status(value, "ended")).transpose()?,
    })
}

pub(crate) fn to_watch_request(watched: Watched, from: Option<String>) -> pb::WatchJobsRequest {
    let watched = match watched {
        Watched::Job(id) => pb::watch_jobs_request::Watched::JobId(id.to_string()),
        Watched::Jobs(filter) => pb::watch_jobs_request::Watched::Filter(to_filter(filter)),
    };
    pb::WatchJobsRequest { watched: Some(watched), from }
}

pub(crate) fn watched(watched: Option<pb::watch_jobs_request::Watched>) -> Result<Watched> {
    match required(watched, "watched")? {
        pb::watch_jobs_request::Watched::JobId(id) => job_id(&id, "job_id").map(Watched::Job),
        pb::watch_jobs_request::Watched::Filter(filter) => {
            let request = pb::ListJobsRequest { filter: Some(filter), page_size: None, page_token: None };
            job_filter(request).map(Watched::Jobs)
        }
    }
}

pub(crate) fn to_job_change(change: JobChange) -> pb::WatchJobsResponse {
    let digest = |job: JobDigest| pb::JobDigest {
        status: to_status(job.status).into(),
        script_type: to_script_type(job.script_type).into(),
        context_id: job.context_id,
        caller_id: job.caller_id,
        created_at: Some(from_timestamp(job.created_at)),
        attempt: job.attempt,
        runner_id: job.runner_id.map(|id| id.to_string()),
        progress: job.progress.map(to_progress),
        error_kind: job.error_kind.map(|kind| to_error_kind(kind).into()),
        error: job.error,
    };
    let change = pb::JobChange {
        event_id: change.event_id,
        kind: change.kind.map_or(pb::JobEventKind::Unspecified, to_event_kind).into(),
        job_id: change.job_id.to_string(),
        job: change.job.map(digest),
    };
    pb::WatchJobsResponse { change: Some(change) }
}

pub(crate) fn job_change(response: pb::WatchJobsResponse) -> Result<JobChange> {
    let change = required(response.change, "change")?;
    let digest = |job: pb::JobDigest| {
        Ok::<_, ApiError>(JobDigest {
            status: status(job.status, "status")?,
            script_type: script_type(job.script_type, "script_type")?,
            context_id: job.context_id,
            caller_id: job.caller_id,
            created_at: timestamp(required(job.created_at, "created_at")?, "created_at")?,
            attempt: job.attempt,
            runner_id: job.runner_id.map(|id| runner_id(&id, "runner_id")).transpose()?,
            progress: job.progress.map(progress),
            error_kind: job.error_kind.map(|kind| error_kind(kind, "error_kind")).transpose()?,
            error: job.error,
        })
    };
    let kind = (change.kind != pb::JobEventKind::Unspecified as i32).then_some(change.kind);
    Ok(JobChange {
        event_id: change.event_id,
        kind: kind.map(|kind| event_kind(kind, "kind")).transpose()?,
        job_id: job_id(&change.job_id, "job_id")?,
        job: change.job.map(digest).transpose()?,
    })
}

pub(crate) fn job_ids(response: pb::SubmitJobsResponse) -> Result<Vec<JobId>> {
    ids(response.job_ids, "job_ids")
}

pub(crate) fn to_job_ids(ids: Vec<JobId>) -> pb::SubmitJobsResponse {
    pb::SubmitJobsResponse { job_ids: to_ids(ids) }
}

pub(crate) fn job_status(response: pb::GetJobStatusResponse) -> Result<JobStatus> {
    status(response.status, "status")
}

pub(crate) fn to_job_status(value: JobStatus) -> pb::GetJobStatusResponse {
    pb::GetJobStatusResponse { status: to_status(value).into() }
}

#[cfg(test)]
mod tests;
