//! The table between [`ApiError`] and [`Status`].
//!
//! Our own failures carry `google.rpc.ErrorInfo` (domain `hero`, the reason, the job), `BadRequest` for the
//! parameter at fault and `RetryInfo` for the pause, and come out on the other end as they went in; only the
//! private source stays here, in the log. A status without our details was made by the transport.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use hero_domain::{ApiError, ErrorCode, Reason};
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "hero";
const JOB_ID: &str = "job_id";

/// Bytes of public words that travel. They are in the headers three times, and a peer refuses headers of
/// more than 16 KiB.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// The status of a failure. The source of it is logged here and goes no further.
#[must_use]
pub fn to_status(error: ApiError) -> Status {
    log(&error);
    let message = cut(error.message());
    let mut metadata = HashMap::new();
    if let Some(id) = error.job_id() {
        metadata.insert(JOB_ID.to_owned(), id.to_string());
    }
    let mut details = ErrorDetails::with_error_info(error.reason().as_str(), DOMAIN, metadata);
    if let Some(field) = error.field() {
        details.add_bad_request_violation(cut(field), message);
    }
    if let Some(pause) = error.retry_after_ms() {
        details.set_retry_info(Some(Duration::from_millis(pause)));
    }
    Status::with_error_details(code_of(error.code()), message, details)
}

/// The failure of a status.
#[must_use]
pub fn from_status(status: Status) -> ApiError {
    let details = status.get_error_details();
    let ours = details
        .error_info()
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| Some((Reason::from_name(&info.reason)?, info.metadata.get(JOB_ID))));
    let Some((reason, job_id)) = ours else { return from_transport(status) };
    let mut error = ApiError::new(reason, status.message());
    if let Some(id) = job_id.and_then(|id| id.parse().ok()) {
        error = error.with_job(id);
    }
    if let Some(violation) = details.bad_request().and_then(|bad| bad.field_violations.first()) {
        error = error.with_field(violation.field.as_str());
    }
    if let Some(pause) = details.retry_info().and_then(|retry| retry.retry_delay) {
        error = error.with_retry_after_ms(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    }
    error
}

/// A status that the transport made, on this end (then it has a source) or the other one.
fn from_transport(status: Status) -> ApiError {
    let (reason, message) = match status.code() {
        _ if is_timeout(&status) => (Reason::DeadlineExceeded, "the service did not answer in time"),
        _ if status.source().is_some() => {
            (Reason::UpstreamUnavailable, "the service cannot be reached; try again")
        }
        Code::Cancelled | Code::DeadlineExceeded => {
            (Reason::DeadlineExceeded, "the service did not answer in time")
        }
        Code::Unavailable => (Reason::UpstreamUnavailable, "the service cannot be reached; try again"),
        Code::OutOfRange => (Reason::ResponseTooLarge, "the answer is larger than one message; ask for less"),
        Code::ResourceExhausted => (Reason::TooManyRequests, "the service is at a limit; slow down"),
        Code::Unauthenticated => (Reason::AuthenticationRequired, "the service wants to know who is calling"),
        Code::PermissionDenied => (Reason::ScopeInsufficient, "the service does not allow this"),
        _ => return ApiError::internal(status),
    };
    ApiError::new(reason, message).with_source(status)
}

fn is_timeout(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

const fn code_of(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::Conflict => Code::FailedPrecondition,
        ErrorCode::Exhausted => Code::ResourceExhausted,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Timeout => Code::DeadlineExceeded,
        ErrorCode::Internal => Code::Internal,
    }
}

/// At most [`MAX_MESSAGE_BYTES`] of a text, cut between characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A fault of ours is news; that Redis is away is said by whoever holds the connection, not by every call.
fn log(error: &ApiError) {
    let source = error.source().map(tracing::field::display);
    match error.code() {
        ErrorCode::Internal => tracing::error!(reason = error.reason().as_str(), source, "call failed"),
        _ => tracing::debug!(reason = error.reason().as_str(), error = %error, source, "call refused"),
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::{ApiError, ErrorCode, JobId, Reason};
    use proptest::{option, prelude::*, sample::select};
    use tonic::{Code, Status};

    use super::{MAX_MESSAGE_BYTES, code_of, from_status, to_status};

    fn errors() -> impl Strategy<Value = ApiError> {
        let text = || proptest::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter);
        (
            select(Reason::ALL),
            text(),
            option::of(text()),
            option::of(any::<u128>()),
            option::of(0..1_u64 << 40),
        )
            .prop_map(|(reason, message, field, id, pause)| {
                let mut error = ApiError::new(reason, message);
                if let Some(field) = field {
                    error = error.with_field(field);
                }
                if let Some(bits) = id {
                    error = error.with_job(JobId::from(uuid::Uuid::from_u128(bits)));
                }
                match pause {
                    Some(pause) => error.with_retry_after_ms(pause),
                    None => error,
                }
            })
    }

    type Facts = (Reason, ErrorCode, String, Option<String>, Option<JobId>, Option<u64>);

    fn facts(error: &ApiError) -> Facts {
        (
            error.reason(),
            error.code(),
            error.message().to_owned(),
            error.field().map(str::to_owned),
            error.job_id(),
            error.retry_after_ms(),
        )
    }

    proptest! {
        #[test]
        fn an_error_survives_the_wire(error in errors()) {
            let before = facts(&error);
            let mut headers = http::HeaderMap::new();
            to_status(error).add_header(&mut headers).unwrap();
            let status = Status::from_header_map(&headers).unwrap();
            prop_assert_eq!(facts(&from_status(status)), before);
        }
    }

    #[test]
    fn every_code_has_its_own_status() {
        let mut codes: Vec<_> = ErrorCode::ALL.into_iter().map(|code| code_of(code) as i32).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn long_words_are_cut_between_characters_and_fit_into_the_headers() {
        let error = ApiError::new(Reason::InvalidParams, "ü".repeat(10_000)).with_field("é".repeat(10_000));
        let mut headers = http::HeaderMap::new();
        to_status(error).add_header(&mut headers).unwrap();
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 16 << 10, "{bytes}");
        let error = from_status(Status::from_header_map(&headers).unwrap());
        assert_eq!(error.message(), "ü".repeat(MAX_MESSAGE_BYTES / 2));
    }

    #[test]
    fn the_private_source_stays_here() {
        let status = to_status(ApiError::internal("password=hunter2"));
        assert!(!format!("{status:?}").contains("hunter2"));
    }

    #[test]
    fn a_status_of_the_transport_has_a_reason_too() {
        for (code, reason) in [
            (Code::Unavailable, Reason::UpstreamUnavailable),
            (Code::DeadlineExceeded, Reason::DeadlineExceeded),
            (Code::Cancelled, Reason::DeadlineExceeded),
            (Code::OutOfRange, Reason::ResponseTooLarge),
            (Code::ResourceExhausted, Reason::TooManyRequests),
            (Code::Unauthenticated, Reason::AuthenticationRequired),
            (Code::PermissionDenied, Reason::ScopeInsufficient),
            (Code::Unknown, Reason::Internal),
            (Code::Unimplemented, Reason::Internal),
        ] {
            let error = from_status(Status::new(code, "words of a library"));
            assert_eq!(error.reason(), reason, "{code:?}");
            assert!(!error.message().contains("library"));
        }
    }

    #[test]
    fn a_reason_of_another_domain_or_version_is_not_ours() {
        use tonic_types::{ErrorDetails, StatusExt};
        for (reason, domain) in [("JOB_NOT_FOUND", "example.org"), ("NOT_YET_INVENTED", "hero")] {
            let details = ErrorDetails::with_error_info(reason, domain, std::collections::HashMap::new());
            let status = Status::with_error_details(Code::Unavailable, "away", details);
            assert_eq!(from_status(status).reason(), Reason::UpstreamUnavailable);
        }
    }
}
