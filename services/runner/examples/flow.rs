//! How fast jobs that do nothing flow through one runner, without a gateway and a supervisor around it:
//! `cargo run --release -p hero-runner --example flow [jobs]`. A figure to compare two builds by; the product's
//! figures come from the bench.
#![allow(clippy::print_stdout, reason = "it is a command-line tool")]

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hero_domain::{JobId, NewJob, ScriptType};
use hero_redis::RedisConfig;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::{Address, Context, DrainConfig, Service, Shutdown};
use hero_store::{JobStore, Store, Waits};
use hero_testing::RedisServer;
use tokio_util::sync::CancellationToken;

const BATCH: usize = 500;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let jobs: usize = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let redis = RedisServer::start()?;
    let config = RunnerConfig {
        listen: Address::loopback(0),
        redis: RedisConfig::at(redis.url().parse()?),
        ..RunnerConfig::default()
    };
    let store = Store::connect(&config.redis)?;
    queue(&store, jobs).await?;

    let (trigger, shutdown) = Shutdown::new(DrainConfig::default());
    let runner = Runner::bind(config, &Context::detached()).await?;
    let begun = Instant::now();
    let running = tokio::spawn(runner.run(shutdown));
    while waiting(&store).await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed();
    println!("flow: {jobs} jobs in {took:?}, {:.0} jobs/s", jobs as f64 / took.as_secs_f64());

    let stop = CancellationToken::new();
    let waits = Waits::start(store.clone(), stop.clone());
    let mut times = Vec::new();
    for _ in 0..2_000 {
        times.push(round_trip(&store, &waits).await?);
    }
    times.sort_unstable();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    println!("one at a time, create to end: p50 {:?}, p99 {:?}, p99.9 {:?}", at(0.5), at(0.99), at(0.999));

    stop.cancel();
    trigger.drain().await;
    running.await?
}

async fn queue(store: &Store, jobs: usize) -> anyhow::Result<()> {
    let batch: Vec<_> = (0..BATCH).map(|_| NewJob::new(ScriptType::Osis, "1")).collect();
    let begun = Instant::now();
    for _ in 0..jobs / BATCH {
        store.create(&batch, true).await?;
    }
    println!("queue: {:.0} jobs/s", jobs as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

async fn waiting(store: &Store) -> anyhow::Result<u64> {
    Ok(store.queue_depths().await?.iter().map(|depth| depth.waiting).sum())
}

async fn round_trip(store: &Store, waits: &Waits) -> anyhow::Result<Duration> {
    let id = JobId::mint();
    let job = NewJob { id: Some(id), ..NewJob::new(ScriptType::Osis, "1") };
    let mut watch = waits.watch(id);
    let begun = Instant::now();
    store.create(&[job], true).await?;
    anyhow::ensure!(watch.ended(Duration::from_secs(10)).await, "the job did not end");
    store.get(id, None).await.context("the job is there")?;
    Ok(begun.elapsed())
}
