//! Python jobs, warm and cold, beside what starting an interpreter costs when nothing else is done.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;

use super::Bench;
use crate::{
    latency::Latencies,
    load::{Call, Load},
    node::Staff,
    report::{Report, Target},
};

/// A warm job costs at most this share of a fresh interpreter.
const SHARE_OF_FRESH: f64 = 1.0 / 3.0;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let sizes = bench.sizes;
    let fresh = fresh_interpreter(sizes.python)?.checked("python3 -c pass")?.percentile_ms(0.5);
    bench.report.plain("python.fresh.p50", fresh, "ms");
    for (name, staff) in [("warm", Staff::OneRunner), ("cold", Staff::OneColdRunner)] {
        let is_warm = staff == Staff::OneRunner;
        let node = bench.node(&format!("python-{name}"), staff).await?;
        let mut ws = node.ws().await?;
        let one = Load { script_type: "Python", ..Load::osis(Call::Run, sizes.python, 1) };
        ws.load(Load { requests: sizes.python / 10 + 1, ..one }).await?.checked("warm-up")?;
        let mut seen = ws.load(one).await?.checked("Python over WebSocket")?;
        let p50 = seen.percentile_ms(0.5);
        let report = &mut bench.report;
        report.add(format!("python.{name}.1.p50"), p50, "ms", is_warm.then_some(Target::AtMost(3.0)), None);
        report.plain(format!("python.{name}.1.p99"), seen.percentile_ms(0.99), "ms");
        share(report, name, p50 / fresh, is_warm);
        // An interpreter for each takes long enough with fewer.
        let requests = if is_warm { sizes.python_many } else { sizes.python_many / 10 };
        let many = Load { requests, in_flight: 16, ..one };
        let rate = ws.load(many).await?.checked("Python over WebSocket")?.rate();
        let target = is_warm.then_some(Target::AtLeast(500.0));
        report.add(format!("python.{name}.16.rate"), rate, "/s", target, None);
    }
    Ok(())
}

fn share(report: &mut Report, name: &str, share: f64, is_warm: bool) {
    let target = is_warm.then_some(Target::AtMost(SHARE_OF_FRESH));
    report.add(format!("python.{name}.of_fresh"), share, "x", target, None);
}

/// Starts the interpreter itself (what is on PATH may be a script before it), again and again.
pub(super) fn fresh_interpreter(times: usize) -> anyhow::Result<Latencies> {
    let told = Command::new("python3").args(["-c", "import sys; print(sys.executable, end='')"]).output();
    let told = told.context("python3 is not there")?;
    let interpreter = String::from_utf8(told.stdout)?;
    let mut seen = Latencies::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        let status = Command::new(&interpreter).args(["-c", "pass"]).stdin(Stdio::null()).status()?;
        anyhow::ensure!(status.success(), "python3 -c pass: {status}");
        seen.add(begin.elapsed());
    }
    Ok(seen)
}
