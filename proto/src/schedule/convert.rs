//! Schedules, in both directions.

use hero_domain::{CatchUp, NewJob, NewSchedule, Overlap, Result, Schedule};

use crate::{
    convert::{
        circle_key, from_timestamp, job_id, named_on_both_sides, required, schedule_id, timestamp, within,
    },
    job::{new_job, to_new_job},
    pb::{job::v1::NewJob as NewJobMessage, schedule::v1 as pb},
};

named_on_both_sides!(to_overlap, overlap: Overlap = pb::Overlap, InvalidParams {
    Skip = "OVERLAP_SKIP",
    Queue = "OVERLAP_QUEUE",
    Replace = "OVERLAP_REPLACE",
});
named_on_both_sides!(to_catch_up, catch_up: CatchUp = pb::CatchUp, InvalidParams {
    Skip = "CATCH_UP_SKIP",
    Once = "CATCH_UP_ONCE",
    All = "CATCH_UP_ALL",
});

fn job(message: Option<NewJobMessage>) -> Result<NewJob> {
    new_job(required(message, "job")?).map_err(|error| within(error, || "job".into()))
}

/// The circle stays behind: it is the caller's, and travels with the caller.
pub(crate) fn to_new_schedule(schedule: NewSchedule) -> pb::NewSchedule {
    pb::NewSchedule {
        id: schedule.id.map(|id| id.to_string()),
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        overlap: Some(to_overlap(schedule.overlap).into()),
        catch_up: Some(to_catch_up(schedule.catch_up).into()),
        job: Some(to_new_job(schedule.job)),
    }
}

pub(crate) fn new_schedule(message: Option<pb::NewSchedule>) -> Result<NewSchedule> {
    let message = required(message, "schedule")?;
    let defaults = NewSchedule::new(message.cron, job(message.job)?);
    let time_zone = if message.time_zone.is_empty() { defaults.time_zone } else { message.time_zone };
    Ok(NewSchedule {
        id: message.id.map(|id| schedule_id(&id, "id")).transpose()?,
        time_zone,
        overlap: message.overlap.map_or(Ok(defaults.overlap), |value| overlap(value, "overlap"))?,
        catch_up: message.catch_up.map_or(Ok(defaults.catch_up), |value| catch_up(value, "catch_up"))?,
        ..defaults
    })
}

pub(crate) fn to_schedule(schedule: Schedule) -> pb::Schedule {
    pb::Schedule {
        id: schedule.id.to_string(),
        cron: schedule.cron,
        time_zone: schedule.time_zone,
        overlap: to_overlap(schedule.overlap).into(),
        catch_up: to_catch_up(schedule.catch_up).into(),
        circle: schedule.job.circle.as_ref().map(ToString::to_string),
        job: Some(to_new_job(schedule.job)),
        paused: schedule.is_paused,
        created_at: Some(from_timestamp(schedule.created_at)),
        next_due: schedule.next_due.map(from_timestamp),
        next_times: schedule.next_times.into_iter().map(from_timestamp).collect(),
        last_due: schedule.last_due.map(from_timestamp),
        last_job_id: schedule.last_job.map(|id| id.to_string()),
        started: schedule.started,
        skipped: schedule.skipped,
    }
}

pub(crate) fn schedule(message: Option<pb::Schedule>) -> Result<Schedule> {
    let message = required(message, "schedule")?;
    let circle = message.circle.map(|key| circle_key(&key, "circle")).transpose()?;
    let times = message.next_times.into_iter().map(|at| timestamp(at, "next_times"));
    Ok(Schedule {
        id: schedule_id(&message.id, "id")?,
        cron: message.cron,
        time_zone: message.time_zone,
        overlap: overlap(message.overlap, "overlap")?,
        catch_up: catch_up(message.catch_up, "catch_up")?,
        job: NewJob { circle, ..job(message.job)? },
        is_paused: message.paused,
        created_at: timestamp(required(message.created_at, "created_at")?, "created_at")?,
        next_due: message.next_due.map(|at| timestamp(at, "next_due")).transpose()?,
        next_times: times.collect::<Result<_>>()?,
        last_due: message.last_due.map(|at| timestamp(at, "last_due")).transpose()?,
        last_job: message.last_job_id.map(|id| job_id(&id, "last_job_id")).transpose()?,
        started: message.started,
        skipped: message.skipped,
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{
        CatchUp, JobId, NewJob, NewSchedule, Overlap, Schedule, ScheduleId, ScriptType, Timestamp,
    };

    use super::{new_schedule, schedule, to_new_schedule, to_schedule};
    use crate::pb::schedule::v1 as pb;

    fn wanted() -> NewSchedule {
        let job = NewJob::new(ScriptType::Python, "print(1)");
        NewSchedule {
            id: Some(ScheduleId::mint()),
            time_zone: "Europe/Brussels".into(),
            overlap: Overlap::Replace,
            catch_up: CatchUp::All,
            ..NewSchedule::new("0 4 * * *", job)
        }
    }

    fn stored() -> Schedule {
        let wanted = wanted();
        let circle = format!("02{}", "ab".repeat(32)).parse().ok();
        Schedule {
            id: wanted.id.unwrap(),
            cron: wanted.cron,
            time_zone: wanted.time_zone,
            overlap: wanted.overlap,
            catch_up: wanted.catch_up,
            job: NewJob { circle, ..wanted.job },
            is_paused: true,
            created_at: Timestamp::from_millis(1),
            next_due: Some(Timestamp::from_millis(2)),
            next_times: vec![Timestamp::from_millis(2), Timestamp::from_millis(3)],
            last_due: Some(Timestamp::from_millis(0)),
            last_job: Some(JobId::mint()),
            started: 7,
            skipped: 2,
        }
    }

    #[test]
    fn a_schedule_survives() {
        let wanted = wanted();
        assert_eq!(new_schedule(Some(to_new_schedule(wanted.clone()))).unwrap(), wanted);
        let stored = stored();
        assert_eq!(schedule(Some(to_schedule(stored.clone()))).unwrap(), stored);
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused_by_name() {
        let whole = to_new_schedule(wanted());
        let mut unknown_type = whole.clone();
        unknown_type.job.as_mut().unwrap().script_type = 0;
        let cases = [
            ("id", pb::NewSchedule { id: Some("7".into()), ..whole.clone() }),
            ("job", pb::NewSchedule { job: None, ..whole.clone() }),
            ("job.script_type", unknown_type),
            ("overlap", pb::NewSchedule { overlap: Some(0), ..whole.clone() }),
            ("catch_up", pb::NewSchedule { catch_up: Some(9), ..whole }),
        ];
        for (field, message) in cases {
            assert_eq!(new_schedule(Some(message)).unwrap_err().field(), Some(field));
        }
        assert_eq!(new_schedule(None).unwrap_err().field(), Some("schedule"));
    }
}
