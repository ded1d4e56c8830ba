//! Many submits at once share calls to Redis, and still each has its own result.

use std::collections::HashSet;

use futures::future::join_all;
use hero_domain::{JobId, NewJob, Reason, ports::Jobs as _};

use crate::node::{Node, caller, job, submit};

/// How often the script that stores jobs has been called.
fn script_calls(node: &Node) -> u64 {
    let mut connection = node.redis.connection().unwrap();
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
    let line = info.lines().find(|line| line.starts_with("cmdstat_fcall:")).unwrap_or_default();
    let calls = line.split_once("calls=").and_then(|(_, rest)| rest.split(',').next());
    calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_crowd_shares_calls_and_every_job_is_stored_once() {
    // No sweep comes in between, so that the calls can be counted.
    let node = Node::start_with(|config| config.upkeep.sweep_interval_ms = 3_600_000).await;
    submit(&node, job("the first loads the script")).await;
    let before = script_calls(&node);
    let submits = (0..500).map(|number| {
        let jobs = node.jobs();
        async move { jobs.submit(&caller(), vec![job(&format!("{number}"))]).await.unwrap()[0] }
    });
    let ids: HashSet<JobId> = join_all(submits).await.into_iter().collect();
    let calls = script_calls(&node) - before;
    assert_eq!(ids.len(), 500);
    assert!(calls < 250, "{calls} calls for 500 submits");
    assert_eq!(node.jobs().clear(&caller()).await.unwrap(), 501);
    node.stop().await;
}

#[tokio::test]
async fn one_bad_submit_in_a_crowd_fails_alone() {
    let node = Node::start().await;
    let taken = submit(&node, job("1")).await;
    let submits = (0..200).map(|number| {
        let jobs = node.jobs();
        let new = match number % 20 {
            3 => NewJob { id: Some(taken), ..job("1") },
            7 => NewJob { prerequisites: vec![JobId::mint()], ..job("1") },
            _ => job("1"),
        };
        async move { (number, jobs.submit(&caller(), vec![job("good"), new]).await) }
    });
    let mut stored = 1;
    for (number, result) in join_all(submits).await {
        match number % 20 {
            3 => {
                let error = result.unwrap_err();
                assert_eq!((error.reason(), error.field()), (Reason::JobExists, Some("jobs[1].id")));
            }
            7 => {
                let error = result.unwrap_err();
                let expected = (Reason::PrerequisiteNotFound, Some("jobs[1].prerequisites"));
                assert_eq!((error.reason(), error.field()), expected);
            }
            _ => stored += result.unwrap().len() as u64,
        }
    }
    assert_eq!(node.jobs().clear(&caller()).await.unwrap(), stored);
    node.stop().await;
}
