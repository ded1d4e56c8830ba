//! How a runner stops taking jobs.

use std::time::{Duration, Instant};

use hero_domain::{
    JobStatus, RunnerState,
    ScriptType::{Osis, Python},
};
use hero_store::JobStore;

use crate::setup::{Node, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_running_jobs_finish_and_takes_no_new_ones() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let running = node.submit_script(Python, "import time\nprint('go', flush=True)\ntime.sleep(1)").await;
    node.logged(running, "go").await;
    runner.stop().await;
    assert_eq!(node.ended(running).await.status, JobStatus::Finished);
    let late = node.submit_script(Osis, "1").await;
    assert_eq!(node.store.status(late, None).await.unwrap(), JobStatus::Dispatched);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_hands_back_what_does_not_finish_in_time() {
    let node = Node::start();
    let runner = node.runner(|config| config.drain.grace_ms = 1_000).await;
    let python = node.submit_script(Python, "print('go', flush=True)\nwhile True: pass").await;
    let osis = node.submit_script(Osis, "print(\"go\"); loop { }").await;
    node.logged(python, "go").await;
    node.logged(osis, "go").await;
    let begun = Instant::now();
    runner.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for id in [python, osis] {
        assert_eq!(node.store.status(id, None).await.unwrap(), JobStatus::Dispatched);
    }
    // The next runner takes them up.
    let next = node.runner(|config| config.drain.grace_ms = 1_000).await;
    assert_eq!(node.begun(python).await.attempt, 2);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_can_drain_a_runner_and_take_it_back() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let first = node.submit_script(Osis, "1").await;
    let id = node.ended(first).await.runner_id.unwrap();
    node.store.drain(&id, true).await.unwrap();
    until("it drains", async || {
        let runners = node.store.runners().await.ok()?;
        (runners[0].state == RunnerState::Draining).then_some(())
    })
    .await;
    // One renewal later the runner knows, whichever way the word took.
    let seen = node.store.runners().await.unwrap()[0].last_seen_at;
    until("it has renewed its lease", async || {
        (node.store.runners().await.ok()?[0].last_seen_at > seen).then_some(())
    })
    .await;
    let waiting = node.submit_script(Osis, "2").await;
    let seen = node.store.runners().await.unwrap()[0].last_seen_at;
    until("it has renewed its lease again", async || {
        (node.store.runners().await.ok()?[0].last_seen_at > seen).then_some(())
    })
    .await;
    assert_eq!(node.store.status(waiting, None).await.unwrap(), JobStatus::Dispatched);
    node.store.drain(&id, false).await.unwrap();
    assert_eq!(node.ended(waiting).await.output.as_deref(), Some("2"));
    runner.stop().await;
}
