//! The named bounds of a job, with their defaults. Each is a setting of the supervisor and the runner.

use serde::{Deserialize, Serialize};

/// Bounds on what one job may bring and leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobLimits {
    /// Bytes of a script's source text.
    pub max_script_bytes: usize,
    /// Bytes of a job's output; more ends the job as output_too_large.
    pub max_output_bytes: usize,
    /// Bytes of a job's log; what comes after is dropped, and the log says so.
    pub max_log_bytes: usize,
    /// Bytes of the names and values of env_vars together.
    pub max_env_bytes: usize,
    /// Jobs that one job may wait for.
    pub max_prerequisites: usize,
    /// Jobs that one submit_jobs call may bring.
    pub max_submit_jobs: usize,
    /// Ids that one page of a list may have.
    pub max_list_page: usize,
    /// Ids of a page when the caller names no limit.
    pub default_list_page: usize,
    /// Seconds of run time when the caller names none.
    pub default_timeout_s: u32,
    /// The most seconds of run time that a caller may ask for.
    pub max_timeout_s: u32,
    /// The most extra attempts that a caller may ask for.
    pub max_retries: u32,
    /// The first pause before an extra attempt when the caller names none, in milliseconds.
    pub default_retry_backoff_ms: u64,
    /// The longest pause before an extra attempt, in milliseconds.
    pub max_retry_backoff_ms: u64,
    /// How often a runner may be lost with a job when the caller names nothing.
    pub default_max_deliveries: u32,
    /// The most deliveries that a caller may ask for.
    pub max_deliveries: u32,
    /// Seconds that an ended job is kept when the caller names none: 7 days.
    pub default_retention_s: u32,
    /// The longest retention that a caller may ask for, in seconds: a year.
    pub max_retention_s: u32,
    /// How many jobs of one context run at once, on all runners together; more are parked outside of the queues until
    /// one of them ends. 0: as many as there are slots. A circle may have a limit of its own.
    pub max_running_per_context: u32,
}

impl JobLimits {
    /// Bytes of caller_id, context_id and idempotency_key; they become parts of keys.
    pub const MAX_NAME_BYTES: usize = 256;
    /// Bytes of the words of a script's progress; what is beyond is cut.
    pub const MAX_PROGRESS_BYTES: usize = 256;
    /// Bytes of a script's structured result.
    pub const MAX_RESULT_BYTES: usize = 1 << 20;
    /// Unfinished prerequisites that an explanation names; it counts the others.
    pub const EXPLAINED_PREREQUISITES: usize = 20;
    /// How far into a queue an explanation looks for a job.
    pub const EXPLAINED_QUEUE: usize = 10_000;
    /// Next times that a schedule is shown with.
    pub const SHOWN_TIMES: usize = 5;
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            max_script_bytes: 1 << 20,
            max_output_bytes: 8 << 20,
            max_log_bytes: 16 << 20,
            max_env_bytes: 64 << 10,
            max_prerequisites: 1_000,
            max_submit_jobs: 1_000,
            max_list_page: 1_000,
            default_list_page: 100,
            default_timeout_s: 60,
            max_timeout_s: 86_400,
            max_retries: 100,
            default_retry_backoff_ms: 1_000,
            max_retry_backoff_ms: 3_600_000,
            default_max_deliveries: 3,
            max_deliveries: 100,
            default_retention_s: 7 * 86_400,
            max_retention_s: 366 * 86_400,
            max_running_per_context: 0,
        }
    }
}
