//! Changes of state as they are announced.

use crate::JobId;

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
