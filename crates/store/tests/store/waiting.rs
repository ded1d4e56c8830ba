//! Waits: for the end of jobs, for work, and for what a runner is told. On Redis only; the model has no time.

use std::{future::Future, time::Duration};

use hero_domain::{ErrorKind, JobEventKind, JobId, JobStatus, NewJob, Priority, ScriptType};
use hero_store::{Claim, ControlMessage, JobStore, Lane, Waits, Work};
use redis::Commands;
use tokio_util::sync::CancellationToken;

use crate::{
    redis_store::OnRedis,
    world::{World, claim, ids, osis, osis_lane},
};

/// Longer than any wait here takes, unless it hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// Long enough for a call to be on its way, short enough to be waited for in vain.
const A_MOMENT: Duration = Duration::from_millis(50);

async fn world() -> World<OnRedis> {
    World::<OnRedis>::open().await
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, wait).await.expect("the wait ends")
}

/// The waits of a process; the reader ends with the guard.
fn waits(w: &World<OnRedis>) -> (Waits, impl Drop) {
    let shutdown = CancellationToken::new();
    (Waits::start((**w).clone(), shutdown.clone()), shutdown.drop_guard())
}

#[tokio::test]
async fn a_wait_ends_with_its_job() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let runner = w.runner("a").await;
    // Watched before it is there, as a caller does that must not miss its end.
    let (finished, failed, stopped, deleted) = (JobId::mint(), JobId::mint(), JobId::mint(), JobId::mint());
    let mut watches = Vec::new();
    for id in [finished, failed, stopped, deleted] {
        watches.push(waits.watch(id));
        w.submit(NewJob { id: Some(id), ..osis() }).await;
    }
    w.run_next(&runner).await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    w.stop(stopped, None).await.unwrap();
    w.delete(deleted, None).await.unwrap();
    for watch in &mut watches {
        assert!(watch.ended(LIMIT).await, "{}", watch.id());
    }
}

#[tokio::test]
async fn a_wait_for_a_job_that_has_ended_ends_at_once() {
    let w = world().await;
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let (waits, _guard) = waits(&w);
    assert!(waits.watch(id).ended(LIMIT).await);
    // Also while the reader is at work already.
    let other = w.submit(osis()).await;
    let _busy = waits.watch(other);
    assert!(waits.watch(id).ended(LIMIT).await);
}

#[tokio::test]
async fn a_wait_that_is_over_first_says_so_and_can_go_on() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let id = w.submit(osis()).await;
    let mut watch = waits.watch(id);
    assert!(!watch.ended(A_MOMENT).await);
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    assert!(!watch.ended(A_MOMENT).await, "a start is no end");
    let other = w.runner("b").await;
    w.sign_out(&runner).await.unwrap();
    w.run_next(&other).await;
    assert!(watch.ended(LIMIT).await);
    assert!(watch.ended(LIMIT).await, "it stays ended");
}

#[tokio::test]
async fn several_waits_for_one_job_all_end() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let id = w.submit(osis()).await;
    let (mut first, second, mut third) = (waits.watch(id), waits.watch(id), waits.watch(id));
    drop(second);
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    assert!(first.ended(LIMIT).await && third.ended(LIMIT).await);
}

#[tokio::test]
async fn a_thousand_waits_end_with_their_jobs() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let jobs: Vec<NewJob> = (0..1_000).map(|_| NewJob { id: Some(JobId::mint()), ..osis() }).collect();
    let mut watches: Vec<_> = jobs.iter().map(|job| waits.watch(job.id.unwrap())).collect();
    w.create(&jobs, true).await.unwrap();
    let runner = w.runner("a").await;
    for _ in 0..10 {
        for job in w.claim(&runner, 100).await {
            w.finish(&runner, &job).await;
        }
    }
    for watch in &mut watches {
        assert!(watch.ended(LIMIT).await);
    }
}

#[tokio::test]
async fn an_end_that_nobody_announced_is_found_by_a_look() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let id = w.submit(osis()).await;
    let mut watch = waits.watch(id);
    assert!(!watch.ended(A_MOMENT).await);
    let _: () = w.fixture().behind().hset(format!("hero:job:{id}"), "status", "Finished").unwrap();
    assert!(watch.ended(LIMIT).await);
}

#[tokio::test]
async fn a_subscriber_sees_every_event_in_order() {
    let w = world().await;
    let (waits, _guard) = waits(&w);
    let mut events = waits.events();
    // The reader begins at the end of the stream: once it has told this one, it tells all that follow.
    let first = loop {
        let id = w.create_one(osis()).await;
        if tokio::time::timeout(A_MOMENT, events.recv()).await.is_ok() {
            break id;
        }
    };
    w.start(first, None).await.unwrap();
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.delete(first, None).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&JobEventKind::Deleted) {
        let event = within(events.recv()).await.unwrap();
        if event.jobs == [first] {
            kinds.push(event.kind);
        }
    }
    use JobEventKind::{Deleted, Finished, Queued, Started};
    assert_eq!(kinds, [Queued, Started, Finished, Deleted]);
}

/// The wait of a runner for OSIS jobs of the shared pool.
fn work(w: &World<OnRedis>, session: &hero_store::Session) -> Work {
    w.wait_for_work(session, &osis_lane())
}

#[tokio::test]
async fn a_waiting_runner_gets_a_job_of_any_priority() {
    let w = world().await;
    let runner = w.runner("a").await;
    let mut work = work(&w, &runner);
    for priority in Priority::ALL {
        let waiting = within(work.next());
        let job = NewJob { priority: *priority, ..osis() };
        let (taken, id) = tokio::join!(waiting, w.submit(job));
        assert_eq!(taken.unwrap(), id);
        assert_eq!(w.status_of(id).await, JobStatus::Dispatched, "taken is not claimed");
        let answer = w.ask(&runner, &Claim { taken: vec![id], ..claim(1) }).await;
        assert_eq!(ids(&answer.jobs), [id]);
        w.finish(&runner, &answer.jobs[0]).await;
    }
}

#[tokio::test]
async fn a_runner_that_begins_to_wait_gets_what_waits_already() {
    let w = world().await;
    let jobs = w.submit_many(1).await;
    let runner = w.runner("a").await;
    assert_eq!(within(work(&w, &runner).next()).await.unwrap(), jobs[0]);
}

#[tokio::test]
async fn one_job_wakes_one_runner() {
    let w = world().await;
    let (a, b) = (w.runner("a").await, w.runner("b").await);
    let (mut of_a, mut of_b) = (work(&w, &a), work(&w, &b));
    for _ in 0..20 {
        let submit = async {
            tokio::task::yield_now().await;
            w.submit(osis()).await
        };
        let either = async {
            tokio::select! {
                id = of_a.next() => (id.unwrap(), &a),
                id = of_b.next() => (id.unwrap(), &b),
            }
        };
        let ((id, winner), submitted) = tokio::join!(within(either), submit);
        assert_eq!(id, submitted);
        let places = w.places().await;
        assert_eq!(places.inflight.len(), 1, "{places:?}");
        let answer = w.ask(winner, &Claim { taken: vec![id], ..claim(1) }).await;
        w.finish(winner, &answer.jobs[0]).await;
    }
}

#[tokio::test]
async fn a_wait_that_was_dropped_loses_no_job() {
    let w = world().await;
    let runner = w.runner("a").await;
    let mut work = work(&w, &runner);
    for _ in 0..10 {
        assert!(tokio::time::timeout(A_MOMENT, work.next()).await.is_err(), "nothing is there");
        // A connection may still be in its last read: then it takes one of these, and only one of each list.
        let jobs = w.submit_many(3).await;
        let mut taken = Vec::new();
        while let Ok(id) = tokio::time::timeout(A_MOMENT, work.moved()).await {
            taken.push(id);
        }
        assert!(taken.len() <= 1, "{taken:?}");
        w.ask(&runner, &Claim { taken, ..claim(0) }).await;
        assert_eq!(w.queued().await, jobs, "what was taken went back to the head");
        for job in w.claim(&runner, 3).await {
            w.finish(&runner, &job).await;
        }
    }
}

#[tokio::test]
async fn rubbish_in_a_queue_does_not_hold_up_who_waits() {
    let w = world().await;
    let runner = w.runner("a").await;
    let _: () = w.fixture().behind().rpush("hero:q:work:type:osis", &["rubbish", ""]).unwrap();
    let id = w.submit(osis()).await;
    assert_eq!(within(work(&w, &runner).next()).await.unwrap(), id);
    let held: Vec<String> = w.fixture().behind().lrange("hero:q:inflight:a", 0, -1).unwrap();
    assert_eq!(held, [id.to_string()]);
}

#[tokio::test]
async fn a_lane_waits_for_its_own_queues_only() {
    let w = world().await;
    let runner = w.runner("a").await;
    let mut python = w.wait_for_work(&runner, &Lane { script_type: ScriptType::Python, circle: None });
    let osis_job = w.submit(osis()).await;
    assert!(tokio::time::timeout(A_MOMENT, python.next()).await.is_err());
    assert_eq!(w.queued().await, [osis_job]);
}

#[tokio::test]
async fn a_runner_is_told_at_once_to_stop_and_to_drain() {
    let w = world().await;
    let runner = w.runner("a").await;
    let mut control = w.control(&runner);
    let jobs = w.submit_many(2).await;
    w.claim(&runner, 2).await;
    w.stop(jobs[0], None).await.unwrap();
    assert_eq!(within(control.next()).await, ControlMessage::Stop(jobs[0]));
    w.delete(jobs[1], None).await.unwrap();
    assert_eq!(within(control.next()).await, ControlMessage::Stop(jobs[1]));
    w.drain(&runner.runner, true).await.unwrap();
    assert_eq!(within(control.next()).await, ControlMessage::Drain(true));
    w.drain(&runner.runner, false).await.unwrap();
    assert_eq!(within(control.next()).await, ControlMessage::Drain(false));
    // What is not known is passed over.
    let _: () =
        w.fixture().behind().rpush("hero:q:control:a", &["", "dance", "stop nobody", "drain 1"]).unwrap();
    assert_eq!(within(control.next()).await, ControlMessage::Drain(true));
}
