//! Jobs of each other type through the gateway, beside what starting a fresh `python3 -c pass` costs; and how long a
//! line of a running job takes until somebody who follows its log has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hero_client::Client;
use hero_domain::{NewJob, ScriptType};
use hero_store::JobStore as _;

use super::{Bench, python::fresh_interpreter};
use crate::{
    latency::Latencies,
    load::{Call, Load, SCRIPT},
    node::{Node, Staff},
    report::Target,
};

/// Three calls to Redis.
const OBJECTS: &str = "let all = hero.collection(\"bench\"); let one = all.create(#{n: 1}); all.get(one.id); all.delete(one.id)";
const V: &str = "fn main() {\n\tprintln(40 + 2)\n}\n";
/// A line with the time at which it was written, every few milliseconds.
const LINES: &str =
    "import time\nfor _ in range(200):\n    print(time.time(), flush=True)\n    time.sleep(0.01)";
const LINES_WRITTEN: usize = 200;

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let fresh = fresh_interpreter(bench.sizes.python)?.checked("python3 -c pass")?.percentile_ms(0.5);
    bench.report.plain("scripts.fresh_python.p50", fresh, "ms");
    let node = bench.node("scripts", Staff::OneRunner).await?;
    let offered: Vec<ScriptType> =
        node.store()?.runners().await?.into_iter().flat_map(|runner| runner.script_types).collect();
    let kinds = [
        ("osis", ScriptType::Osis, SCRIPT),
        ("osis_objects", ScriptType::Osis, OBJECTS),
        ("sal", ScriptType::Sal, SCRIPT),
        ("v", ScriptType::V, V),
        ("python", ScriptType::Python, "pass"),
    ];
    for (name, kind, script) in kinds {
        if offered.contains(&kind) {
            measure_kind(bench, &node, name, kind, script, fresh).await?;
        }
    }
    let mut seen = follow(&node).await?;
    let report = &mut bench.report;
    report.plain("logs.live.p50", seen.percentile_ms(0.5), "ms");
    report.add("logs.live.p99", seen.percentile_ms(0.99), "ms", Some(Target::AtMost(100.0)), None);
    Ok(())
}

async fn measure_kind(
    bench: &mut Bench<'_>,
    node: &Node,
    name: &str,
    kind: ScriptType,
    script: &'static str,
    fresh: f64,
) -> anyhow::Result<()> {
    let sizes = bench.sizes;
    let mut ws = node.ws().await?;
    let one = Load { script_type: kind.as_str(), script, ..Load::osis(Call::Run, sizes.python, 1) };
    // The first one may have to be compiled.
    let mut cold = ws.load(Load { requests: 1, ..one }).await?.checked(name)?;
    bench.report.plain(format!("scripts.{name}.first"), cold.percentile_ms(1.0), "ms");
    ws.load(Load { requests: sizes.python / 10 + 1, ..one }).await?.checked(name)?;
    let mut seen = ws.load(one).await?.checked(name)?;
    let p50 = seen.percentile_ms(0.5);
    bench.report.plain(format!("scripts.{name}.1.p50"), p50, "ms");
    bench.report.plain(format!("scripts.{name}.1.p99"), seen.percentile_ms(0.99), "ms");
    bench.report.plain(format!("scripts.{name}.of_fresh_python"), p50 / fresh, "x");
    let many = Load { requests: sizes.python_many, in_flight: 16, ..one };
    let rate = ws.load(many).await?.checked(name)?.rate();
    bench.report.plain(format!("scripts.{name}.16.rate"), rate, "/s");
    Ok(())
}

/// From the time that a script has written into a line to the line's having come to somebody who follows its log over a
/// WebSocket.
async fn follow(node: &Node) -> anyhow::Result<Latencies> {
    let client = Client::builder(format!("ws://{}", node.gateway)).build()?;
    let created = node.store()?.create(&[NewJob::new(ScriptType::Python, LINES)], true).await?;
    let id = created.first().context("the store created nothing")?.id;
    let mut log = client.subscribe_logs(id, None).await?;
    let mut seen = Latencies::default();
    while let Some(news) = log.next().await {
        let news = news?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        for line in &news.lines {
            let written = Duration::try_from_secs_f64(line.text.trim().parse()?)?;
            seen.add(now.saturating_sub(written));
        }
        if news.ended.is_some() {
            break;
        }
    }
    anyhow::ensure!(seen.count() == LINES_WRITTEN, "{} of {LINES_WRITTEN} lines came", seen.count());
    Ok(seen)
}
