//! The round trip of `run_job`: submit, run, answer.

use super::Bench;
use crate::{
    http,
    latency::Latencies,
    load::{Call, Load},
    node::{Node, Staff},
    report::{Report, Target},
};

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("run-job", Staff::OneRunner).await?;
    let sizes = bench.sizes;
    let one = Load::osis(Call::Run, sizes.run_job, 1);
    let many = Load::osis(Call::Run, sizes.run_job_32, 32);
    let answer = node.ws().await?.call(one.text(0)).await?;
    anyhow::ensure!(answer == "\"42\"", "run_job answered {answer}, not \"42\"");
    over_ws(&mut bench.report, &node, "run_job", one, many).await?;

    let mut seen = http::load(node.gateway, one).await?.checked("run_job over HTTP")?;
    let floor = Some("floor.jsonrpsee.http.1.p50");
    bench.report.add("run_job.http.1.p50", seen.percentile_ms(0.5), "ms", None, floor);
    tail(&mut bench.report, "run_job.http.1", &mut seen);
    let before = node.snapshot()?;
    let mut seen = http::load(node.gateway, many).await?.checked("run_job over HTTP")?;
    bench.report.costs.push(node.cost("run_job.http.32", &before, many.requests)?);
    let floor = Some("floor.jsonrpsee.http.32.rate");
    bench.report.add("run_job.http.32.rate", seen.rate(), "/s", None, floor);
    tail(&mut bench.report, "run_job.http.32", &mut seen);
    for (name, usage) in node.usage()? {
        let peak = usage.peak as f64 / f64::from(1 << 20);
        bench.report.plain(format!("memory.loaded_run_job.{name}"), peak, "MiB");
    }
    Ok(())
}

/// The round trips over WebSocket, with their targets; also measured beside a backlog.
pub(super) async fn over_ws(
    report: &mut Report,
    node: &Node,
    name: &str,
    one: Load,
    many: Load,
) -> anyhow::Result<()> {
    let mut ws = node.ws().await?;
    ws.load(Load { requests: one.requests / 10 + 1, ..one }).await?.checked("warm-up")?;
    let before = node.snapshot()?;
    let mut seen = ws.load(one).await?.checked("run_job over WebSocket")?;
    report.costs.push(node.cost(&format!("{name}.ws.1"), &before, one.requests)?);
    let floor = Some("floor.redis.round_trip.p50");
    let p50 = seen.percentile_ms(0.5);
    report.add(format!("{name}.ws.1.p50"), p50, "ms", Some(Target::AtMost(0.6)), floor);
    let floor = Some("floor.redis.round_trip.p99");
    let p99 = seen.percentile_ms(0.99);
    report.add(format!("{name}.ws.1.p99"), p99, "ms", Some(Target::AtMost(1.5)), floor);
    report.plain(format!("{name}.ws.1.p99_9"), seen.percentile_ms(0.999), "ms");

    let before = node.snapshot()?;
    let mut seen = ws.load(many).await?.checked("run_job over WebSocket")?;
    report.costs.push(node.cost(&format!("{name}.ws.32"), &before, many.requests)?);
    let floor = Some("floor.jsonrpsee.ws.32.rate");
    report.add(format!("{name}.ws.32.rate"), seen.rate(), "/s", Some(Target::AtLeast(6_000.0)), floor);
    report.plain(format!("{name}.ws.32.p50"), seen.percentile_ms(0.5), "ms");
    let p99 = seen.percentile_ms(0.99);
    report.add(format!("{name}.ws.32.p99"), p99, "ms", Some(Target::AtMost(12.0)), None);
    report.plain(format!("{name}.ws.32.p99_9"), seen.percentile_ms(0.999), "ms");
    Ok(())
}

fn tail(report: &mut Report, name: &str, seen: &mut Latencies) {
    report.plain(format!("{name}.p99"), seen.percentile_ms(0.99), "ms");
    report.plain(format!("{name}.p99_9"), seen.percentile_ms(0.999), "ms");
}
