//! The end-to-end rate and the round trip once more, beside 1,000 and beside 1,000,000 jobs that wait for a
//! type that no runner serves, and what one of those waiting jobs takes in Redis.

use std::time::Instant;

use hero_domain::{NewJob, ScriptType};
use hero_store::JobStore;

use super::{
    Bench,
    end_to_end::submit_and_wait,
    enqueue::{BATCH, BATCHES_IN_FLIGHT},
    run_job::over_ws,
};
use crate::{
    http,
    load::{Call, Load},
    node::{Node, Staff},
    report::Target,
};

/// The type that nobody serves.
const UNSERVED: &str = "V";
/// The bytes of a script of a few lines.
const LONGER_SCRIPT: usize = 200;
/// Looks at the overview.
const LOOKS: usize = 200;
/// An open overview looks so often, as `overview.js` says.
const LOOK_EVERY_US: f64 = 2e6;
/// Of one processor.
const PAGE_PERCENT: f64 = 1.0;
/// Points of the chart on it.
const POINTS: usize = 150;
/// What the launcher sets for its own Redis.
const PACKED_BYTES: usize = 1_024;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("waiting", Staff::OneRunner).await?;
    submit_and_wait(&node, "warm-up", bench.sizes.end_to_end / 20 + 1).await?;
    let empty = node.redis.counters()?.used_memory;
    let (few, many) = (bench.sizes.waiting_small, bench.sizes.waiting_large);

    pile_up(bench, &node, few).await?;
    let few_rate = beside(bench, &node, few).await?;

    let before = node.redis.counters()?.used_memory;
    pile_up(bench, &node, many - few).await?;
    let bytes = (node.redis.counters()?.used_memory - before) as f64 / (many - few) as f64;
    bench.report.plain("waiting.used_memory_before", empty as f64 / f64::from(1 << 20), "MiB");
    bench.report.add("waiting.bytes_a_job", bytes, "bytes", Some(Target::AtMost(600.0)), None);
    let many_rate = beside(bench, &node, many).await?;
    let growth = (few_rate / many_rate - 1.0) * 100.0;
    bench.report.add("waiting.cost_growth", growth, "%", Some(Target::AtMost(15.0)), None);
    drop(node);
    longer_scripts(bench).await
}

/// What a waiting job with a script of some lines takes, the script aside: with Redis' own setting a value of
/// more than 64 bytes turns the whole record into a hash table; with the one that the launcher gives to its
/// Redis it stays packed.
async fn longer_scripts(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("longer-scripts", Staff::Nobody).await?;
    let store = node.store()?;
    let jobs = vec![NewJob::new(ScriptType::V, "x".repeat(LONGER_SCRIPT)); 1_000];
    for (name, packed_bytes) in [("as_installed", 64), ("packed", PACKED_BYTES)] {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("hash-max-listpack-value").arg(packed_bytes);
        set.exec(&mut node.redis.connect()?)?;
        store.create(&jobs, true).await?;
        let before = node.redis.counters()?.used_memory;
        let rounds = 20;
        for _ in 0..rounds {
            store.create(&jobs, true).await?;
        }
        let bytes = (node.redis.counters()?.used_memory - before) as f64 / (rounds * jobs.len()) as f64;
        let name = format!("waiting.bytes_a_job.script_{LONGER_SCRIPT}.{name}");
        bench.report.plain(name, bytes - LONGER_SCRIPT as f64, "bytes");
    }
    Ok(())
}

async fn pile_up(bench: &mut Bench<'_>, node: &Node, jobs: usize) -> anyhow::Result<()> {
    let load = Load::jobs(Call::SubmitMany(BATCH.min(jobs)), UNSERVED, jobs, BATCHES_IN_FLIGHT);
    let seen = node.ws().await?.load(load).await?.checked("submit_jobs")?;
    let rate = seen.rate() * load.call.jobs() as f64;
    bench.report.add(format!("waiting.enqueue.{jobs}"), rate, "/s", None, Some("floor.redis.enqueue"));
    Ok(())
}

/// Measures beside a backlog; the end-to-end rate.
async fn beside(bench: &mut Bench<'_>, node: &Node, waiting: usize) -> anyhow::Result<f64> {
    let name = format!("waiting.{waiting}");
    let (_, rate, cost) =
        submit_and_wait(node, &format!("{name}.end_to_end"), bench.sizes.end_to_end / 2).await?;
    bench.report.costs.push(cost);
    bench.report.add(format!("{name}.end_to_end.rate"), rate, "/s", None, Some("end_to_end.rate"));
    let one = Load::osis(Call::Run, bench.sizes.run_job / 2, 1);
    let many = Load::osis(Call::Run, bench.sizes.run_job_32 / 2, 32);
    over_ws(&mut bench.report, node, &format!("{name}.run_job"), one, many).await?;
    overview(bench, node, &name).await?;
    Ok(rate)
}

/// The figures of an overview beside a backlog.
async fn overview(bench: &mut Bench<'_>, node: &Node, name: &str) -> anyhow::Result<()> {
    const STATS: &str = r#"{"jsonrpc":"2.0","id":0,"method":"stats"}"#;
    let mut ws = node.ws().await?;
    let line = vec!["123.4"; POINTS].join(",");
    let chart = format!("/ui/chart.svg?seconds={}&in={line}&out={line}", 2 * POINTS);
    let mut times = Vec::with_capacity(LOOKS);
    let before = node.usage()?;
    for _ in 0..LOOKS {
        let started = Instant::now();
        ws.call(STATS.to_owned()).await?;
        times.push(started.elapsed());
        http::get(node.gateway, &chart).await?;
    }
    let used: u64 = node
        .usage()?
        .iter()
        .map(|(process, usage)| usage.cpu_us - before.get(process).map_or(0, |usage| usage.cpu_us))
        .sum();
    let percent = used as f64 / LOOKS as f64 / LOOK_EVERY_US * 100.0;
    bench.report.add(format!("{name}.page.cpu"), percent, "%", Some(Target::AtMost(PAGE_PERCENT)), None);
    times.sort_unstable();
    let p99 = times[LOOKS * 99 / 100].as_secs_f64() * 1e3;
    bench.report.add(format!("{name}.stats.p99"), p99, "ms", Some(Target::AtMost(50.0)), None);
    Ok(())
}
