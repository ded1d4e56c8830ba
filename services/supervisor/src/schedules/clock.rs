//! Starting the jobs of schedules when they are due. Every replica does it: the store works on each time once,
//! whoever comes first.

use std::time::Duration;

use hero_domain::{CatchUp, Schedule, Timestamp};
use hero_runtime::Shutdown;
use hero_store::{DueSchedules, Fired, Firing, ScheduleStore as _, Store};
use hero_telemetry::{Attributes, metrics, names};

use super::times::Times;
use crate::{config::SchedulesConfig, readiness::Gate};

/// Missed times that are made up for at most.
const MADE_UP: usize = 100;
/// The shortest pause before the next look.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// The clock of one replica.
#[derive(Clone)]
pub(crate) struct Clock {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) config: SchedulesConfig,
}

impl Clock {
    /// Goes on until the shutdown is requested.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            let pause = tokio::select! {
                pause = self.step() => pause,
                () = shutdown.requested() => return Ok(()),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    /// One look; the pause until the next.
    async fn step(&self) -> Duration {
        let interval = Duration::from_millis(self.config.look_interval_ms);
        if self.gate.check().is_err() {
            return interval;
        }
        let due = match self.store.due_schedules().await {
            Ok(due) => due,
            Err(error) => {
                // A Redis that is away is for the upkeep to say.
                tracing::debug!(error = &error as &dyn std::error::Error, "schedules were not looked at");
                return interval;
            }
        };
        for schedule in &due.schedules {
            self.work_on(schedule, due.now).await;
        }
        pause_after(&due, interval)
    }

    async fn work_on(&self, schedule: &Schedule, now: Timestamp) {
        let firing = match Times::read(&schedule.cron, &schedule.time_zone) {
            Ok(times) => plan(schedule, &times, now, self.config.grace_ms),
            Err(error) => {
                tracing::error!(schedule_id = %schedule.id, %error, "a schedule cannot be read and is put to rest");
                schedule.next_due.map(|expected| Firing { expected, due: None, next: None })
            }
        };
        let Some(firing) = firing else { return };
        match self.store.fire(schedule, &firing).await {
            Ok(Fired::Started(job_id)) => {
                tracing::debug!(schedule_id = %schedule.id, %job_id, "started the job of a schedule");
                let script_type = schedule.job.script_type.as_key();
                metrics().messages_sent.add(1, &Attributes::new(&[(names::SCRIPT_TYPE, script_type)]));
            }
            Ok(Fired::LeftOut | Fired::Waits | Fired::Overtaken) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(schedule_id = %schedule.id, error, "a schedule was not worked on; it stays due");
            }
        }
    }
}

/// What to do now about a schedule; nothing when its time has not come. A time is missed once it is later than
/// the grace: then the catch-up policy says what becomes of it.
fn plan(schedule: &Schedule, times: &Times, now: Timestamp, grace_ms: u64) -> Option<Firing> {
    let expected = schedule.next_due.filter(|due| *due <= now)?;
    let grace_ms = i64::try_from(grace_ms).unwrap_or(i64::MAX);
    let in_time = Timestamp::from_millis(now.as_millis().saturating_sub(grace_ms));
    let due = if expected >= in_time {
        Some(expected)
    } else {
        let latest_missed = || times.before(in_time).unwrap_or(expected).max(expected);
        match schedule.catch_up {
            CatchUp::Skip => times.after(just_before(in_time)),
            CatchUp::Once => Some(latest_missed()),
            CatchUp::All => Some(first_to_make_up(times, latest_missed(), expected)),
        }
    };
    Some(match due {
        Some(due) if due <= now => Firing { expected, due: Some(due), next: times.after(due) },
        next => Firing { expected, due: None, next },
    })
}

fn just_before(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(1))
}

/// The oldest of the latest missed times, as many as are made up for.
fn first_to_make_up(times: &Times, latest: Timestamp, oldest: Timestamp) -> Timestamp {
    let back = std::iter::successors(Some(latest), |at| times.before(*at));
    back.take(MADE_UP).take_while(|at| *at >= oldest).last().unwrap_or(oldest)
}

/// Until the next look that is known of, at most the interval: others may have made a schedule meanwhile.
fn pause_after(due: &DueSchedules, interval: Duration) -> Duration {
    // The store tells both times by one clock, so it does not matter what ours says.
    let known = due.next_look.map(|at| u64::try_from(at.millis_since(due.now)).unwrap_or_default());
    let known = known.map(Duration::from_millis).unwrap_or(interval);
    // One that was due has mostly a next time that is not among those that were read.
    let most = if due.schedules.is_empty() { interval } else { SHORTEST_PAUSE };
    known.min(most).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use hero_domain::{CatchUp, NewJob, Overlap, Schedule, ScheduleId, ScriptType, Timestamp};
    use hero_store::Firing;

    use super::{MADE_UP, plan};
    use crate::schedules::times::Times;

    const MINUTE: i64 = 60_000;
    const GRACE: u64 = 60_000;

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_millis(n * MINUTE)
    }

    /// What is planned at this time for a schedule of every minute that waits for minute `due`.
    fn planned(catch_up: CatchUp, due: i64, now_ms: i64) -> Option<Firing> {
        let schedule = Schedule { catch_up, next_due: Some(minute(due)), ..every_minute() };
        let times = Times::read(&schedule.cron, &schedule.time_zone).unwrap();
        plan(&schedule, &times, Timestamp::from_millis(now_ms), GRACE)
    }

    fn firing(expected: i64, due: Option<i64>, next: i64) -> Option<Firing> {
        Some(Firing { expected: minute(expected), due: due.map(minute), next: Some(minute(next)) })
    }

    #[test]
    fn nothing_happens_before_the_time() {
        assert_eq!(planned(CatchUp::All, 10, 10 * MINUTE - 1), None);
    }

    #[test]
    fn a_time_within_the_grace_is_as_good_as_in_time() {
        for catch_up in CatchUp::ALL {
            assert_eq!(planned(*catch_up, 10, 10 * MINUTE), firing(10, Some(10), 11));
            assert_eq!(planned(*catch_up, 10, 11 * MINUTE), firing(10, Some(10), 11));
        }
    }

    #[test]
    fn missed_times_are_left_out_or_made_up_for() {
        let now = 500 * MINUTE + 1_000;
        // Minute 500 is within the grace, 499 is not.
        assert_eq!(planned(CatchUp::Skip, 10, now), firing(10, Some(500), 501));
        assert_eq!(planned(CatchUp::Once, 10, now), firing(10, Some(499), 500));
        assert_eq!(planned(CatchUp::All, 495, now), firing(495, Some(495), 496));
        let oldest = 499 - i64::try_from(MADE_UP).unwrap() + 1;
        assert_eq!(planned(CatchUp::All, 10, now), firing(10, Some(oldest), oldest + 1));
    }

    #[test]
    fn when_all_were_missed_and_left_out_the_next_one_is_waited_for() {
        let schedule = Schedule { cron: "0 0 1 * *".to_owned(), ..every_minute() };
        let times = Times::read(&schedule.cron, "UTC").unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let expected: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
        let schedule = Schedule { next_due: Some(expected), ..schedule };
        let next = "2026-12-01T00:00:00Z".parse().ok();
        assert_eq!(plan(&schedule, &times, now, GRACE), Some(Firing { expected, due: None, next }));
    }

    fn every_minute() -> Schedule {
        Schedule {
            id: ScheduleId::mint(),
            cron: "* * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            overlap: Overlap::Skip,
            catch_up: CatchUp::Skip,
            job: NewJob::new(ScriptType::Osis, "1"),
            is_paused: false,
            created_at: minute(0),
            next_due: None,
            next_times: Vec::new(),
            last_due: None,
            last_job: None,
            started: 0,
            skipped: 0,
        }
    }
}
