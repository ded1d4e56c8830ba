//! What a claim and a finish cost with few and with many jobs in the very queue that is claimed from, asked of
//! the store directly: the queue is kept at its depth by adding as many jobs as are taken.

use std::time::{Duration, Instant};

use hero_domain::{NewJob, ScriptType};
use hero_store::{Claim, Exchanged, Finish, JobStore, Lane, Outcome, Session, SignIn, Store};

use super::Bench;
use crate::{
    load::SCRIPT,
    node::{Node, Staff},
    report::{Report, Target},
};

/// Jobs claimed and finished in one exchange.
const EXCHANGED: usize = 64;
/// Jobs of one step: added, then taken. A multiple of [`EXCHANGED`].
const STEP: usize = 640;

/// What one job costs.
#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    redis_us: f64,
    wall: Duration,
}

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("exchange", Staff::Nobody).await?;
    let store = node.store()?;
    let session = sign_in(&store).await?;
    let steps = bench.sizes.exchanged.div_ceil(STEP);
    let mut depth = 0;
    let mut few = None;
    for target in [bench.sizes.waiting_small, bench.sizes.waiting_large] {
        while depth < target {
            let jobs = (target - depth).min(1_000);
            add(&store, jobs).await?;
            depth += jobs;
        }
        let spent = take(&node, &store, &session, steps).await?;
        let name = format!("exchange.{target}");
        record(&mut bench.report, &name, spent, steps * STEP, few);
        few = few.or(Some(spent));
    }
    Ok(())
}

fn record(report: &mut Report, name: &str, spent: Spent, jobs: usize, few: Option<Spent>) {
    let redis_us = spent.redis_us / jobs as f64;
    let wall_us = spent.wall.as_secs_f64() * 1e6 / jobs as f64;
    report.plain(format!("{name}.redis"), redis_us, "us/job");
    report.plain(format!("{name}.wall"), wall_us, "us/job");
    if let Some(few) = few {
        let growth = (spent.redis_us / few.redis_us - 1.0) * 100.0;
        report.add(format!("{name}.growth"), growth, "%", Some(Target::AtMost(15.0)), None);
    }
}

async fn sign_in(store: &Store) -> anyhow::Result<Session> {
    let runner = SignIn {
        id: "bench-direct".parse()?,
        session: "bench".to_owned(),
        script_types: vec![ScriptType::Osis],
        circles: Vec::new(),
        slots: EXCHANGED as u32,
        slots_by_type: std::collections::BTreeMap::new(),
        not_offered: std::collections::BTreeMap::new(),
        host: "bench".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sandbox: String::new(),
        lease: Duration::from_secs(3_600),
    };
    Ok(store.sign_in(&runner).await?)
}

async fn add(store: &Store, jobs: usize) -> anyhow::Result<()> {
    store.create(&vec![NewJob::new(ScriptType::Osis, SCRIPT); jobs], true).await?;
    Ok(())
}

async fn take(node: &Node, store: &Store, session: &Session, steps: usize) -> anyhow::Result<Spent> {
    let claim = Claim {
        lane: Lane { script_type: ScriptType::Osis, circle: None },
        taken: Vec::new(),
        want: EXCHANGED,
        low_first: false,
    };
    let mut spent = Spent::default();
    for _ in 0..steps {
        add(store, STEP).await?;
        let before = node.redis.counters()?;
        let begin = Instant::now();
        let mut finished = Vec::new();
        for _ in 0..STEP / EXCHANGED {
            let exchanged = store.exchange(session, &finished, Some(&claim)).await?;
            finished = ends(&exchanged)?;
        }
        let last = store.exchange(session, &finished, None).await?;
        anyhow::ensure!(last.refused.is_empty(), "{} reports were refused", last.refused.len());
        spent.wall += begin.elapsed();
        let used = node.redis.counters()?.since(&before);
        // A script's own time includes the commands that it calls.
        spent.redis_us += used.get("fcall").map_or(0.0, |(_, usec)| *usec as f64);
    }
    Ok(spent)
}

fn ends(exchanged: &Exchanged) -> anyhow::Result<Vec<Finish>> {
    anyhow::ensure!(exchanged.refused.is_empty(), "{} reports were refused", exchanged.refused.len());
    anyhow::ensure!(exchanged.jobs.len() == EXCHANGED, "only {} jobs were claimed", exchanged.jobs.len());
    let end = |job: &hero_store::Claimed| Finish {
        id: job.id,
        attempt: job.attempt,
        outcome: Outcome::Finished { output: "42".to_owned() },
        jitter: 0.5,
    };
    Ok(exchanged.jobs.iter().map(end).collect())
}
