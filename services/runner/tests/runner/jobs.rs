//! Jobs from claim to end.

use std::time::{Duration, Instant};

use hero_domain::{
    ErrorKind, JobStatus, NewJob,
    ScriptType::{Osis, Python},
};
use hero_store::{JobStore, Stopped};

use crate::setup::{Node, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_both_types_run_to_their_end() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let osis = node.submit_script(Osis, "print(\"hello\"); #{who: CALLER_ID, id: JOB_ID}").await;
    let python = node.submit_script(Python, "print('out', CONTEXT_ID)").await;

    let job = node.ended(osis).await;
    assert_eq!((job.status, job.error), (JobStatus::Finished, None));
    assert_eq!(job.output.as_deref(), Some(format!(r#"{{"id":"{osis}","who":"anonymous"}}"#).as_str()));
    assert_eq!((job.attempt, job.runner_id.is_some()), (1, true));
    assert_eq!(node.log(osis).await, "hello\n");

    let job = node.ended(python).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("out default\n")));
    assert_eq!(node.log(python).await, "out default\n");
    runner.stop().await;
    assert!(node.store.runners().await.unwrap().is_empty(), "it has signed out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_fail_say_why() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    for (script_type, script, kind, words) in [
        (Osis, "let = 1", ErrorKind::InvalidScript, "line 1, column 5"),
        (Osis, "1 / 0", ErrorKind::ScriptFailed, "line 1, column 3"),
        (Python, "x = = 1", ErrorKind::InvalidScript, "line 1, column 5"),
        (Python, "raise ValueError('no')", ErrorKind::ScriptFailed, "ValueError: no"),
    ] {
        let id = node.submit_script(script_type, script).await;
        let job = node.ended(id).await;
        assert_eq!((job.status, job.error_kind), (JobStatus::Error, Some(kind)), "{script}");
        assert!(job.error.as_deref().is_some_and(|error| error.contains(words)), "{script}: {:?}", job.error);
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_log_line_is_there_when_the_job_has_ended() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let osis = node.submit_script(Osis, "for n in 0..5000 { print(n) }").await;
    let python = node.submit_script(Python, "for n in range(5000): print(n)").await;
    for id in [osis, python] {
        assert_eq!(node.ended(id).await.status, JobStatus::Finished);
        let log = node.log(id).await;
        assert_eq!(log.lines().count(), 5000);
        assert!(log.ends_with("4998\n4999\n"));
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_cut_at_its_limit_and_says_so_once() {
    let node = Node::start();
    let runner = node.runner(|config| config.limits.max_log_bytes = 10_000).await;
    let id = node.submit_script(Python, "for n in range(100000): print('a line of some length', n)").await;
    assert_eq!(node.ended(id).await.status, JobStatus::Finished);
    let log = node.log(id).await;
    assert!(log.len() < 20_000, "{}", log.len());
    assert!(!log.lines().last().unwrap().starts_with("a line"), "{:?}", log.lines().last());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_kills_a_running_job_at_once() {
    let node = Node::start();
    let runner = node.runner(|config| config.lease_ms = 60_000).await;
    let scripts = [(Osis, "print(\"go\"); loop { }"), (Python, "print('go', flush=True)\nwhile True: pass")];
    for (script_type, script) in scripts {
        let id = node.submit_script(script_type, script).await;
        node.logged(id, "go").await;
        let asked = Instant::now();
        assert!(matches!(node.store.stop(id, None).await.unwrap(), Stopped::Asked(_)));
        let job = node.ended(id).await;
        assert_eq!((job.status, job.error_kind), (JobStatus::Error, Some(ErrorKind::Stopped)));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_deleted_while_it_runs_is_killed() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let script = "import time\nprint('go', flush=True)\ntime.sleep(1000)";
    let id = node.submit_script(Python, script).await;
    node.logged(id, "go").await;
    node.store.delete(id, None).await.unwrap();
    until("the slot is free", async || {
        let runners = node.store.runners().await.ok()?;
        (runners[0].busy == 0).then_some(())
    })
    .await;
    assert!(node.store.get(id, None).await.is_err());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_is_enforced() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let mut job = NewJob::new(Osis, "loop { }");
    job.timeout_s = 1;
    let id = node.submit(job).await;
    assert_eq!(node.ended(id).await.error_kind, Some(ErrorKind::Timeout));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_jobs_run_than_there_are_slots() {
    let node = Node::start();
    let runner = node.runner(|config| config.python.slots = 2).await;
    let script = "import time\ntime.sleep(0.4)";
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(node.submit_script(Python, script).await);
    }
    // A job's own times tell what ran together: statuses that are asked for one after the other
    // would mix moments.
    let mut moments = Vec::new();
    for id in ids {
        let job = node.ended(id).await;
        assert_eq!((job.status, job.attempt), (JobStatus::Finished, 1));
        moments.push((job.started_at.unwrap(), 1));
        moments.push((job.finished_at.unwrap(), -1));
    }
    moments.sort_unstable();
    let mut running = 0;
    let most = moments.iter().map(|(_, change)| {
        running += change;
        running
    });
    assert_eq!(most.max(), Some(2));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_jobs_flow_and_each_ends_once() {
    const JOBS: usize = 3_000;
    let node = Node::start();
    let jobs: Vec<_> = (0..JOBS).map(|n| NewJob::new(Osis, format!("{} + 1", n % 10))).collect();
    let mut ids = Vec::new();
    for batch in jobs.chunks(500) {
        ids.extend(node.store.create(batch, true).await.unwrap().into_iter().map(|created| created.id));
    }
    let runner = node.runner(|_| {}).await;
    for (n, id) in ids.into_iter().enumerate() {
        let job = node.ended(id).await;
        assert_eq!(job.output, Some((n % 10 + 1).to_string()));
        assert_eq!(job.attempt, 1);
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_share_the_work_and_never_a_job() {
    let node = Node::start();
    let (one, two) = (node.runner(|_| {}).await, node.runner(|_| {}).await);
    until("both have signed in", async || (node.store.runners().await.ok()?.len() == 2).then_some(())).await;
    let jobs: Vec<_> = (0..2_000).map(|_| NewJob::new(Osis, "1")).collect();
    let ids: Vec<_> = node.store.create(&jobs, true).await.unwrap().into_iter().map(|c| c.id).collect();
    for id in ids {
        assert_eq!(node.ended(id).await.attempt, 1);
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_without_python_says_so_and_serves_the_rest() {
    let node = Node::start();
    let runner = node
        .runner(|config| {
            config.script_types = vec![Osis, Python];
            config.python.interpreter = "/nowhere/python3".into();
        })
        .await;
    let id = node.submit_script(Osis, "1").await;
    assert_eq!(node.ended(id).await.status, JobStatus::Finished);
    assert_eq!(node.store.runners().await.unwrap()[0].script_types, [Osis]);
    runner.stop().await;
}
