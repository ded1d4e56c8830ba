//! What the store refuses, and how that reads at a port.

use hero_domain::{ApiError, JobId, Reason, RunnerId, ScheduleId, Timestamp};

/// A refused or failed store call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such job, or none that the caller may see.
    #[error("there is no job {0}")]
    JobNotFound(JobId),
    /// A job of this id exists already.
    #[error("job {id} exists already")]
    JobExists {
        /// Which job of the call.
        index: usize,
        /// Its id.
        id: JobId,
    },
    /// A prerequisite does not exist, or belongs to somebody else.
    #[error("prerequisite {id} does not exist")]
    PrerequisiteNotFound {
        /// Which job of the call.
        index: usize,
        /// The prerequisite's id.
        id: JobId,
    },
    /// The context keeps as much as it may, and nothing of it has ended.
    #[error("context {context} keeps {bytes} of {most} bytes")]
    ContextFull {
        /// The first job of the call that it has no room for.
        index: usize,
        /// Which context.
        context: String,
        /// What its jobs take.
        bytes: u64,
        /// What they may.
        most: u64,
    },
    /// The job was started before.
    #[error("job {0} was started before")]
    AlreadyStarted(JobId),
    /// The job has not ended in error, or those that waited for it are still being failed.
    #[error("job {0} has not ended in error")]
    JobNotFailed(JobId),
    /// No such schedule, or none that the caller may see.
    #[error("there is no schedule {0}")]
    ScheduleNotFound(ScheduleId),
    /// A schedule of this id exists already.
    #[error("schedule {0} exists already")]
    ScheduleExists(ScheduleId),
    /// The context, or the node, has as many schedules as it may have.
    #[error("there are {most} schedules already")]
    TooManySchedules {
        /// As many as may be.
        most: u64,
    },
    /// The node keeps as many circles as it may.
    #[error("there are {most} circles already")]
    TooManyCircles {
        /// As many as may be.
        most: u64,
    },
    /// The node has as many API keys as it may.
    #[error("there are {most} API keys already")]
    TooManyKeys {
        /// As many as may be.
        most: u64,
    },
    /// The runner's lease runs.
    #[error("runner {id} has a lease until {until}")]
    RunnerAlive {
        /// The runner.
        id: RunnerId,
        /// The end of its lease.
        until: Timestamp,
    },
    /// Another process has signed in with this runner's id, or its lease was over and swept.
    #[error("runner {0} is signed in by another process, or its lease is over")]
    RunnerReplaced(RunnerId),
    /// No such runner.
    #[error("there is no runner {0}")]
    RunnerNotFound(RunnerId),
    /// The cursor's job does not exist any more.
    #[error("the cursor {0} leads nowhere")]
    CursorUnknown(JobId),
    /// The place in a log is not one that a page ended with.
    #[error("`{0}` is not a place in a log")]
    LogPlaceUnknown(String),
    /// Redis does not answer.
    #[error("the job store is away")]
    Unavailable {
        /// How that was noticed.
        #[source]
        source: hero_redis::Error,
    },
    /// Redis has used up its memory.
    #[error("the job store is full")]
    Full,
    /// Redis answers, but is not fit to keep jobs.
    #[error("{0}")]
    Unfit(String),
    /// A record is not what the store writes.
    #[error("record {key} is damaged: {what}")]
    Corrupt {
        /// The key.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The address of Redis cannot be used, or a call failed in a way that must not happen.
    #[error("a call to the job store failed")]
    Redis {
        /// What Redis said.
        #[source]
        source: hero_redis::Error,
    },
}

impl From<hero_redis::Error> for Error {
    fn from(source: hero_redis::Error) -> Self {
        match source {
            hero_redis::Error::Away { .. } => Self::Unavailable { source },
            hero_redis::Error::Full { .. } => Self::Full,
            _ => Self::Redis { source },
        }
    }
}

/// How long a caller shall wait while Redis is away or full.
const RETRY_AFTER_MS: u64 = 1_000;

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let with = |reason: Reason, message: String| ApiError::new(reason, message);
        match &error {
            Error::JobNotFound(id) => ApiError::job_not_found(*id),
            Error::JobExists { index, id } => with(
                Reason::JobExists,
                format!("job {id} exists already; leave the id out to have a new one minted"),
            )
            .with_field(format!("jobs[{index}].id"))
            .with_job(*id),
            Error::PrerequisiteNotFound { index, id } => with(
                Reason::PrerequisiteNotFound,
                format!("there is no job {id}; create a prerequisite before the job that waits for it"),
            )
            .with_field(format!("jobs[{index}].prerequisites"))
            .with_job(*id),
            Error::ContextFull { context, bytes, most, .. } => with(
                Reason::ContextFull,
                format!(
                    "context {context} keeps {bytes} bytes of scripts, outputs and logs, of {most} that it may, and has \
                     no room for this; wait for its jobs to end, delete some, or have jobs.max_context_bytes raised"
                ),
            )
            .with_retry_after_ms(RETRY_AFTER_MS),
            Error::AlreadyStarted(id) => with(
                Reason::JobAlreadyStarted,
                format!("job {id} was started before; ask for its status instead"),
            )
            .with_job(*id),
            Error::JobNotFailed(id) => with(
                Reason::JobNotFailed,
                format!(
                    "job {id} has not ended in error, or jobs that waited for it are still being failed; look at \
                     its status, then repeat the call in a moment"
                ),
            )
            .with_job(*id),
            Error::ScheduleNotFound(id) => with(
                Reason::ScheduleNotFound,
                format!("there is no schedule {id}; list_schedules names those that are"),
            ),
            Error::ScheduleExists(id) => with(
                Reason::ScheduleExists,
                format!("schedule {id} exists already; leave the id out to have a new one minted"),
            )
            .with_field("id"),
            Error::TooManySchedules { most } => with(
                Reason::TooManySchedules,
                format!("there are {most} schedules already, as many as may be; delete one that is not needed"),
            ),
            Error::TooManyCircles { most } => with(
                Reason::TooManyCircles,
                format!("there are {most} circles already, as many as may be; remove one that is not needed"),
            ),
            Error::TooManyKeys { most } => with(
                Reason::TooManyKeys,
                format!("there are {most} API keys already, as many as may be; remove one that is not needed"),
            ),
            Error::RunnerAlive { id, until } => with(
                Reason::RunnerAlive,
                format!("the lease of runner {id} runs until {until}; drain it and stop its process first"),
            ),
            Error::RunnerReplaced(id) => with(
                Reason::RunnerReplaced,
                format!("another process has signed in as runner {id}, or its lease is over; sign in again"),
            ),
            Error::RunnerNotFound(id) => with(Reason::RunnerNotFound, format!("there is no runner {id}")),
            Error::CursorUnknown(id) => with(
                Reason::CursorUnknown,
                format!("job {id} is not there any more; begin again without a cursor"),
            )
            .with_field("cursor"),
            Error::LogPlaceUnknown(_) => with(
                Reason::CursorUnknown,
                "not a place that a page of this log ended with; begin again without it".to_owned(),
            )
            .with_field("from"),
            Error::Unavailable { .. } => with(
                Reason::StoreUnavailable,
                "the job store does not answer; repeat the call in a moment".to_owned(),
            )
            .with_retry_after_ms(RETRY_AFTER_MS),
            Error::Full => with(
                Reason::StoreFull,
                "the job store has used up its memory; wait for jobs to end, delete ended ones, or raise \
                 Redis' maxmemory"
                    .to_owned(),
            )
            .with_retry_after_ms(RETRY_AFTER_MS),
            Error::Unfit(why) => with(Reason::StoreUnfit, why.clone()),
            Error::Corrupt { .. } | Error::Redis { .. } => return ApiError::internal(error),
        }
        .with_source(error)
    }
}
