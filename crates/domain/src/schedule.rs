//! Jobs that are started by the clock.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{ApiError, IdError, JobId, JobLimits, NewJob, Reason, Result, Timestamp, job::named};

/// A schedule's id: a UUID, minted as version 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleId(Uuid);

impl ScheduleId {
    /// A new version 7 id.
    #[must_use]
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the job that is started for the time `due`: always the same one, so that a time that is
    /// worked on twice has one job.
    #[must_use]
    pub fn job_due_at(&self, due: Timestamp) -> JobId {
        let mut bytes = *self.0.as_bytes();
        // The time comes first, as in a version 7 id; what the schedule's own id has behind its time stays.
        bytes[..6].copy_from_slice(&due.as_millis().to_be_bytes()[2..]);
        JobId::from(Uuid::new_v8(bytes))
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ScheduleId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // One spelling, as for a job's id.
        let id = (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
        id.map(Self).ok_or_else(|| IdError::new("schedule id", text, "a UUID of 36 characters with hyphens"))
    }
}

impl Serialize for ScheduleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScheduleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

named! {
    /// What happens at a due time while the job of the one before still waits or runs.
    Overlap("overlap policy") {
        /// Nothing is started for this time.
        Skip = "skip" / "skip",
        /// It waits for that job's end.
        Queue = "queue" / "queue",
        /// That job is stopped, and the new one starts.
        Replace = "replace" / "replace",
    }
}

named! {
    /// What happens to due times that went by while nobody looked (the supervisors or Redis were away).
    CatchUp("catch-up policy") {
        /// They are left out.
        Skip = "skip" / "skip",
        /// The latest of them is made up for.
        Once = "once" / "once",
        /// Each of the latest 100 of them is made up for, the oldest first.
        All = "all" / "all",
    }
}

/// A schedule that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    /// The caller's own UUID; none: one is minted.
    pub id: Option<ScheduleId>,
    /// When: five fields (minute, hour, day of the month, month, day of the week), or six with seconds first.
    pub cron: String,
    /// The IANA name of the time zone that the expression is read in.
    pub time_zone: String,
    /// What happens while the job before still waits or runs.
    pub overlap: Overlap,
    /// What happens to times that went by.
    pub catch_up: CatchUp,
    /// The job that is started each time.
    pub job: NewJob,
}

impl NewSchedule {
    /// A schedule in UTC with every option at its default.
    pub fn new(cron: impl Into<String>, job: NewJob) -> Self {
        Self {
            id: None,
            cron: cron.into(),
            time_zone: "UTC".to_owned(),
            overlap: Overlap::Skip,
            catch_up: CatchUp::Skip,
            job,
        }
    }

    /// Checks every bound that needs neither the store nor the time zone database.
    ///
    /// # Errors
    /// InvalidArgument, naming the field.
    pub fn validate(&self, limits: &JobLimits) -> Result<()> {
        self.job.validate(limits).map_err(|error| {
            let field = format!("job.{}", error.field().unwrap_or_default());
            error.with_field(field)
        })?;
        let only_once = [
            ("job.id", self.job.id.is_some()),
            ("job.idempotency_key", self.job.idempotency_key.is_some()),
            ("job.run_at", self.job.run_at.is_some()),
            ("job.prerequisites", !self.job.prerequisites.is_empty()),
        ];
        match only_once.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(ApiError::new(
                Reason::InvalidParams,
                "makes sense for one job only, and a schedule starts many; leave it out",
            )
            .with_field(field)),
            None => Ok(()),
        }
    }
}

/// A schedule as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// When, as a cron expression.
    pub cron: String,
    /// The time zone that the expression is read in.
    pub time_zone: String,
    /// What happens while the job before still waits or runs.
    pub overlap: Overlap,
    /// What happens to times that went by.
    pub catch_up: CatchUp,
    /// The job that is started each time.
    pub job: NewJob,
    /// Whether it is paused.
    pub is_paused: bool,
    /// When it was stored.
    pub created_at: Timestamp,
    /// The time that it waits for; none: it is paused, or no time is left.
    pub next_due: Option<Timestamp>,
    /// That time and the ones after it, as far as they are shown.
    pub next_times: Vec<Timestamp>,
    /// The latest time that a job was started for.
    pub last_due: Option<Timestamp>,
    /// That job.
    pub last_job: Option<JobId>,
    /// How many jobs were started.
    pub started: u64,
    /// How many times were left out because the job before had not ended.
    pub skipped: u64,
}

#[cfg(test)]
mod tests {
    use super::{CatchUp, NewSchedule, Overlap, ScheduleId};
    use crate::{JobId, JobLimits, NewJob, ScriptType, Timestamp};

    #[test]
    fn a_due_time_has_one_job_and_each_schedule_its_own() {
        let (one, other) = (ScheduleId::mint(), ScheduleId::mint());
        let due = Timestamp::from_millis(1_795_259_160_000);
        let later = Timestamp::from_millis(1_795_259_220_000);
        assert_eq!(one.job_due_at(due), one.job_due_at(due));
        assert_ne!(one.job_due_at(due), one.job_due_at(later));
        assert_ne!(one.job_due_at(due), other.job_due_at(due));
        assert!(one.job_due_at(due) < one.job_due_at(later), "they sort by time");
        assert_eq!(one.job_due_at(due).to_string().parse(), Ok(one.job_due_at(due)));
    }

    #[test]
    fn policies_parse() {
        assert_eq!("queue".parse(), Ok(Overlap::Queue));
        assert_eq!("ALL".parse(), Ok(CatchUp::All));
        assert!("sometimes".parse::<CatchUp>().is_err());
    }

    #[test]
    fn what_makes_sense_once_is_refused() {
        let limits = JobLimits::default();
        let job = NewJob::new(ScriptType::Osis, "1");
        NewSchedule::new("* * * * *", job.clone()).validate(&limits).unwrap();
        let cases = [
            ("job.id", NewJob { id: Some(JobId::mint()), ..job.clone() }),
            ("job.idempotency_key", NewJob { idempotency_key: Some("k".into()), ..job.clone() }),
            ("job.run_at", NewJob { run_at: Some(Timestamp::from_millis(1)), ..job.clone() }),
            ("job.prerequisites", NewJob { prerequisites: vec![JobId::mint()], ..job.clone() }),
            ("job.script", NewJob { script: String::new(), ..job }),
        ];
        for (field, job) in cases {
            let error = NewSchedule::new("* * * * *", job).validate(&limits).unwrap_err();
            assert_eq!(error.field(), Some(field));
        }
    }
}
