//! Create and queue, with nobody there to take the jobs.

use super::Bench;
use crate::{
    http,
    load::{Call, Load},
    node::Staff,
    report::Target,
};

/// Jobs of one `submit_jobs` call; the supervisor takes up to 1,000.
pub(super) const BATCH: usize = 1_000;
/// Members of a JSON-RPC batch; the gateway takes up to 100.
const RPC_BATCH: usize = 100;
/// Batches that are unanswered at a time.
pub(super) const BATCHES_IN_FLIGHT: usize = 4;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("enqueue", Staff::NoRunner).await?;
    let jobs = bench.sizes.enqueue;

    let single = Load::osis(Call::Submit, jobs, 32);
    let mut ws = node.ws().await?;
    ws.load(Load { requests: jobs / 20 + 1, ..single }).await?.checked("warm-up")?;
    let before = node.snapshot()?;
    let seen = ws.load(single).await?.checked("submit_job over WebSocket")?;
    bench.report.costs.push(node.cost("enqueue.single.ws.32", &before, jobs)?);
    let target = Some(Target::AtLeast(15_000.0));
    bench.report.add("enqueue.single.ws.32", seen.rate(), "/s", target, Some("floor.jsonrpsee.ws.32.rate"));

    let seen = http::load(node.gateway, single).await?.checked("submit_job over HTTP")?;
    let floor = Some("floor.jsonrpsee.http.32.rate");
    bench.report.add("enqueue.single.http.32", seen.rate(), "/s", None, floor);

    let calls = [
        ("enqueue.submit_jobs", Call::SubmitMany(BATCH)),
        ("enqueue.rpc_batch", Call::SubmitBatch(RPC_BATCH)),
    ];
    for (name, call) in calls {
        let load = Load::jobs(call, "OSIS", jobs, BATCHES_IN_FLIGHT);
        let before = node.snapshot()?;
        let seen = ws.load(load).await?.checked(name)?;
        bench.report.costs.push(node.cost(name, &before, load.total_jobs())?);
        let rate = seen.rate() * call.jobs() as f64;
        let target = matches!(call, Call::SubmitMany(_)).then_some(Target::AtLeast(50_000.0));
        bench.report.add(name, rate, "/s", target, Some("floor.redis.enqueue"));
    }
    Ok(())
}
