//! Waiting for the end of jobs: before, during, missed, too long, given up.

use std::time::{Duration, Instant};

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Reason, ports::Jobs as _};
use hero_store::Outcome;

use crate::node::{Node, PATIENCE, caller, get, job, submit, until};

#[tokio::test]
async fn a_job_is_run_and_its_end_comes_back() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let jobs = node.jobs();
    let run = tokio::spawn(async move { jobs.run(&caller(), job("40 + 2"), None).await });
    let claimed = hand.take().await;
    hand.finish(&claimed, "42").await;
    let ended = run.await.unwrap().unwrap();
    assert_eq!(
        (ended.id, ended.status, ended.output.as_deref()),
        (claimed.id, JobStatus::Finished, Some("42"))
    );
    node.stop().await;
}

#[tokio::test]
async fn a_script_that_failed_is_data() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let jobs = node.jobs();
    let run = tokio::spawn(async move { jobs.run(&caller(), job("throw 1"), None).await });
    let claimed = hand.take().await;
    let outcome = Outcome::Failed { kind: ErrorKind::ScriptFailed, error: "thrown: 1".into(), output: None };
    hand.end(&claimed, outcome).await;
    let ended = run.await.unwrap().unwrap();
    assert_eq!((ended.status, ended.error_kind), (JobStatus::Error, Some(ErrorKind::ScriptFailed)));
    assert_eq!(ended.error.as_deref(), Some("thrown: 1"));
    node.stop().await;
}

#[tokio::test]
async fn an_ended_job_is_returned_at_once_and_a_running_one_at_its_end() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let id = submit(&node, job("1")).await;
    let waits: Vec<_> = (0..3)
        .map(|_| {
            let jobs = node.jobs();
            tokio::spawn(async move { jobs.wait(&caller(), id, None).await })
        })
        .collect();
    let claimed = hand.take().await;
    hand.finish(&claimed, "done").await;
    for wait in waits {
        assert_eq!(wait.await.unwrap().unwrap().output.as_deref(), Some("done"));
    }
    let again = node.jobs().wait(&caller(), id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(again.output.as_deref(), Some("done"));
    node.stop().await;
}

#[tokio::test]
async fn a_wait_that_is_over_names_the_job_and_the_job_goes_on() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let error = node.jobs().run(&caller(), job("1"), Some(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::WaitTimeout);
    let id = error.job_id().expect("it names the job");
    let error = node.jobs().wait(&caller(), id, Some(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!((error.reason(), error.job_id()), (Reason::WaitTimeout, Some(id)));
    let claimed = hand.take().await;
    hand.finish(&claimed, "late").await;
    assert_eq!(node.jobs().wait(&caller(), id, None).await.unwrap().output.as_deref(), Some("late"));
    node.stop().await;
}

#[tokio::test]
async fn a_wait_without_a_bound_lasts_the_timeout_and_the_allowance() {
    let node = Node::start_with(|config| config.wait.queue_allowance_ms = 100).await;
    let begun = Instant::now();
    let one_second = NewJob { timeout_s: 1, ..job("1") };
    let error = node.jobs().run(&caller(), one_second, None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::WaitTimeout);
    assert!(begun.elapsed() >= Duration::from_millis(1_100), "{:?}", begun.elapsed());
    node.stop().await;
}

#[tokio::test]
async fn an_end_that_nobody_announced_is_found() {
    let node = Node::start().await;
    let id = submit(&node, job("1")).await;
    let jobs = node.jobs();
    let wait = tokio::spawn(async move { jobs.wait(&caller(), id, None).await });
    // An outside actor writes the status back, as it always could, and tells nobody.
    let mut redis = node.redis.connection().unwrap();
    let write = ["HSET", &format!("hero:job:{id}"), "status", "finished", "output", "from outside"];
    let mut command = redis::cmd(write[0]);
    command.arg(&write[1..]).exec(&mut redis).unwrap();
    let ended = tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.output.as_deref(), Some("from outside"));
    node.stop().await;
}

#[tokio::test]
async fn a_deleted_job_ends_its_waits() {
    let node = Node::start().await;
    let id = submit(&node, job("1")).await;
    let jobs = node.jobs();
    let wait = tokio::spawn(async move { jobs.wait(&caller(), id, None).await });
    node.jobs().delete(&caller(), id).await.unwrap();
    let error = wait.await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.job_id()), (Reason::JobNotFound, Some(id)));
    node.stop().await;
}

#[tokio::test]
async fn a_run_that_was_asked_for_before_waits_for_the_first_job() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let keyed = || NewJob { idempotency_key: Some("once".into()), ..job("1") };
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let (jobs, new) = (node.jobs(), keyed());
            tokio::spawn(async move { jobs.run(&caller(), new, None).await })
        })
        .collect();
    let claimed = hand.take().await;
    hand.finish(&claimed, "once").await;
    for run in runs {
        let ended = run.await.unwrap().unwrap();
        assert_eq!((ended.id, ended.output.as_deref()), (claimed.id, Some("once")));
    }
    let again = node.jobs().run(&caller(), keyed(), None).await.unwrap();
    assert_eq!(again.id, claimed.id);
    node.stop().await;
}

#[tokio::test]
async fn waiters_are_bounded_and_a_dropped_call_frees_its_place() {
    let node = Node::start_with(|config| config.wait.max_waiters = 1).await;
    let hand = node.shared_hand().await;
    let id = submit(&node, job("1")).await;
    let wait = |id: JobId| {
        let jobs = node.jobs();
        tokio::spawn(async move { jobs.wait(&caller(), id, None).await })
    };
    let first = wait(id);
    node.is_waited_on().await;
    let refused = node.jobs().wait(&caller(), id, Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::TooManyRequests);
    assert!(refused.retry_after_ms().is_some());
    let error = node.jobs().run(&caller(), job("2"), None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::TooManyRequests);
    first.abort();
    until("the place is free again", || async {
        let error = node.jobs().wait(&caller(), id, Some(Duration::ZERO)).await.unwrap_err();
        (error.reason() == Reason::WaitTimeout).then_some(())
    })
    .await;
    let second = wait(id);
    let claimed = hand.take().await;
    assert_eq!(claimed.id, id, "the refused run left no job behind");
    hand.finish(&claimed, "").await;
    assert_eq!(second.await.unwrap().unwrap().id, id);
    node.stop().await;
}

#[tokio::test]
async fn who_still_waits_when_the_server_stops_is_told_that_the_job_goes_on() {
    let node = Node::start_with(|config| config.drain.grace_ms = 6_000).await;
    let id = submit(&node, job("1")).await;
    let jobs = node.jobs();
    let wait = tokio::spawn(async move { jobs.wait(&caller(), id, None).await });
    node.is_waited_on().await;
    let begun = Instant::now();
    node.begin_to_stop();
    let error = wait.await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.job_id()), (Reason::ShuttingDown, Some(id)));
    let status = hero_store::JobStore::status(&node.store, id, None).await.unwrap();
    assert_eq!(status, JobStatus::Dispatched);
    node.stop().await;
    // It is told at half of the grace, so that there is time to say it.
    assert!(begun.elapsed() < Duration::from_millis(5_500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_job_that_ends_while_the_server_stops_is_still_answered() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let jobs = node.jobs();
    let run = tokio::spawn(async move { jobs.run(&caller(), job("1"), None).await });
    let claimed = hand.take().await;
    node.begin_to_stop();
    hand.finish(&claimed, "in time").await;
    assert_eq!(run.await.unwrap().unwrap().output.as_deref(), Some("in time"));
    node.stop().await;
}

#[tokio::test]
async fn a_failed_run_leaves_nobody_waiting() {
    let node = Node::start_with(|config| config.wait.max_waiters = 1).await;
    for _ in 0..3 {
        let bad = NewJob { prerequisites: vec![JobId::mint()], ..job("1") };
        let error = node.jobs().run(&caller(), bad, None).await.unwrap_err();
        assert_eq!(error.reason(), Reason::PrerequisiteNotFound);
    }
    let id = submit(&node, job("1")).await;
    assert_eq!(get(&node, id).await.status, JobStatus::Dispatched);
    node.stop().await;
}
