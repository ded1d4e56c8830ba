//! Listing jobs: which ones, how many, and where the next page begins.

use crate::{ErrorKind, JobId, JobStatus, ScriptType, Timestamp};

/// Which jobs to list. An empty filter is every job that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only jobs in this state.
    pub status: Option<JobStatus>,
    /// Only jobs that ended in [`JobStatus::Error`] for this reason.
    pub error_kind: Option<ErrorKind>,
    /// Only jobs of this type.
    pub script_type: Option<ScriptType>,
    /// Only jobs of this context.
    pub context_id: Option<String>,
    /// Only jobs of this caller.
    pub caller_id: Option<String>,
    /// Only jobs created at or after this time.
    pub created_after: Option<Timestamp>,
    /// Only jobs created at or before this time.
    pub created_before: Option<Timestamp>,
    /// At most this many ids; none: the default page.
    pub limit: Option<usize>,
    /// The last id of the page before.
    pub cursor: Option<JobId>,
}

/// A page of job ids, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobPage {
    /// The ids.
    pub ids: Vec<JobId>,
    /// The cursor of the next page; none: this was the last.
    pub next_cursor: Option<JobId>,
}
