//! One taxonomy of failures: ten codes that say what a caller does next, and a closed set of reasons.

use std::{error::Error as StdError, fmt};

use crate::JobId;

/// The result of a port.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// What a caller does about a failure. The tables to gRPC and JSON-RPC are `hero-proto`'s and
/// `hero-jsonrpc`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Fix the call.
    InvalidArgument,
    /// Authenticate.
    Unauthenticated,
    /// Stop: this key may not do that.
    PermissionDenied,
    /// Stop: it does not exist.
    NotFound,
    /// Treat as done, or rename.
    AlreadyExists,
    /// Read the state again: the change is not possible from here.
    Conflict,
    /// Slow down: a limit of ours.
    Exhausted,
    /// Retry with backoff: a peer or Redis is away.
    Unavailable,
    /// Know that the job may still run.
    Timeout,
    /// Report the trace id.
    Internal,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Exhausted,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
    ];
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $code:ident,)*) => {
        /// Why a call failed: a closed set of stable names, each with a page under `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable upper-case name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The code that this reason belongs to.
            #[must_use]
            pub const fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)* }
            }

            /// The reason of a stable name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// A parameter is missing, of the wrong type or out of range.
    InvalidParams = "INVALID_PARAMS" => InvalidArgument,
    /// A member that the method does not know.
    UnknownField = "UNKNOWN_FIELD" => InvalidArgument,
    /// An id that is not of its form.
    IdMalformed = "ID_MALFORMED" => InvalidArgument,
    /// A script type that does not exist.
    ScriptTypeUnknown = "SCRIPT_TYPE_UNKNOWN" => InvalidArgument,
    /// A script without text.
    ScriptEmpty = "SCRIPT_EMPTY" => InvalidArgument,
    /// A script over the limit.
    ScriptTooLarge = "SCRIPT_TOO_LARGE" => InvalidArgument,
    /// Environment variables over the limit, or with a malformed name.
    EnvInvalid = "ENV_INVALID" => InvalidArgument,
    /// More prerequisites than a job may have.
    TooManyPrerequisites = "TOO_MANY_PREREQUISITES" => InvalidArgument,
    /// A prerequisite that does not exist, or that the caller may not see.
    PrerequisiteNotFound = "PREREQUISITE_NOT_FOUND" => InvalidArgument,
    /// More members in a batch than one call may have.
    BatchTooLarge = "BATCH_TOO_LARGE" => InvalidArgument,
    /// A request over the limit of the way that it came.
    RequestTooLarge = "REQUEST_TOO_LARGE" => InvalidArgument,
    /// A page cursor that leads nowhere.
    CursorUnknown = "CURSOR_UNKNOWN" => InvalidArgument,
    /// A heartbeat that claims to come from the future, or from long ago.
    HeartbeatOutOfTime = "HEARTBEAT_OUT_OF_TIME" => InvalidArgument,
    /// A cron expression that does not parse, or that never comes true.
    CronInvalid = "CRON_INVALID" => InvalidArgument,
    /// A time zone that the IANA database does not have.
    TimeZoneUnknown = "TIME_ZONE_UNKNOWN" => InvalidArgument,
    /// Only a circle has this, and the call was made at the root.
    CircleRequired = "CIRCLE_REQUIRED" => InvalidArgument,
    /// No key, or a key that nobody knows.
    AuthenticationRequired = "AUTHENTICATION_REQUIRED" => Unauthenticated,
    /// A heartbeat without a signature, or with a wrong one.
    HeartbeatUnsigned = "HEARTBEAT_UNSIGNED" => Unauthenticated,
    /// A heartbeat with another key than the one that belongs to the node's id.
    NodeIdTaken = "NODE_ID_TAKEN" => PermissionDenied,
    /// A node that an admin has banned.
    NodeBanned = "NODE_BANNED" => PermissionDenied,
    /// A method that is not passed on to nodes.
    MethodNotPassedOn = "METHOD_NOT_PASSED_ON" => PermissionDenied,
    /// A key that may not do this.
    ScopeInsufficient = "SCOPE_INSUFFICIENT" => PermissionDenied,
    /// No such job, or none that the caller may see.
    JobNotFound = "JOB_NOT_FOUND" => NotFound,
    /// No such runner.
    RunnerNotFound = "RUNNER_NOT_FOUND" => NotFound,
    /// No such schedule, or none that the caller may see.
    ScheduleNotFound = "SCHEDULE_NOT_FOUND" => NotFound,
    /// No such circle is served here.
    CircleUnknown = "CIRCLE_UNKNOWN" => NotFound,
    /// No API key of this name.
    KeyNotFound = "KEY_NOT_FOUND" => NotFound,
    /// An API key of this name exists already.
    KeyExists = "KEY_EXISTS" => AlreadyExists,
    /// No such node, or none that fits.
    NodeNotFound = "NODE_NOT_FOUND" => NotFound,
    /// A job of this id exists already.
    JobExists = "JOB_EXISTS" => AlreadyExists,
    /// A schedule of this id exists already.
    ScheduleExists = "SCHEDULE_EXISTS" => AlreadyExists,
    /// The job was started before.
    JobAlreadyStarted = "JOB_ALREADY_STARTED" => Conflict,
    /// The job has not ended in error, so there is nothing to try again.
    JobNotFailed = "JOB_NOT_FAILED" => Conflict,
    /// The job has no output yet.
    JobHasNoOutput = "JOB_HAS_NO_OUTPUT" => Conflict,
    /// A heartbeat that is not newer than the last one.
    HeartbeatReplayed = "HEARTBEAT_REPLAYED" => Conflict,
    /// A late report of an attempt that another one has replaced.
    AttemptStale = "ATTEMPT_STALE" => Conflict,
    /// Another process has signed in with this runner's id.
    RunnerReplaced = "RUNNER_REPLACED" => Conflict,
    /// The runner's lease runs, so it cannot be removed.
    RunnerAlive = "RUNNER_ALIVE" => Conflict,
    /// The circle comes from the configuration, so it cannot be removed at run time.
    CircleConfigured = "CIRCLE_CONFIGURED" => Conflict,
    /// More circles than a node may serve.
    TooManyCircles = "TOO_MANY_CIRCLES" => Exhausted,
    /// More API keys than a node may have.
    TooManyKeys = "TOO_MANY_KEYS" => Exhausted,
    /// Too many calls, connections or waits at once.
    TooManyRequests = "TOO_MANY_REQUESTS" => Exhausted,
    /// More schedules than a context, or the node, may have.
    TooManySchedules = "TOO_MANY_SCHEDULES" => Exhausted,
    /// A result over the limit of one response.
    ResponseTooLarge = "RESPONSE_TOO_LARGE" => Exhausted,
    /// A context keeps as many bytes as it may.
    ContextFull = "CONTEXT_FULL" => Exhausted,
    /// Redis has reached its memory limit.
    StoreFull = "STORE_FULL" => Exhausted,
    /// Redis does not answer.
    StoreUnavailable = "STORE_UNAVAILABLE" => Unavailable,
    /// Redis answers, but is not fit to keep jobs (version, eviction policy, a replica).
    StoreUnfit = "STORE_UNFIT" => Unavailable,
    /// Another service does not answer.
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE" => Unavailable,
    /// The node cannot be reached, or answers garbage.
    NodeUnavailable = "NODE_UNAVAILABLE" => Unavailable,
    /// The service is shutting down.
    ShuttingDown = "SHUTTING_DOWN" => Unavailable,
    /// The wait is over before the job ended.
    WaitTimeout = "WAIT_TIMEOUT" => Timeout,
    /// The node did not answer in time; the call may still take effect there.
    NodeTimeout = "NODE_TIMEOUT" => Timeout,
    /// Another service did not answer in time.
    DeadlineExceeded = "DEADLINE_EXCEEDED" => Timeout,
    /// A fault of ours.
    Internal = "INTERNAL" => Internal,
}

/// A failure at a port: a [`Reason`] (and with it a code), words for the caller, and a source for our log.
///
/// `Display` is the public message only; the source never reaches a stranger.
pub struct ApiError(Box<Inner>);

struct Inner {
    reason: Reason,
    message: String,
    field: Option<String>,
    job_id: Option<JobId>,
    retry_after_ms: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// A failure with words that the caller may read: what happened, why, and what to do.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            field: None,
            job_id: None,
            retry_after_ms: None,
            source: None,
        }))
    }

    /// A fault of ours; the caller learns nothing but that it was one.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "internal error; please report the trace id").with_source(source)
    }

    /// No job of this id, or none that the caller may see.
    #[must_use]
    pub fn job_not_found(id: JobId) -> Self {
        Self::new(Reason::JobNotFound, format!("there is no job {id}")).with_job(id)
    }

    /// Names the parameter that is at fault, as a path such as `jobs[3].script`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the job that the failure is about.
    #[must_use]
    pub fn with_job(mut self, id: JobId) -> Self {
        self.0.job_id = Some(id);
        self
    }

    /// Says when a repeat makes sense.
    #[must_use]
    pub fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.0.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// Keeps the cause for our own log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller does about it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.reason.code()
    }

    /// Why it failed.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The public words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The parameter at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The job that it is about.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.0.job_id
    }

    /// When a repeat makes sense, in milliseconds from now.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.0.retry_after_ms
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.field {
            Some(field) => write!(f, "{field}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("field", &self.0.field)
            .field("job_id", &self.0.job_id)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, ErrorCode, Reason};

    #[test]
    fn every_reason_is_found_by_its_name_and_every_code_has_one() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(*reason));
        }
        for code in ErrorCode::ALL {
            assert!(Reason::ALL.iter().any(|reason| reason.code() == code), "{code:?}");
        }
    }

    #[test]
    fn the_source_stays_out_of_the_public_words() {
        let error = ApiError::internal("password=hunter2");
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "password=hunter2");
    }
}
