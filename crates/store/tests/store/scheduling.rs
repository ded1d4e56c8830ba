//! Schedules: each time is worked on once, whoever comes first, as the policies say.

use hero_domain::{CatchUp, ErrorKind, JobId, JobStatus, NewJob, Overlap, Schedule, ScheduleId, Timestamp};
use hero_store::{Error, Fired, Firing, JobStore, ScheduleLimits, ScheduleStore};

use crate::{
    fixture::Fixture,
    world::{World, at, of_context, osis},
};

const MINUTE: i64 = 60_000;
const LIMITS: ScheduleLimits = ScheduleLimits { per_context: 3, in_all: 5 };

promises![
    a_schedule_is_kept_as_it_was_made,
    a_schedule_that_exists_is_refused,
    schedules_have_their_limits,
    a_schedule_of_another_context_is_as_if_it_were_not_there,
    a_schedule_is_due_at_its_time,
    the_longest_due_comes_first,
    a_time_is_worked_on_once,
    a_time_without_a_job_is_passed,
    a_schedule_without_a_time_left_rests,
    an_overlap_is_skipped,
    an_overlap_waits,
    an_overlap_replaces_a_queued_job,
    an_overlap_replaces_a_running_job,
    an_ended_job_is_no_overlap,
    a_deleted_job_is_no_overlap,
    a_paused_schedule_is_never_due,
    a_schedule_goes_on_after_its_pause,
    a_second_pause_changes_nothing,
    a_deleted_schedule_is_gone,
    a_schedule_that_was_deleted_meanwhile_is_overtaken,
];

fn every_minute(overlap: Overlap, job: NewJob) -> Schedule {
    Schedule {
        id: ScheduleId::mint(),
        cron: "* * * * *".to_owned(),
        time_zone: "Europe/Brussels".to_owned(),
        overlap,
        catch_up: CatchUp::Once,
        job,
        is_paused: false,
        created_at: at(0),
        next_due: Some(at(MINUTE)),
        next_times: Vec::new(),
        last_due: None,
        last_job: None,
        started: 0,
        skipped: 0,
    }
}

async fn create<F: Fixture>(w: &World<F>, overlap: Overlap) -> Schedule {
    let schedule = every_minute(overlap, osis());
    w.create_schedule(&schedule, LIMITS).await.unwrap();
    schedule
}

async fn read<F: Fixture>(w: &World<F>, schedule: &Schedule) -> Schedule {
    w.schedule(schedule.id, None).await.unwrap()
}

/// What a supervisor does at the time that the schedule waits for.
fn now_due(expected: Timestamp) -> Firing {
    let next = Timestamp::from_millis(expected.as_millis() + MINUTE);
    Firing { expected, due: Some(expected), next: Some(next) }
}

/// Works on minute `n`.
async fn fire<F: Fixture>(w: &World<F>, schedule: &Schedule, n: i64) -> Fired {
    w.fire(schedule, &now_due(at(n * MINUTE))).await.unwrap()
}

async fn started<F: Fixture>(w: &World<F>, schedule: &Schedule, n: i64) -> JobId {
    let expected = schedule.id.job_due_at(at(n * MINUTE));
    assert_eq!(fire(w, schedule, n).await, Fired::Started(expected));
    expected
}

async fn a_schedule_is_kept_as_it_was_made<F: Fixture>(w: World<F>) {
    let job = NewJob { timeout_s: 7, retries: 2, ..of_context("nightly") };
    let schedule = every_minute(Overlap::Queue, job);
    w.create_schedule(&schedule, LIMITS).await.unwrap();
    assert_eq!(read(&w, &schedule).await, schedule);
    assert_eq!(w.schedules(None).await.unwrap(), [schedule]);
}

async fn a_schedule_that_exists_is_refused<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    let refused = w.create_schedule(&schedule, LIMITS).await.unwrap_err();
    assert!(matches!(refused, Error::ScheduleExists(id) if id == schedule.id), "{refused:?}");
}

async fn schedules_have_their_limits<F: Fixture>(w: World<F>) {
    let mut all = 0;
    for (context, most) in [("a", LIMITS.per_context), ("b", LIMITS.in_all - LIMITS.per_context)] {
        for _ in 0..most {
            w.create_schedule(&every_minute(Overlap::Skip, of_context(context)), LIMITS).await.unwrap();
            all += 1;
        }
        let one_more = every_minute(Overlap::Skip, of_context(context));
        let refused = w.create_schedule(&one_more, LIMITS).await.unwrap_err();
        let limit = if context == "a" { LIMITS.per_context } else { LIMITS.in_all };
        assert!(matches!(refused, Error::TooManySchedules { most } if most == limit), "{refused:?}");
    }
    assert_eq!(w.schedules(None).await.unwrap().len(), all);
}

async fn a_schedule_of_another_context_is_as_if_it_were_not_there<F: Fixture>(w: World<F>) {
    let mine = every_minute(Overlap::Skip, of_context("mine"));
    w.create_schedule(&mine, LIMITS).await.unwrap();
    assert_eq!(w.schedules(Some("mine")).await.unwrap(), std::slice::from_ref(&mine));
    assert_eq!(w.schedules(Some("other")).await.unwrap(), []);
    for refused in [
        w.schedule(mine.id, Some("other")).await.err(),
        w.pause_schedule(mine.id, Some("other"), None).await.err(),
        w.delete_schedule(mine.id, Some("other")).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::ScheduleNotFound(_))), "{refused:?}");
    }
    assert_eq!(read(&w, &mine).await, mine);
}

async fn a_schedule_is_due_at_its_time<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(MINUTE - 1).await;
    let due = w.due_schedules().await.unwrap();
    assert_eq!((due.schedules, due.next_look), (vec![], Some(at(MINUTE))));
    w.advance(1).await;
    let due = w.due_schedules().await.unwrap();
    assert_eq!((due.now, due.schedules), (at(MINUTE), vec![schedule.clone()]));
    let id = started(&w, &schedule, 1).await;
    assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
    assert_eq!(w.queued().await, [id]);
    let after = read(&w, &schedule).await;
    assert_eq!((after.last_due, after.last_job, after.started), (Some(at(MINUTE)), Some(id), 1));
    assert_eq!(after.next_due, Some(at(2 * MINUTE)));
    assert_eq!(w.due_schedules().await.unwrap().schedules, []);
}

async fn the_longest_due_comes_first<F: Fixture>(w: World<F>) {
    let mut ids = Vec::new();
    for minute in [3, 1, 2] {
        let schedule =
            Schedule { next_due: Some(at(minute * MINUTE)), ..every_minute(Overlap::Skip, osis()) };
        w.create_schedule(&schedule, LIMITS).await.unwrap();
        ids.push(schedule.id);
    }
    w.advance(2 * MINUTE).await;
    let due = w.due_schedules().await.unwrap();
    let found: Vec<ScheduleId> = due.schedules.iter().map(|it| it.id).collect();
    assert_eq!((found, due.next_look), (vec![ids[1], ids[2]], Some(at(3 * MINUTE))));
}

async fn a_time_is_worked_on_once<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(MINUTE).await;
    let id = started(&w, &schedule, 1).await;
    for _ in 0..3 {
        assert_eq!(fire(&w, &schedule, 1).await, Fired::Overtaken);
    }
    assert_eq!(w.queued().await, [id]);
    assert_eq!(read(&w, &schedule).await.started, 1);
}

async fn a_time_without_a_job_is_passed<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(5 * MINUTE).await;
    let firing = Firing { expected: at(MINUTE), due: None, next: Some(at(6 * MINUTE)) };
    assert_eq!(w.fire(&schedule, &firing).await.unwrap(), Fired::LeftOut);
    let after = read(&w, &schedule).await;
    assert_eq!((after.next_due, after.last_job, after.started), (Some(at(6 * MINUTE)), None, 0));
    assert_eq!(w.queued().await, []);
}

async fn a_schedule_without_a_time_left_rests<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(MINUTE).await;
    let last = Firing { expected: at(MINUTE), due: Some(at(MINUTE)), next: None };
    assert!(matches!(w.fire(&schedule, &last).await.unwrap(), Fired::Started(_)));
    w.advance(1_000 * MINUTE).await;
    let due = w.due_schedules().await.unwrap();
    assert_eq!((due.schedules, due.next_look), (vec![], None));
    assert_eq!(read(&w, &schedule).await.next_due, None);
}

async fn an_overlap_is_skipped<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(2 * MINUTE).await;
    let first = started(&w, &schedule, 1).await;
    assert_eq!(fire(&w, &schedule, 2).await, Fired::LeftOut);
    let after = read(&w, &schedule).await;
    assert_eq!((after.started, after.skipped, after.last_job), (1, 1, Some(first)));
    assert_eq!(after.next_due, Some(at(3 * MINUTE)));
    assert_eq!(w.queued().await, [first]);
}

async fn an_overlap_waits<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Queue).await;
    let runner = w.runner("a").await;
    w.advance(2 * MINUTE).await;
    started(&w, &schedule, 1).await;
    for _ in 0..3 {
        assert_eq!(fire(&w, &schedule, 2).await, Fired::Waits);
        let due = w.due_schedules().await.unwrap();
        assert_eq!(due.schedules, [], "it is looked at again in a while, not at once");
        assert!(due.next_look.is_some_and(|look| look > due.now), "{due:?}");
        w.advance(1_000).await;
        assert_eq!(w.due_schedules().await.unwrap().schedules[0].next_due, Some(at(2 * MINUTE)));
    }
    w.renew(&runner, 0, &[]).await.unwrap();
    w.run_next(&runner).await;
    started(&w, &schedule, 2).await;
    assert_eq!(read(&w, &schedule).await.skipped, 0);
}

async fn an_overlap_replaces_a_queued_job<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Replace).await;
    w.advance(2 * MINUTE).await;
    let first = started(&w, &schedule, 1).await;
    let second = started(&w, &schedule, 2).await;
    w.assert_failed(first, ErrorKind::Stopped).await;
    assert_eq!(w.queued().await, [second]);
}

async fn an_overlap_replaces_a_running_job<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Replace).await;
    w.advance(2 * MINUTE).await;
    let first = started(&w, &schedule, 1).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    let second = started(&w, &schedule, 2).await;
    assert_eq!(w.renew(&runner, 1, &[first]).await.unwrap().stop, [first], "its runner is told to kill it");
    w.fail(&runner, &claimed, ErrorKind::Stopped).await;
    w.assert_failed(first, ErrorKind::Stopped).await;
    assert_eq!(w.queued().await, [second]);
}

async fn an_ended_job_is_no_overlap<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    let runner = w.runner("a").await;
    w.advance(2 * MINUTE).await;
    let first = started(&w, &schedule, 1).await;
    assert_eq!(w.run_next(&runner).await, first);
    started(&w, &schedule, 2).await;
}

async fn a_deleted_job_is_no_overlap<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(2 * MINUTE).await;
    let first = started(&w, &schedule, 1).await;
    w.delete(first, None).await.unwrap();
    started(&w, &schedule, 2).await;
}

async fn a_paused_schedule_is_never_due<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.pause_schedule(schedule.id, None, None).await.unwrap();
    w.advance(100 * MINUTE).await;
    let due = w.due_schedules().await.unwrap();
    assert_eq!((due.schedules, due.next_look), (vec![], None));
    assert_eq!(fire(&w, &schedule, 1).await, Fired::Overtaken, "one that had read it before is too late");
    let paused = read(&w, &schedule).await;
    assert_eq!((paused.is_paused, paused.next_due), (true, None));
}

async fn a_schedule_goes_on_after_its_pause<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.pause_schedule(schedule.id, None, None).await.unwrap();
    w.advance(10 * MINUTE).await;
    w.pause_schedule(schedule.id, None, Some(Some(at(11 * MINUTE)))).await.unwrap();
    assert_eq!(w.due_schedules().await.unwrap().next_look, Some(at(11 * MINUTE)));
    w.advance(MINUTE).await;
    started(&w, &schedule, 11).await;
}

async fn a_second_pause_changes_nothing<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.pause_schedule(schedule.id, None, Some(Some(at(9 * MINUTE)))).await.unwrap();
    assert_eq!(read(&w, &schedule).await, schedule, "one that goes on keeps the time that it waits for");
    for _ in 0..2 {
        w.pause_schedule(schedule.id, None, None).await.unwrap();
    }
    assert!(read(&w, &schedule).await.is_paused);
}

async fn a_deleted_schedule_is_gone<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(MINUTE).await;
    let job = started(&w, &schedule, 1).await;
    w.delete_schedule(schedule.id, None).await.unwrap();
    let refused = w.delete_schedule(schedule.id, None).await.unwrap_err();
    assert!(matches!(refused, Error::ScheduleNotFound(_)), "{refused:?}");
    assert_eq!(w.schedules(None).await.unwrap(), []);
    assert_eq!(w.status_of(job).await, JobStatus::Dispatched, "its jobs stay");
}

async fn a_schedule_that_was_deleted_meanwhile_is_overtaken<F: Fixture>(w: World<F>) {
    let schedule = create(&w, Overlap::Skip).await;
    w.advance(MINUTE).await;
    w.delete_schedule(schedule.id, None).await.unwrap();
    assert_eq!(fire(&w, &schedule, 1).await, Fired::Overtaken);
    assert_eq!(w.queued().await, []);
}
