//! Bytes that a context may keep: those that ended first make room, and what finds none is refused.

use std::{collections::BTreeMap, num::NonZeroU64};

use hero_domain::{ErrorKind, JobId, LogStream, NewJob};
use hero_store::{Claimed, Error, JobStore, Outcome, Session, Store};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use redis::Commands as _;

use crate::{
    fixture::Fixture as _,
    redis_store::OnRedis,
    world::{World, claim, failed, finished, of_context, osis, report},
};

/// What a job is counted for beside its texts.
const A_JOB: u64 = 600;

/// The same store with a budget.
fn with_budget(w: &World<OnRedis>, bytes: u64) -> Store {
    w.fixture().store().clone().with_context_budget(NonZeroU64::new(bytes))
}

/// A job of a context whose script has so many bytes.
fn sized(context: &str, bytes: usize) -> NewJob {
    NewJob { script: "1".repeat(bytes), ..of_context(context) }
}

async fn submit(store: &Store, job: NewJob) -> JobId {
    store.create(&[job], true).await.expect("there is room")[0].id
}

async fn is_there(store: &Store, id: JobId) -> bool {
    store.get(id, None).await.is_ok()
}

/// What the store has counted, by context.
fn counted(w: &World<OnRedis>) -> BTreeMap<String, u64> {
    w.fixture().behind().hgetall("hero:jobs:bytes").expect("a hash")
}

#[tokio::test]
async fn nothing_is_counted_without_a_budget() {
    let w = World::<OnRedis>::open().await;
    let runner = w.runner("a").await;
    w.submit(osis()).await;
    w.run_next(&runner).await;
    w.settle().await;
    let keys: Vec<String> = w.fixture().behind().keys("hero:jobs:[bk]*").unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_context_full_of_jobs_that_wait_refuses_new_ones_and_others_go_on() {
    let w = World::<OnRedis>::open().await;
    let store = with_budget(&w, 3 * (A_JOB + 100));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submit(&store, sized("a b", 100)).await);
    }
    assert_eq!(counted(&w), BTreeMap::from([("a b".to_owned(), 3 * (A_JOB + 100))]));
    let batch = [sized("other", 10), sized("a b", 1), sized("a b", 1)];
    match store.create(&batch, true).await {
        Err(Error::ContextFull { index: 1, context, bytes, most }) => {
            assert_eq!((context.as_str(), bytes, most), ("a b", 2_100, 2_100));
        }
        answer => panic!("{answer:?}"),
    }
    assert_eq!(store.list(&Default::default()).await.unwrap().ids.len(), 3, "all or none");
    submit(&store, sized("other", 10)).await;
    store.delete(ids[1], None).await.unwrap();
    submit(&store, sized("a b", 100)).await;
    let explanation = store.explain(ids[0], None).await.unwrap();
    assert_eq!(explanation.context_bytes.map(|it| (it.bytes, it.most)), Some((2_100, 2_100)));
    assert!(explanation.reasons().last().unwrap().contains("keeps 2100 of 2100 bytes"), "{explanation:?}");
}

#[tokio::test]
async fn the_jobs_that_ended_first_make_room() {
    let w = World::<OnRedis>::open().await;
    let store = with_budget(&w, 4 * (A_JOB + 100) + 50);
    let runner = w.runner("a").await;
    let keyed = NewJob { idempotency_key: Some("k".to_owned()), ..sized("c", 100) };
    let mut ids = vec![submit(&store, keyed.clone()).await];
    for _ in 0..3 {
        ids.push(submit(&store, sized("c", 100)).await);
    }
    // The second ends first, and then the first.
    let jobs = store.exchange(&runner, &[], Some(&claim(3))).await.unwrap().jobs;
    for job in [&jobs[1], &jobs[0]] {
        w.advance(10).await;
        store.exchange(&runner, &[finished(job, "42")], None).await.unwrap();
    }
    assert_eq!(store.create(std::slice::from_ref(&keyed), true).await.unwrap()[0].id, ids[0]);
    let fifth = submit(&store, sized("c", 100)).await;
    assert!(!is_there(&store, ids[1]).await && is_there(&store, ids[0]).await);
    let sixth = submit(&store, sized("c", 100)).await;
    assert!(!is_there(&store, ids[0]).await);
    for id in [ids[2], ids[3], fifth, sixth] {
        assert!(is_there(&store, id).await, "what has not ended stays");
    }
    store.exchange(&runner, &[finished(&jobs[2], "42")], None).await.unwrap();
    assert_ne!(submit(&store, keyed).await, ids[0], "its key went with it");
}

#[tokio::test]
async fn a_job_that_is_larger_than_the_budget_drives_nothing_out() {
    let w = World::<OnRedis>::open().await;
    let store = with_budget(&w, 2_000);
    let runner = w.runner("a").await;
    let id = submit(&store, sized("c", 10)).await;
    w.run_next(&runner).await;
    let refused = store.create(&[sized("c", 1_500)], true).await;
    assert!(matches!(refused, Err(Error::ContextFull { index: 0, .. })), "{refused:?}");
    assert!(is_there(&store, id).await);
}

#[tokio::test]
async fn outputs_and_logs_beyond_the_budget_are_let_go_of_by_the_sweep() {
    let w = World::<OnRedis>::open().await;
    let (store, tight) = (with_budget(&w, 1 << 20), with_budget(&w, 10_000));
    let runner = w.runner("a").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let id = submit(&store, sized("c", 10)).await;
        let job = w.claim_one(&runner).await;
        let lines = [(LogStream::Stdout, "x".repeat(1_500))];
        store.append_log(id, job.attempt, 0, &lines, 1 << 20).await.unwrap();
        assert_eq!(counted(&w)["c"], n * 5_110 + A_JOB + 10 + 1_500, "a log counts at once");
        let end = Outcome::Finished { output: "y".repeat(3_000) };
        store.exchange(&runner, &[report(&job, end)], None).await.unwrap();
        w.advance(1).await;
        ids.push(id);
    }
    assert_eq!(counted(&w)["c"], 3 * 5_110);
    tight.sweep().await.unwrap();
    assert_eq!(counted(&w)["c"], 5_110);
    assert!(is_there(&store, ids[2]).await);
    assert!(!is_there(&store, ids[0]).await && !is_there(&store, ids[1]).await);
}

#[tokio::test]
async fn hundreds_of_ended_jobs_are_let_go_of_in_steps() {
    let w = World::<OnRedis>::open().await;
    let generous = with_budget(&w, 1 << 30);
    let runner = w.runner("a").await;
    for _ in 0..4 {
        generous.create(&vec![osis(); 100], true).await.unwrap();
        let jobs = w.claim(&runner, 100).await;
        let ends: Vec<_> = jobs.iter().map(|job| finished(job, "")).collect();
        generous.exchange(&runner, &ends, None).await.unwrap();
    }
    let tight = with_budget(&w, 100 * A_JOB);
    submit(&tight, osis()).await;
    assert_eq!(tight.list(&all()).await.unwrap().ids.len(), 301, "one call lets go of a hundred");
    while tight.sweep().await.unwrap().more {}
    let left = tight.list(&all()).await.unwrap().ids.len();
    assert!((90..=100).contains(&left), "{left}");
    assert!(counted(&w)["default"] <= 100 * A_JOB);
}

fn all() -> hero_domain::JobFilter {
    hero_domain::JobFilter { limit: Some(1_000), ..Default::default() }
}

/// What happens to one world with a budget, drawn by numbers.
struct Chance<'a> {
    w: &'a World<OnRedis>,
    store: Store,
    runner: Session,
    ids: Vec<JobId>,
    running: Vec<Claimed>,
}

impl Chance<'_> {
    async fn go(&mut self, what: u16) {
        let pick = usize::from(what / 16);
        let id = self.ids.get(pick % self.ids.len().max(1)).copied();
        match what % 16 {
            0..4 => {
                let wish = NewJob {
                    retries: u32::from(what / 16 % 2),
                    retention_s: [0, 60][usize::from(what / 32 % 2)],
                    prerequisites: id.filter(|_| (what / 64).is_multiple_of(3)).into_iter().collect(),
                    idempotency_key: (what / 64).is_multiple_of(5).then(|| format!("k{}", what / 512)),
                    env_vars: (0..what / 64 % 2).map(|n| (format!("N{n}"), "v".to_owned())).collect(),
                    ..sized(["c", "d"][pick % 2], pick % 50 + 1)
                };
                match self.store.create(&[wish], what.is_multiple_of(2)).await {
                    Ok(created) => self.ids.push(created[0].id),
                    Err(Error::ContextFull { .. } | Error::PrerequisiteNotFound { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            4 => self.running.extend(self.w.claim(&self.runner, 3).await),
            5 if !self.running.is_empty() => {
                let job = self.running.swap_remove(pick % self.running.len());
                let end = match what / 16 % 3 {
                    0 => finished(&job, "some output"),
                    1 => failed(&job, ErrorKind::ScriptFailed),
                    _ => report(&job, Outcome::HandedBack),
                };
                self.store.exchange(&self.runner, &[end], None).await.unwrap();
            }
            6 | 7 if !self.running.is_empty() => {
                let job = &self.running[pick % self.running.len()];
                let lines = [(LogStream::Log, "a line".to_owned())];
                let before = u64::from(what / 16 % 3);
                self.store.append_log(job.id, job.attempt, before, &lines, 15).await.unwrap();
            }
            8 => drop(self.store.stop(id.unwrap_or_else(JobId::mint), None).await),
            9 => drop(self.store.delete(id.unwrap_or_else(JobId::mint), None).await),
            10 | 11 => drop(self.store.retry(id.unwrap_or_else(JobId::mint), None).await),
            12 => drop(self.store.start(id.unwrap_or_else(JobId::mint), None).await),
            13 => {
                self.w.advance([1, 2_000, 61_000][usize::from(what / 16 % 3)]).await;
                let known: Vec<JobId> = self.running.iter().map(|job| job.id).collect();
                self.w.renew(&self.runner, 1, &known).await.unwrap();
            }
            _ => while self.store.sweep().await.unwrap().more {},
        }
    }
}

/// What the jobs that are there take, by context.
fn measured(w: &World<OnRedis>) -> BTreeMap<String, u64> {
    let mut redis = w.fixture().behind();
    let mut sums = BTreeMap::new();
    let keys: Vec<String> = redis.keys("hero:job:????????-????-????-????-????????????").unwrap();
    for key in keys {
        let fields: BTreeMap<String, String> = redis.hgetall(&key).unwrap();
        let texts = ["script", "env_vars", "output", "error"].iter().filter_map(|name| fields.get(*name));
        let log: u64 = fields.get("log_bytes").map_or(0, |bytes| bytes.parse().unwrap());
        let bytes = A_JOB + log + texts.map(|text| text.len() as u64).sum::<u64>();
        *sums.entry(fields["context_id"].clone()).or_default() += bytes;
    }
    sums
}

#[test]
fn what_is_counted_is_what_is_there_whatever_has_happened() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let w = runtime.block_on(World::<OnRedis>::open());
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    proptest!(config, |(history in vec(any::<u16>(), 1..150))| {
        runtime.block_on(async {
            w.fixture().reset();
            let (store, runner) = (with_budget(&w, 8_000), w.runner("a").await);
            let mut chance = Chance { w: &w, store, runner, ids: Vec::new(), running: Vec::new() };
            for what in history {
                chance.go(what).await;
            }
            // What has expired is found by the sweep.
            while chance.store.sweep().await.unwrap().more {}
            assert_eq!(counted(&w), measured(&w));
            let ended: usize = w.list(&all()).await.unwrap().ids.len();
            assert_eq!(w.clear(None).await.unwrap() as usize, ended);
            assert_eq!(counted(&w), BTreeMap::new());
            let left: Vec<String> = w.fixture().behind().keys("hero:jobs:[bk]*").unwrap();
            assert_eq!(left, Vec::<String>::new());
        });
    });
}
