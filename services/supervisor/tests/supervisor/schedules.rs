//! Schedules, with two supervisors that both look at the clock.

use hero_domain::{
    CatchUp, JobFilter, JobStatus, NewJob, NewSchedule, Overlap, Reason, ScheduleId, Timestamp,
    ports::{Jobs as _, Schedules as _},
};
use hero_supervisor::SupervisorConfig;

use crate::node::{Node, caller, get, job, until};

const SECOND: i64 = 1_000;

fn every_second(overlap: Overlap) -> NewSchedule {
    NewSchedule { overlap, ..NewSchedule::new("* * * * * *", job("1")) }
}

fn look_often(config: &mut SupervisorConfig) {
    config.schedules.look_interval_ms = 20;
}

#[tokio::test]
async fn each_due_time_starts_one_job_whichever_of_two_supervisors_sees_it() {
    let first = Node::start_with(look_often).await;
    let second = first.second(look_often).await;
    let hand = first.shared_hand().await;
    let made = first.schedules().create(&caller(), every_second(Overlap::Skip)).await.unwrap();
    let mut due = made.next_due.expect("a time");
    for _ in 0..3 {
        let claimed = hand.take().await;
        assert_eq!(claimed.id, made.id.job_due_at(due), "each second, none twice and none left out");
        hand.finish(&claimed, "1").await;
        due = Timestamp::from_millis(due.as_millis() + SECOND);
    }
    second.schedules().pause(&caller(), made.id, true).await.unwrap();
    let paused = first.schedules().get(&caller(), made.id).await.unwrap();
    assert_eq!((paused.is_paused, paused.next_due, paused.skipped), (true, None, 0));
    let all = JobFilter { limit: Some(1_000), ..JobFilter::default() };
    let jobs = first.jobs().list(&caller(), all).await.unwrap().ids;
    assert_eq!(jobs.len() as u64, paused.started, "one job a time, {jobs:?}");

    let now = second.schedules().run(&caller(), made.id).await.unwrap();
    assert_eq!(get(&first, now).await.status, JobStatus::Dispatched, "run now, though it is paused");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_job_that_still_runs_is_skipped_waited_for_or_replaced() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
        let node = Node::start_with(look_often).await;
        let hand = node.shared_hand().await;
        let made = node.schedules().create(&caller(), every_second(overlap)).await.unwrap();
        let running = hand.take().await;
        let due = made.next_due.unwrap();
        let second = made.id.job_due_at(Timestamp::from_millis(due.as_millis() + SECOND));
        let schedule = || async { node.schedules().get(&caller(), made.id).await };
        match overlap {
            Overlap::Skip => {
                until("a time was skipped", async || (schedule().await.unwrap().skipped > 0).then_some(()))
                    .await;
                assert_eq!(schedule().await.unwrap().last_job, Some(running.id));
            }
            Overlap::Queue => {
                let now = || async { node.store.time().await.unwrap().as_millis() };
                until("the next time has come", async || {
                    (now().await > due.as_millis() + SECOND).then_some(())
                })
                .await;
                assert_eq!(schedule().await.unwrap().last_job, Some(running.id));
                hand.finish(&running, "1").await;
                assert_eq!(hand.take().await.id, second, "its turn came, late");
            }
            Overlap::Replace => {
                assert_eq!(hand.take().await.id, second);
                hand.finish(&running, "1").await;
            }
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn times_that_went_by_while_nobody_looked_are_made_up_for_as_asked() {
    for (catch_up, made_up) in [(CatchUp::Skip, 0), (CatchUp::Once, 1), (CatchUp::All, 5)] {
        let node = Node::start_with(|config| {
            look_often(config);
            config.schedules.grace_ms = 100;
            // It is missed before it is looked at for the first time.
            config.schedules.look_interval_ms = 60_000;
        })
        .await;
        let new = NewSchedule { catch_up, ..NewSchedule::new("0 0 1 1 *", job("1")) };
        let made = node.schedules().create(&caller(), new).await.unwrap();
        // What five years without a supervisor leave behind.
        let past: Timestamp = "2021-06-01T00:00:00Z".parse().unwrap();
        set_due(&node, made.id, past);
        let other = node.second(look_often).await;
        let schedule = until("it waits for a time to come", async || {
            let schedule = node.schedules().get(&caller(), made.id).await.unwrap();
            let now = node.store.time().await.unwrap();
            finish_all(&node).await;
            schedule.next_due.is_some_and(|due| due > now).then_some(schedule)
        })
        .await;
        // One that overlaps the one before is skipped: it was made up for all the same.
        assert_eq!(schedule.started + schedule.skipped, made_up, "{catch_up:?}");
        node.stop().await;
        other.stop().await;
    }
}

/// Ends every job that waits, so that none overlaps.
async fn finish_all(node: &Node) {
    let hand = node.shared_hand().await;
    let waiting = JobFilter { status: Some(JobStatus::Dispatched), ..JobFilter::default() };
    for _ in node.jobs().list(&caller(), waiting).await.unwrap().ids {
        let claimed = hand.take().await;
        hand.finish(&claimed, "1").await;
    }
}

fn set_due(node: &Node, id: ScheduleId, due: Timestamp) {
    let mut connection = node.redis.connection().unwrap();
    let ms = due.as_millis();
    redis::pipe()
        .cmd("HSET")
        .arg(format!("hero:schedule:{id}"))
        .arg("due")
        .arg(ms)
        .cmd("ZADD")
        .arg("hero:schedules")
        .arg(ms)
        .arg(id.to_string())
        .exec(&mut connection)
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_schedule_is_refused_with_its_field() {
    let node = Node::start().await;
    let new = NewSchedule::new("* * * * *", job("1"));
    for (wrong, reason, field) in [
        (NewSchedule { cron: "every day".into(), ..new.clone() }, Reason::CronInvalid, "cron"),
        (NewSchedule { cron: "0 0 30 2 *".into(), ..new.clone() }, Reason::CronInvalid, "cron"),
        (NewSchedule { time_zone: "Mars/Base".into(), ..new.clone() }, Reason::TimeZoneUnknown, "time_zone"),
        (
            NewSchedule { job: NewJob { idempotency_key: Some("k".into()), ..job("1") }, ..new.clone() },
            Reason::InvalidParams,
            "job.idempotency_key",
        ),
    ] {
        let error = node.schedules().create(&caller(), wrong).await.unwrap_err();
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    assert_eq!(node.schedules().list(&caller()).await.unwrap(), []);
    node.stop().await;
}
