//! What services take that have nothing to do: memory, and processor time, which must come from blocking
//! reads and not from polling.

use std::time::{Duration, Instant};

use super::Bench;
use crate::{
    node::{Node, Staff},
    report::Target,
};

/// Start-up work ends within this time.
const SETTLE: Duration = Duration::from_secs(2);
const SERVICE_MIB: f64 = 15.0;
const LAUNCHER_MIB: f64 = 45.0;
const CPU_PERCENT: f64 = 1.0;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("idle", Staff::OneRunner).await?;
    sample(bench, &node, "idle", SERVICE_MIB).await?;
    drop(node);
    let begin = Instant::now();
    let node = bench.node("launcher", Staff::Launcher).await?;
    bench.report.plain("launcher.first_job_after", begin.elapsed().as_secs_f64(), "s");
    sample(bench, &node, "idle_launcher", LAUNCHER_MIB).await
}

async fn sample(bench: &mut Bench<'_>, node: &Node, name: &str, mib: f64) -> anyhow::Result<()> {
    tokio::time::sleep(SETTLE).await;
    let before = node.usage()?;
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_secs(bench.sizes.idle_s)).await;
    let elapsed_us = begin.elapsed().as_secs_f64() * 1e6;
    let after = node.usage()?;
    let mut together = 0.0;
    for (process, usage) in &after {
        let is_redis = *process == node.redis.process.name();
        let resident = usage.resident as f64 / f64::from(1 << 20);
        let target = (!is_redis).then_some(Target::AtMost(mib));
        bench.report.add(format!("{name}.memory.{process}"), resident, "MiB", target, None);
        let used = usage.cpu_us - before.get(process).map_or(0, |usage| usage.cpu_us);
        let percent = used as f64 / elapsed_us * 100.0;
        if !is_redis {
            together += percent;
        }
        bench.report.plain(format!("{name}.cpu.{process}"), percent, "%");
    }
    bench.report.add(format!("{name}.cpu.together"), together, "%", Some(Target::AtMost(CPU_PERCENT)), None);
    Ok(())
}
