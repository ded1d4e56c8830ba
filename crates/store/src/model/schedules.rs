//! Schedules.

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Overlap, Schedule, ScheduleId, Timestamp};

use super::{Model, state::State};
use crate::{
    Error,
    api::{Confine, DueSchedules, Fired, Firing, Result, ScheduleLimits, ScheduleStore},
};

/// The pause before a time that waits for the end of the job before is looked at again.
const WAIT_MS: i64 = 1_000;

impl State {
    fn create_schedule(&mut self, schedule: &Schedule, limits: ScheduleLimits) -> Result<()> {
        if self.schedules.contains_key(&schedule.id) {
            return Err(Error::ScheduleExists(schedule.id));
        }
        let context = &schedule.job.context_id;
        let in_context = self.schedules.values().filter(|(it, _)| it.job.context_id == *context).count();
        for (count, most) in [(in_context, limits.per_context), (self.schedules.len(), limits.in_all)] {
            if count as u64 >= most {
                return Err(Error::TooManySchedules { most });
            }
        }
        let schedule = Schedule { created_at: self.now, ..schedule.clone() };
        let next = schedule.next_due;
        self.schedules.insert(schedule.id, (schedule, next));
        Ok(())
    }

    fn schedule(&self, id: ScheduleId, confine: Confine<'_>) -> Result<Schedule> {
        let found = self.schedules.get(&id).map(|(schedule, _)| schedule);
        let found = found.filter(|it| confine.is_none_or(|only| only == it.job.context_id));
        found.cloned().ok_or(Error::ScheduleNotFound(id))
    }

    fn pause_schedule(
        &mut self,
        id: ScheduleId,
        confine: Confine<'_>,
        next: Option<Option<Timestamp>>,
    ) -> Result<()> {
        let is_paused = self.schedule(id, confine)?.is_paused;
        if let Some((schedule, look)) = self.schedules.get_mut(&id).filter(|_| is_paused != next.is_none()) {
            schedule.is_paused = next.is_none();
            schedule.next_due = next.flatten();
            *look = schedule.next_due;
        }
        Ok(())
    }

    fn due_schedules(&self) -> DueSchedules {
        let looks = self.schedules.values().filter_map(|(schedule, look)| Some(((*look)?, schedule)));
        let mut looks: Vec<(Timestamp, &Schedule)> = looks.collect();
        looks.sort_by_key(|(look, schedule)| (*look, schedule.id));
        let is_due = |(look, _): &&(Timestamp, &Schedule)| *look <= self.now;
        DueSchedules {
            now: self.now,
            schedules: looks.iter().take_while(is_due).map(|(_, schedule)| (*schedule).clone()).collect(),
            next_look: looks.iter().find(|it| !is_due(it)).map(|(look, _)| *look),
        }
    }

    fn fire(&mut self, id: ScheduleId, firing: &Firing) -> Fired {
        let Some((schedule, _)) = self.schedules.get(&id) else { return Fired::Overtaken };
        let new = firing.due.map(|due| id.job_due_at(due));
        if schedule.next_due != Some(firing.expected) || new.is_some_and(|new| self.jobs.contains_key(&new)) {
            return Fired::Overtaken;
        }
        let (overlap, job) = (schedule.overlap, schedule.job.clone());
        let last = schedule.last_job;
        let Some((due, new)) = firing.due.zip(new) else {
            self.go_on(id, firing);
            return Fired::LeftOut;
        };
        let status = last.and_then(|last| Some((last, self.jobs.get(&last)?.job.status)));
        match (status.filter(|(_, status)| !status.is_ended()), overlap) {
            (Some(_), Overlap::Queue) => {
                let look = Timestamp::from_millis(self.now.as_millis() + WAIT_MS);
                self.schedules.entry(id).and_modify(|it| it.1 = Some(look));
                return Fired::Waits;
            }
            (Some(_), Overlap::Skip) => {
                self.go_on(id, firing);
                self.schedules.entry(id).and_modify(|it| it.0.skipped += 1);
                return Fired::LeftOut;
            }
            (Some((last, status)), Overlap::Replace) => self.replace(last, status),
            (None, _) => {}
        }
        self.go_on(id, firing);
        self.schedules.entry(id).and_modify(|(schedule, _)| {
            schedule.last_due = Some(due);
            schedule.last_job = Some(new);
            schedule.started += 1;
        });
        self.create(&[NewJob { id: Some(new), ..job }], true).expect("nothing is in the way of a new id");
        Fired::Started(new)
    }

    fn replace(&mut self, last: JobId, status: JobStatus) {
        if status == JobStatus::Started {
            self.stop(last, None).expect("it was looked up");
        } else {
            self.end_failed(last, ErrorKind::Stopped, "its schedule started the next one".to_owned(), None);
        }
    }

    fn go_on(&mut self, id: ScheduleId, firing: &Firing) {
        self.schedules.entry(id).and_modify(|(schedule, look)| {
            schedule.next_due = firing.next;
            *look = firing.next;
        });
    }
}

impl ScheduleStore for Model {
    async fn create_schedule(&self, schedule: &Schedule, limits: ScheduleLimits) -> Result<()> {
        self.lock().create_schedule(schedule, limits)
    }

    async fn schedule(&self, id: ScheduleId, confine: Confine<'_>) -> Result<Schedule> {
        self.lock().schedule(id, confine)
    }

    async fn schedules(&self, confine: Confine<'_>) -> Result<Vec<Schedule>> {
        let state = self.lock();
        let all = state.schedules.values().map(|(schedule, _)| schedule.clone());
        Ok(all.filter(|it| confine.is_none_or(|only| only == it.job.context_id)).collect())
    }

    async fn pause_schedule(
        &self,
        id: ScheduleId,
        confine: Confine<'_>,
        next: Option<Option<Timestamp>>,
    ) -> Result<()> {
        self.lock().pause_schedule(id, confine, next)
    }

    async fn delete_schedule(&self, id: ScheduleId, confine: Confine<'_>) -> Result<()> {
        let mut state = self.lock();
        state.schedule(id, confine)?;
        state.schedules.remove(&id);
        Ok(())
    }

    async fn due_schedules(&self) -> Result<DueSchedules> {
        Ok(self.lock().due_schedules())
    }

    async fn fire(&self, schedule: &Schedule, firing: &Firing) -> Result<Fired> {
        Ok(self.lock().fire(schedule.id, firing))
    }
}
