//! A hundred thousand at once: worked off a bounded step at a time, and new work flows between the steps.

use std::time::Duration;

use hero_domain::NewJob;
use hero_store::{Exchanged, JobStore, Session};
use tokio::time::Instant;

use crate::{
    redis_store::OnRedis,
    world::{LEASE_MS, World, claim, finished, osis, signing_in},
};

const MANY: usize = 100_000;
const A_CALL: usize = 1_000;
/// What one step may touch.
const A_STEP: u64 = 100;
/// What one step may take: far more than it needs, and far less than anybody would notice.
const LONGEST: Duration = Duration::from_millis(500);

async fn submit(w: &World<OnRedis>, job: NewJob) {
    let jobs = vec![job; A_CALL];
    for _ in 0..MANY / A_CALL {
        w.create(&jobs, true).await.expect("a submit");
    }
}

/// Sweeps until nothing is left to do, and runs a new job every now and then; how much was done by `count`.
async fn work_off(w: &World<OnRedis>, runner: &Session, count: impl Fn(&hero_store::Swept) -> u64) -> u64 {
    let (mut total, mut steps) = (0, 0);
    loop {
        let begun = Instant::now();
        let step = w.sweep().await.expect("a sweep");
        assert!(begun.elapsed() < LONGEST, "step {steps} took {:?}", begun.elapsed());
        assert!(count(&step) <= A_STEP, "{step:?}");
        total += count(&step);
        steps += 1;
        if steps % 100 == 0 {
            let new = w.submit(NewJob { priority: hero_domain::Priority::High, ..osis() }).await;
            assert_eq!(w.run_next(runner).await, new, "new work flows");
        }
        if !step.more {
            return total;
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_due_jobs_are_promoted_in_steps_while_new_work_flows() {
    let w = World::<OnRedis>::open().await;
    let due = crate::world::at(60_000);
    submit(&w, NewJob { run_at: Some(due), ..osis() }).await;
    w.advance(60_000).await;
    let runner = w.runner("a").await;
    assert_eq!(work_off(&w, &runner, |step| step.promoted).await, MANY as u64);
}

#[tokio::test]
async fn a_hundred_thousand_orphaned_jobs_are_requeued_in_steps_while_new_work_flows() {
    let w = World::<OnRedis>::open().await;
    submit(&w, osis()).await;
    for name in 0..10 {
        let runner = w.sign_in(&signing_in(&format!("lost-{name}"), "s")).await.expect("a sign-in");
        for _ in 0..MANY / A_CALL / 10 {
            assert_eq!(w.claim(&runner, A_CALL).await.len(), A_CALL);
        }
    }
    w.advance(LEASE_MS + 1).await;
    let runner = w.runner("a").await;
    assert_eq!(work_off(&w, &runner, |step| step.requeued).await, MANY as u64);
}

#[tokio::test]
async fn a_hundred_thousand_expired_jobs_are_forgotten_in_steps_while_new_work_flows() {
    let w = World::<OnRedis>::open().await;
    submit(&w, NewJob { retention_s: 60, ..osis() }).await;
    let runner = w.runner("a").await;
    let (mut reports, mut ended) = (Vec::new(), 0);
    loop {
        let answer: Exchanged =
            w.exchange(&runner, &reports, Some(&claim(A_CALL))).await.expect("an exchange");
        ended += reports.len();
        reports = answer.jobs.iter().map(|job| finished(job, "42")).collect();
        if reports.is_empty() {
            break;
        }
    }
    assert_eq!(ended, MANY);
    w.advance(60_001).await;
    let runner = w.runner("b").await;
    assert_eq!(work_off(&w, &runner, |step| step.forgotten).await, MANY as u64);
}
