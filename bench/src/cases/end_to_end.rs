//! No-op OSIS jobs, from the first submit through the gateway to the end of the last one, with one runner.

use std::time::Instant;

use anyhow::Context;

use super::{
    Bench,
    enqueue::{BATCH, BATCHES_IN_FLIGHT},
};
use crate::{
    load::{Call, Load},
    node::{Node, Staff},
    report::{Cost, Target},
};

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("end-to-end", Staff::OneRunner).await?;
    let jobs = bench.sizes.end_to_end;
    let (warm_up, _, _) = submit_and_wait(&node, "warm-up", jobs / 20 + 1).await?;
    let (done, rate, cost) = submit_and_wait(&node, "end_to_end", jobs).await?;
    bench.report.costs.push(cost);
    let target = Some(Target::AtLeast(20_000.0));
    bench.report.add("end_to_end.rate", rate, "/s", target, Some("floor.redis.jobs"));
    all_finished(&node, done + warm_up)?;
    for (name, usage) in node.usage()? {
        bench.report.plain(format!("memory.loaded.{name}"), usage.peak as f64 / f64::from(1 << 20), "MiB");
    }
    Ok(())
}

/// Submits about `jobs` jobs in batches and waits until all have ended: how many those were, how many a
/// second, and what they have cost.
pub(super) async fn submit_and_wait(
    node: &Node,
    of: &str,
    jobs: usize,
) -> anyhow::Result<(usize, f64, Cost)> {
    let load = Load::jobs(Call::SubmitMany(BATCH.min(jobs)), "OSIS", jobs, BATCHES_IN_FLIGHT);
    let mut ws = node.ws().await?;
    let before = node.snapshot()?;
    let begin = Instant::now();
    ws.load(load).await?.checked("submit_jobs")?;
    node.all_ended().await?;
    let elapsed = begin.elapsed();
    let jobs = load.total_jobs();
    Ok((jobs, jobs as f64 / elapsed.as_secs_f64(), node.cost(of, &before, jobs)?))
}

/// Fails unless at least `expected` jobs are in the store and every one has finished.
fn all_finished(node: &Node, expected: usize) -> anyhow::Result<()> {
    let mut connection = node.redis.connect()?;
    let (mut cursor, mut finished) = (0_u64, 0);
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg(&["MATCH", "hero:job:*", "COUNT", "2000"])
            .query(&mut connection)?;
        let mut statuses = redis::pipe();
        let records: Vec<_> = keys.iter().filter(|key| key.len() == "hero:job:".len() + 36).collect();
        for key in &records {
            statuses.cmd("HGET").arg(key).arg("status");
        }
        let statuses: Vec<Option<String>> = statuses.query(&mut connection)?;
        if let Some(at) = statuses.iter().position(|status| status.as_deref() != Some("finished")) {
            anyhow::bail!("{} ended as {:?}", records[at], statuses[at]);
        }
        finished += statuses.len();
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    (finished >= expected)
        .then_some(())
        .with_context(|| format!("only {finished} of {expected} jobs are in the store"))
}
