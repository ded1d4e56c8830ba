//! Ten thousand callers that wait at once in one supervisor: in a process of their own, for they leave others little.

#[path = "supervisor/node.rs"]
#[allow(dead_code, reason = "the other tests use the rest of it")]
mod node;

use std::time::Duration;

use hero_domain::{Job, JobId, Reason, ports::Jobs as _};
use hero_proto::GrpcJobs;
use hero_runtime::{ChannelConfig, grpc};
use hero_store::{Claim, Finish, JobStore as _, Lane, Outcome};
use tokio::{task::JoinSet, time::Instant};

use crate::node::{Hand, Node, caller, job};

const MANY: usize = 10_000;
const A_CALL: usize = 1_000;
const CONNECTIONS: usize = 4;
/// Ten thousand of anything take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for one job, as often as it is told: later.
async fn wait(jobs: GrpcJobs, id: JobId) -> Job {
    loop {
        match jobs.wait(&caller(), id, Some(PATIENCE)).await {
            Err(error) if [Reason::TooManyRequests, Reason::StoreUnavailable].contains(&error.reason()) => {
                let pause = Duration::from_millis(error.retry_after_ms().unwrap_or(1).min(50));
                tokio::time::sleep(pause).await;
            }
            answer => return answer.expect("the job ends"),
        }
    }
}

/// Every place is taken once one more is refused.
async fn all_wait(node: &Node, id: JobId) {
    let begun = Instant::now();
    loop {
        match node.jobs().wait(&caller(), id, Some(Duration::ZERO)).await {
            Err(error) if error.reason() == Reason::TooManyRequests => return,
            _ => assert!(begun.elapsed() < PATIENCE, "still waiting until all of them wait"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Takes whatever waits and finishes it, until nothing does.
async fn finish_all(hand: &Hand) {
    let lane = Lane { script_type: hero_domain::ScriptType::Osis, circle: None };
    let claim = Claim { lane, taken: Vec::new(), want: A_CALL, low_first: false };
    let mut reports: Vec<Finish> = Vec::new();
    loop {
        let answer = hand.store.exchange(&hand.session, &reports, Some(&claim)).await.unwrap();
        let outcome = Outcome::Finished { output: "1".to_owned() };
        let finished = |id, attempt| Finish { id, attempt, outcome: outcome.clone(), jitter: 0.0 };
        reports = answer.jobs.iter().map(|job| finished(job.id, job.attempt)).collect();
        if reports.is_empty() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_wait_at_once_and_who_goes_away_gives_its_place_back() {
    let node = Node::start_with(|config| config.wait.max_waiters = MANY).await;
    let hand = node.shared_hand().await;
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..MANY / A_CALL {
        ids.extend(node.jobs().submit(&caller(), vec![job("1"); A_CALL]).await.unwrap());
    }
    let connect = || GrpcJobs::new(grpc::channel(&node.address, &ChannelConfig::default()));
    let connections: Vec<GrpcJobs> = (0..CONNECTIONS).map(|_| connect()).collect();
    let (mut waits, mut leaving) = (JoinSet::new(), JoinSet::new());
    for (n, id) in ids.iter().copied().enumerate() {
        let connection = n % CONNECTIONS;
        let waits = if connection == 0 { &mut leaving } else { &mut waits };
        waits.spawn(wait(connections[connection].clone(), id));
    }
    all_wait(&node, ids[0]).await;

    // A quarter of them hang up, and as many others take their places.
    leaving.shutdown().await;
    for id in ids.iter().copied().step_by(CONNECTIONS) {
        waits.spawn(wait(connections[1].clone(), id));
    }
    all_wait(&node, ids[0]).await;

    finish_all(&hand).await;
    let mut answered = 0;
    while let Some(job) = waits.join_next().await {
        assert_eq!(job.unwrap().output.as_deref(), Some("1"));
        answered += 1;
    }
    assert_eq!(answered, MANY);
    node.stop().await;
}
