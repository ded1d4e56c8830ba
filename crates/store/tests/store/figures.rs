//! The figures of an overview: they agree with what is there, and cost the same however much that is.

use std::collections::HashMap;

use hero_domain::{ErrorKind, NewJob, Persistence, Priority, ScriptType, Stats};

use crate::{
    redis_store::OnRedis,
    world::{World, after, at, circle, of_context, osis},
};

async fn stats(w: &World<OnRedis>) -> Stats {
    w.stats(None, &[]).await.expect("figures")
}

#[tokio::test]
async fn figures_agree_with_what_is_there() {
    let w = World::<OnRedis>::open().await;
    let session = w.runner("one").await;
    assert_eq!(stats(&w).await.jobs.kept, 0);
    let first = w.submit(osis()).await;
    w.submit(after(&[first])).await;
    w.submit(NewJob { run_at: Some(at(60_000)), ..osis() }).await;
    w.submit(NewJob { priority: Priority::High, ..NewJob::new(ScriptType::V, "1") }).await;
    let running = w.claim_one(&session).await;
    assert_eq!(running.id, first);
    w.advance(5_000).await;
    w.submit(osis()).await;
    let told = stats(&w).await;
    let jobs = told.jobs;
    assert_eq!((jobs.kept, jobs.queued, jobs.failed), (5, 2, Some(0)));
    assert_eq!((jobs.delayed, jobs.waiting, jobs.started), (Some(1), Some(1), Some(1)));
    let lane = |script_type| told.lanes.iter().find(|lane| lane.script_type == script_type).expect("a lane");
    assert_eq!((lane(ScriptType::Osis).waiting, lane(ScriptType::Osis).oldest_ms), (1, Some(0)));
    assert_eq!((lane(ScriptType::V).waiting, lane(ScriptType::V).oldest_ms), (1, Some(5_000)));
    assert_eq!((lane(ScriptType::Osis).runners, lane(ScriptType::V).runners), (1, 0));
    assert_eq!((told.runners.alive, told.runners.slots), (1, 4));
    let store = told.store.expect("the node's store");
    assert!(store.used_bytes > 100_000 && store.version.contains('.'), "{store:?}");
    assert_ne!(store.persistence, Persistence::Log, "a test's Redis keeps nothing");

    w.fail(&session, &running, ErrorKind::ScriptFailed).await;
    let told = stats(&w).await;
    // What waited for it has failed with it.
    assert_eq!((told.jobs.started, told.jobs.waiting, told.jobs.failed), (Some(0), Some(0), Some(2)));
    let failure = told.failures.iter().find(|it| it.job_id == first).expect("the failure");
    assert_eq!((failure.error_kind, failure.error.as_str()), (Some(ErrorKind::ScriptFailed), "it broke"));
}

#[tokio::test]
async fn a_circle_is_told_of_its_own() {
    let w = World::<OnRedis>::open().await;
    let circle = circle();
    let own = NewJob { circle: Some(circle.clone()), ..of_context(circle.as_str()) };
    w.submit(own.clone()).await;
    w.submit_many(3).await;
    let told = w.stats(Some(&circle), &[]).await.expect("figures");
    assert_eq!((told.jobs.kept, told.jobs.queued, told.jobs.failed), (1, 1, None));
    assert!(told.store.is_none() && told.flow.is_empty());
    assert!(told.lanes.iter().all(|lane| lane.circle.as_ref() == Some(&circle)), "{:?}", told.lanes);
    let all = w.stats(None, std::slice::from_ref(&circle)).await.expect("figures");
    let of_circle: u64 = all.lanes.iter().filter(|lane| lane.circle.is_some()).map(|lane| lane.waiting).sum();
    assert_eq!((of_circle, all.jobs.queued), (1, 4), "a circle that nobody serves is seen too");
}

#[tokio::test]
async fn a_tally_counts_what_came_and_what_is_open() {
    let w = World::<OnRedis>::open().await;
    assert_eq!(w.tally().await.expect("a tally"), None, "nothing was ever created");
    let session = w.runner("one").await;
    w.submit_many(5).await;
    w.run_next(&session).await;
    let Some(tally) = w.tally().await.expect("a tally") else { return };
    assert_eq!((tally.created, tally.open), (5, 4));
}

/// Commands of each kind that Redis has done.
fn commands(w: &World<OnRedis>) -> HashMap<String, u64> {
    let told: String =
        redis::cmd("INFO").arg("commandstats").query(&mut *w.fixture().behind()).expect("counts");
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    told.lines().filter_map(line).collect()
}

#[tokio::test]
async fn figures_cost_the_same_however_many_jobs_there_are() {
    let w = World::<OnRedis>::open().await;
    w.submit_many(10).await;
    let mut costs = Vec::new();
    for more in [0, 2_000] {
        w.submit_many(more).await;
        let before: u64 = commands(&w).values().sum();
        stats(&w).await;
        costs.push(commands(&w).values().sum::<u64>() - before);
    }
    assert_eq!(costs[0], costs[1], "no command is added by jobs");
    let scans = commands(&w);
    assert!(!scans.contains_key("scan") && !scans.contains_key("keys"), "{scans:?}");
}
