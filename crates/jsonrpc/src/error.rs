//! How a failure is told in JSON-RPC: one table of codes, one shape of `data`.

use hero_domain::{ApiError, ErrorCode, ErrorKind, Job, JobId, JobStatus};
use jsonrpsee::types::{ErrorObjectOwned, error::METHOD_NOT_FOUND_CODE};
use serde::Serialize;

/// The code of a call whose job ended without success: the call worked, the script did not.
pub const SCRIPT_FAILED: i32 = -32050;

/// The JSON-RPC code of each of ours.
#[must_use]
pub const fn code_of(code: ErrorCode) -> i32 {
    match code {
        ErrorCode::InvalidArgument => -32602,
        ErrorCode::Unauthenticated => -32030,
        ErrorCode::PermissionDenied => -32031,
        ErrorCode::NotFound => -32020,
        ErrorCode::AlreadyExists => -32021,
        ErrorCode::Conflict => -32022,
        ErrorCode::Exhausted => -32040,
        ErrorCode::Unavailable => -32041,
        ErrorCode::Timeout => -32002,
        ErrorCode::Internal => -32603,
    }
}

/// The HTTP status of each of our codes, for a request that is refused before any call is made. The answer
/// to a call, error or not, is always 200: clients read no body beside another status.
#[must_use]
pub const fn http_status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::InvalidArgument => 400,
        ErrorCode::Unauthenticated => 401,
        ErrorCode::PermissionDenied => 403,
        ErrorCode::NotFound => 404,
        ErrorCode::AlreadyExists | ErrorCode::Conflict => 409,
        ErrorCode::Exhausted => 429,
        ErrorCode::Unavailable => 503,
        ErrorCode::Timeout => 504,
        ErrorCode::Internal => 500,
    }
}

/// What stands in `data` of an error.
#[derive(Serialize)]
struct Data<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

/// What stands in `data` when a script failed.
#[derive(Serialize)]
struct ScriptData<'a> {
    reason: &'static str,
    job_id: JobId,
    error_kind: ErrorKind,
    error: &'a str,
    output: Option<&'a str>,
}

/// The error object of a failure at a port.
#[must_use]
pub fn error_object(error: &ApiError, trace_id: Option<&str>) -> ErrorObjectOwned {
    let data = Data {
        reason: error.reason().as_str(),
        field: error.field(),
        job_id: error.job_id(),
        retry_after_ms: error.retry_after_ms(),
        trace_id,
    };
    ErrorObjectOwned::owned(code_of(error.code()), error.to_string(), Some(data))
}

pub(crate) fn method_not_found(name: &str) -> ErrorObjectOwned {
    let name: String = name.chars().take(80).collect();
    let data = Data {
        reason: "METHOD_NOT_FOUND",
        field: Some("method"),
        job_id: None,
        retry_after_ms: None,
        trace_id: None,
    };
    ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, format!("there is no method `{name}`"), Some(data))
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call failed.
    Call(ApiError),
    /// The call failed on another node, with these words of its own.
    Remote(ErrorObjectOwned),
    /// The call worked, and says that the job ended without success.
    Script(Box<Job>),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Call(error)
    }
}

/// The output of a job that has ended.
pub(crate) fn output_of(job: Job) -> Result<String, Failure> {
    match job.status {
        JobStatus::Finished => Ok(job.output.unwrap_or_default()),
        _ => Err(Failure::Script(Box::new(job))),
    }
}

pub(crate) fn script_failed(job: &Job) -> ErrorObjectOwned {
    let kind = job.error_kind.unwrap_or(ErrorKind::ScriptFailed);
    let error = job.error.as_deref().unwrap_or_default();
    let data = ScriptData {
        reason: "SCRIPT_FAILED",
        job_id: job.id,
        error_kind: kind,
        error,
        output: job.output.as_deref(),
    };
    let first_line = error.lines().next().unwrap_or_default();
    let message = match (kind, first_line) {
        (ErrorKind::ScriptFailed, "") => "the script failed".to_owned(),
        (ErrorKind::ScriptFailed, line) => format!("the script failed: {line}"),
        (kind, "") => format!("the job ended as {kind}"),
        (kind, line) => format!("the job ended as {kind}: {line}"),
    };
    ErrorObjectOwned::owned(SCRIPT_FAILED, message, Some(data))
}

#[cfg(test)]
mod tests {
    use hero_domain::{ApiError, ErrorCode, JobId, Reason};

    use super::{code_of, error_object, http_status};

    #[test]
    fn the_table_is_that_of_the_architecture() {
        let table = [
            (ErrorCode::InvalidArgument, -32602, 400),
            (ErrorCode::Unauthenticated, -32030, 401),
            (ErrorCode::PermissionDenied, -32031, 403),
            (ErrorCode::NotFound, -32020, 404),
            (ErrorCode::AlreadyExists, -32021, 409),
            (ErrorCode::Conflict, -32022, 409),
            (ErrorCode::Exhausted, -32040, 429),
            (ErrorCode::Unavailable, -32041, 503),
            (ErrorCode::Timeout, -32002, 504),
            (ErrorCode::Internal, -32603, 500),
        ];
        assert_eq!(table.map(|row| row.0), ErrorCode::ALL);
        for (code, rpc, http) in table {
            assert_eq!((code_of(code), http_status(code)), (rpc, http), "{code:?}");
        }
    }

    #[test]
    fn data_has_what_is_known_and_nothing_else() {
        let id = JobId::mint();
        let error = ApiError::new(Reason::TooManyRequests, "slow down")
            .with_field("jobs")
            .with_job(id)
            .with_retry_after_ms(250)
            .with_source("redis://:hunter2@localhost");
        let text = serde_json::to_string(&error_object(&error, Some("4bf9"))).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["data"],
            serde_json::json!({
                "reason": "TOO_MANY_REQUESTS", "field": "jobs", "job_id": id.to_string(),
                "retry_after_ms": 250, "trace_id": "4bf9",
            })
        );
        let bare = error_object(&ApiError::new(Reason::JobNotFound, "none"), None);
        assert_eq!(bare.data().unwrap().get(), r#"{"reason":"JOB_NOT_FOUND"}"#);
    }
}
