//! The port of schedules over the store. The clock's part of it, which starts jobs, is in [`clock`].

pub(crate) mod clock;
mod times;

use std::sync::Arc;

use hero_domain::{
    Caller, Circle, JobId, JobLimits, NewJob, NewSchedule, Result, Schedule, ScheduleId, Scope, Timestamp,
    ports::Schedules,
};
use hero_store::{JobStore as _, ScheduleLimits, ScheduleStore as _, Store};

use self::times::Times;
use crate::{
    circles::Directory,
    config::SchedulesConfig,
    jobs::{admit, confine},
    readiness::Gate,
};

/// The schedules of this node.
pub(crate) struct StoredSchedules {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) circles: Directory,
    pub(crate) limits: Arc<JobLimits>,
    pub(crate) config: SchedulesConfig,
}

impl StoredSchedules {
    async fn enter(&self, caller: &Caller) -> Result<Option<Arc<Circle>>> {
        caller.require(Scope::User)?;
        self.gate.check()?;
        self.circles.check(caller).await
    }

    /// The same schedule with its next times.
    async fn shown(&self, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
        Ok(with_times(self.store.schedule(id, confine(caller)).await?))
    }
}

/// Adds the times that a schedule will start jobs at.
fn with_times(mut schedule: Schedule) -> Schedule {
    // One that was kept was checked before; should it not be read any more, it has no times to show.
    if let (Some(next), Ok(times)) = (schedule.next_due, Times::read(&schedule.cron, &schedule.time_zone)) {
        let following = std::iter::successors(Some(next), |at| times.after(*at));
        schedule.next_times = following.take(JobLimits::SHOWN_TIMES).collect();
    }
    schedule
}

impl Schedules for StoredSchedules {
    async fn create(&self, caller: &Caller, mut new: NewSchedule) -> Result<Schedule> {
        let circle = self.enter(caller).await?;
        admit(&self.limits, circle.as_deref(), caller, &mut new.job).map_err(|error| {
            let field = format!("job.{}", error.field().unwrap_or_default());
            error.with_field(field)
        })?;
        // Each of its jobs begins a trace of its own.
        new.job.traceparent = None;
        new.validate(&self.limits)?;
        let times = Times::read(&new.cron, &new.time_zone)?;
        let now = self.store.time().await?;
        let schedule = Schedule {
            id: new.id.unwrap_or_else(ScheduleId::mint),
            next_due: Some(times.first_after(now)?),
            cron: new.cron,
            time_zone: new.time_zone,
            overlap: new.overlap,
            catch_up: new.catch_up,
            job: new.job,
            is_paused: false,
            created_at: now,
            next_times: Vec::new(),
            last_due: None,
            last_job: None,
            started: 0,
            skipped: 0,
        };
        let limits =
            ScheduleLimits { per_context: self.config.max_per_context, in_all: self.config.max_schedules };
        self.store.create_schedule(&schedule, limits).await?;
        Ok(with_times(schedule))
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Schedule>> {
        self.enter(caller).await?;
        Ok(self.store.schedules(confine(caller)).await?.into_iter().map(with_times).collect())
    }

    async fn get(&self, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
        self.enter(caller).await?;
        self.shown(caller, id).await
    }

    async fn pause(&self, caller: &Caller, id: ScheduleId, paused: bool) -> Result<Schedule> {
        self.enter(caller).await?;
        let next = if paused { None } else { Some(self.next_from_now(caller, id).await?) };
        self.store.pause_schedule(id, confine(caller), next).await?;
        self.shown(caller, id).await
    }

    async fn run(&self, caller: &Caller, id: ScheduleId) -> Result<JobId> {
        self.enter(caller).await?;
        let schedule = self.store.schedule(id, confine(caller)).await?;
        let job = NewJob { id: Some(JobId::mint()), ..schedule.job };
        let created = self.store.create(&[job], true).await?;
        let created = created.first().map(|created| created.id);
        created.ok_or_else(|| hero_domain::ApiError::internal("the store created nothing"))
    }

    async fn delete(&self, caller: &Caller, id: ScheduleId) -> Result<()> {
        self.enter(caller).await?;
        Ok(self.store.delete_schedule(id, confine(caller)).await?)
    }
}

impl StoredSchedules {
    async fn next_from_now(&self, caller: &Caller, id: ScheduleId) -> Result<Option<Timestamp>> {
        let schedule = self.store.schedule(id, confine(caller)).await?;
        let times = Times::read(&schedule.cron, &schedule.time_zone)?;
        Ok(times.after(self.store.time().await?))
    }
}
