//! Changes of state as they are announced.

use std::pin::Pin;

use futures::Stream;

use crate::{ErrorKind, JobFilter, JobId, JobStatus, Progress, Result, RunnerId, ScriptType, Timestamp};

/// What happened to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEventKind {
    /// Stored, not started.
    Created,
    /// In a queue.
    Queued,
    /// Parked until its prerequisites have finished.
    Waiting,
    /// Not before a later time (run_at, retry backoff).
    Delayed,
    /// A runner holds it.
    Started,
    /// Its script said how far it is, or gave its result.
    Progress,
    /// Ended with success.
    Finished,
    /// Ended without success.
    Failed,
    /// Removed from the store.
    Deleted,
}

impl JobEventKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Queued,
        Self::Waiting,
        Self::Delayed,
        Self::Started,
        Self::Progress,
        Self::Finished,
        Self::Failed,
        Self::Deleted,
    ];

    /// The lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }

    /// The kind of a lower-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Where a job is right after this; none: it is gone.
    #[must_use]
    pub const fn status(self) -> Option<JobStatus> {
        match self {
            Self::Created | Self::Queued | Self::Delayed => Some(JobStatus::Dispatched),
            Self::Waiting => Some(JobStatus::WaitingForPrerequisites),
            Self::Started | Self::Progress => Some(JobStatus::Started),
            Self::Finished => Some(JobStatus::Finished),
            Self::Failed => Some(JobStatus::Error),
            Self::Deleted => None,
        }
    }

    /// Whether a job that this happened to will not change any more.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Deleted)
    }
}

/// One announcement: what happened, and to which jobs (one script call announces all of its jobs at once).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// Its place in the stream of events; later ones are greater.
    pub id: String,
    /// What happened.
    pub kind: JobEventKind,
    /// The jobs.
    pub jobs: Vec<JobId>,
}

/// What goes on: items until the end, a failure, or until it is dropped. A reader that is too slow for it is told
/// so (SUBSCRIPTION_LAGGED) as the last thing.
pub type Feed<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// Which jobs to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// One, from where it is until its end.
    Job(JobId),
    /// Those that fit, from now on; the filter's page does not matter.
    Jobs(JobFilter),
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// Its place among all that happens: a watch that begins from here goes on with the next change.
    pub event_id: String,
    /// What happened; none: nothing yet, this is where the job is.
    pub kind: Option<JobEventKind>,
    /// The job.
    pub job_id: JobId,
    /// What the job is like; none: it is gone.
    pub job: Option<JobDigest>,
}

impl JobChange {
    /// Whether nothing more comes of this job, unless somebody starts it again.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.kind.is_some_and(JobEventKind::is_end)
            || self.job.as_ref().is_none_or(|job| self.kind.is_none() && job.status.is_ended())
    }
}

/// What a job is like, without its large parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDigest {
    /// Where it is.
    pub status: JobStatus,
    /// The language of its script.
    pub script_type: ScriptType,
    /// Where it belongs.
    pub context_id: String,
    /// Who asked.
    pub caller_id: String,
    /// When it was stored.
    pub created_at: Timestamp,
    /// How often it was claimed.
    pub attempt: u32,
    /// Who holds it, or held it last.
    pub runner_id: Option<RunnerId>,
    /// How far its script says it is.
    pub progress: Option<Progress>,
    /// Why it failed, when it did.
    pub error_kind: Option<ErrorKind>,
    /// The failure in words.
    pub error: Option<String>,
}

impl JobDigest {
    /// Whether a job like this is meant by a filter.
    #[must_use]
    pub fn fits(&self, filter: &JobFilter) -> bool {
        filter.status.is_none_or(|status| self.status == status)
            && filter.error_kind.is_none_or(|kind| self.error_kind == Some(kind))
            && filter.script_type.is_none_or(|script_type| self.script_type == script_type)
            && filter.context_id.as_ref().is_none_or(|context_id| self.context_id == *context_id)
            && filter.caller_id.as_ref().is_none_or(|caller_id| self.caller_id == *caller_id)
            && filter.created_after.is_none_or(|after| self.created_at >= after)
            && filter.created_before.is_none_or(|before| self.created_at <= before)
    }
}
