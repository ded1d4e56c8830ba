//! Redis goes away and comes back; a runner dies; two runners have one id.

use std::time::Duration;

use hero_domain::{
    JobStatus,
    ScriptType::{Osis, Python},
};
use hero_store::JobStore;

use crate::setup::{Node, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_waits_for_redis_to_come_back() {
    let mut node = Node::start();
    let runner = node.runner(|config| config.lease_ms = 60_000).await;
    let script = "import time\nprint('go', flush=True)\ntime.sleep(1)\nprint('done')";
    let id = node.submit_script(Python, script).await;
    node.logged(id, "go").await;
    node.redis.kill();
    // The script ends while Redis is away.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    node.redis.restart().unwrap();
    let job = node.ended(id).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("go\ndone\n")));
    assert_eq!(job.attempt, 1);
    assert_eq!(node.log(id).await, "go\ndone\n");
    // And it works on.
    let next = node.submit_script(Osis, "2").await;
    assert_eq!(node.ended(next).await.output.as_deref(), Some("2"));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_flow_on_when_redis_is_killed_under_load() {
    let mut node = Node::start();
    let runner = node.runner(|_| {}).await;
    let jobs: Vec<_> = (0..5_000).map(|_| hero_domain::NewJob::new(Osis, "1")).collect();
    let mut ids = Vec::new();
    for batch in jobs.chunks(1_000) {
        ids.extend(node.store.create(batch, true).await.unwrap().into_iter().map(|created| created.id));
    }
    node.ended(ids[500]).await;
    node.redis.kill();
    node.redis.restart().unwrap();
    for id in ids {
        // A durable Redis may forget its last second: a job that it knows ends, in whichever attempt.
        if let Ok(job) = node.store.get(id, None).await {
            assert!(job.status.is_ended() || node.ended(id).await.status == JobStatus::Finished);
        }
    }
    runner.stop().await;
}

fn set_rights(node: &Node, rights: &[&str]) {
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("default").arg(rights);
    set.exec(&mut node.redis.connection().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_hears_nothing_of_its_queues_is_not_ready_then_not_alive_and_comes_back() {
    let node = Node::start();
    let runner = node.runner(|config| config.stall_ms = 1_000).await;
    let first = node.submit_script(Osis, "1").await;
    node.ended(first).await;
    assert!(runner.cx.health.is_ready());
    // Its lease may still be renewed: only the queues are out of its reach.
    let others = [
        "leases",
        "limits:*",
        "runner*",
        "q:inflight:*",
        "q:control:*",
        "events",
        "job:*",
        "jobs*",
        "meta:*",
    ];
    let others: Vec<String> = others.iter().map(|keys| format!("~hero:{keys}")).collect();
    let rights: Vec<&str> = ["resetkeys"].into_iter().chain(others.iter().map(String::as_str)).collect();
    set_rights(&node, &rights);
    until("it is not ready", async || {
        let report = runner.cx.health.report();
        report.conditions["work"].contains("not heard of").then_some(())
    })
    .await;
    assert_eq!(runner.cx.health.report().conditions["job_store"], "ok");
    let stalls = until("it is not alive", async || runner.cx.health.stalls().pop()).await;
    assert!(stalls.contains("OSIS"), "{stalls}");

    set_rights(&node, &["allkeys"]);
    let next = node.submit_script(Osis, "2").await;
    assert_eq!(node.ended(next).await.output.as_deref(), Some("2"));
    until("it is ready and alive", async || runner.cx.health.is_ready().then_some(())).await;
    assert_eq!(runner.cx.health.stalls(), Vec::<String>::new());
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_waits_for_a_redis_that_is_not_there_yet() {
    let mut node = Node::start();
    node.redis.kill();
    let runner = node.runner(|_| {}).await;
    until("it says why it is not ready", async || {
        let report = runner.cx.health.report();
        report.conditions.get("job_store")?.contains("cannot sign in").then_some(())
    })
    .await;
    assert!(!runner.cx.health.is_ready());
    node.redis.restart().unwrap();
    until("it is ready", async || runner.cx.health.is_ready().then_some(())).await;
    let id = node.submit_script(Osis, "1").await;
    assert_eq!(node.ended(id).await.status, JobStatus::Finished);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_can_stop_while_redis_is_away() {
    let mut node = Node::start();
    let runner = node.runner(|config| config.drain.grace_ms = 1_000).await;
    let id = node.submit_script(Osis, "1").await;
    node.ended(id).await;
    node.redis.kill();
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jobs_of_a_runner_that_died_run_again() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let script = "import os, time\nprint('attempt', os.getpid(), flush=True)\ntime.sleep(1000)";
    let id = node.submit_script(Python, script).await;
    node.logged(id, "attempt").await;
    runner.abandon().await;
    until("the lease is over", async || {
        node.store.sweep().await.ok()?;
        (node.store.status(id, None).await.ok()? == JobStatus::Dispatched).then_some(())
    })
    .await;
    let next = node.runner(|config| config.drain.grace_ms = 500).await;
    assert_eq!(node.begun(id).await.attempt, 2);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_runners_with_one_id_the_earlier_kills_its_jobs_and_signs_in_anew() {
    let node = Node::start();
    let first = node.runner(|config| config.id = "twin".to_owned()).await;
    let script = "import time\nprint('go', flush=True)\ntime.sleep(1000)";
    let id = node.submit_script(Python, script).await;
    node.logged(id, "go").await;
    // What another process of this id would do.
    let sign_in = hero_store::SignIn {
        id: "twin".parse().unwrap(),
        session: "another".to_owned(),
        script_types: vec![Osis],
        circles: Vec::new(),
        slots: 1,
        slots_by_type: std::collections::BTreeMap::new(),
        not_offered: std::collections::BTreeMap::new(),
        host: "elsewhere".to_owned(),
        version: "0".to_owned(),
        sandbox: String::new(),
        lease: Duration::from_secs(10),
    };
    node.store.sign_in(&sign_in).await.unwrap();
    let job = node.job(id, "the job begins again", |job| job.attempt >= 2).await;
    assert_eq!(job.status, JobStatus::Started);
    node.store.stop(id, None).await.unwrap();
    node.ended(id).await;
    first.stop().await;
}
