//! How long a job lies in its queue when a runner has nothing to do.
//!
//! Seen from Redis' own event stream, by a reader that blocks on it: from the arrival of `queued` to the
//! arrival of `started`. The reader's own way to the second event is in the figure, so it is an upper bound.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use redis::streams::{StreamReadOptions, StreamReadReply};

use super::Bench;
use crate::{
    latency::Latencies,
    load::{Call, Load},
    node::Staff,
    report::Target,
};

/// Long enough for the runner to be idle again.
const PAUSE: Duration = Duration::from_millis(2);
const EVENTS: &str = "hero:events";

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("pick-up", Staff::OneRunner).await?;
    let jobs = bench.sizes.pick_ups;
    let mut connection = node.redis.connect()?;
    let last: Vec<(String, HashMap<String, String>)> =
        redis::cmd("XREVRANGE").arg(EVENTS).arg(&["+", "-", "COUNT", "1"]).query(&mut connection)?;
    let from = last.into_iter().next().map_or_else(|| "0".to_owned(), |(id, _)| id);
    let reader = thread::spawn(move || read_events(connection, from, jobs));
    let mut ws = node.ws().await?;
    let load = Load::osis(Call::Submit, jobs, 1);
    for job in 0..jobs {
        ws.call(load.text(job)).await?;
        tokio::time::sleep(PAUSE).await;
    }
    let joined = tokio::task::spawn_blocking(move || reader.join()).await?;
    let mut seen = joined.map_err(|_| anyhow::anyhow!("the event reader panicked"))??;
    let floor = Some("floor.redis.ping.p50");
    bench.report.add("pick_up.p50", seen.percentile_ms(0.5), "ms", None, floor);
    bench.report.plain("pick_up.p99", seen.percentile_ms(0.99), "ms");
    let target = Some(Target::AtMost(20.0));
    bench.report.add("pick_up.p99_9", seen.percentile_ms(0.999), "ms", target, None);
    Ok(())
}

fn read_events(
    mut connection: redis::Connection,
    mut from: String,
    jobs: usize,
) -> anyhow::Result<Latencies> {
    let options = StreamReadOptions::default().block(10_000).count(100);
    let mut queued: HashMap<String, Instant> = HashMap::new();
    let mut seen = Latencies::with_capacity(jobs);
    while seen.count() < jobs {
        let mut read = redis::cmd("XREAD");
        read.arg(&options).arg("STREAMS").arg(EVENTS).arg(&from);
        let reply: Option<StreamReadReply> = read.query(&mut connection)?;
        let now = Instant::now();
        let reply = reply.with_context(|| format!("no event for 10 s after {} jobs", seen.count()))?;
        for entry in reply.keys.into_iter().flat_map(|key| key.ids) {
            let kind: String = entry.get("k").context("an event without a kind")?;
            let ids: String = entry.get("ids").context("an event without ids")?;
            for id in ids.split(' ') {
                match kind.as_str() {
                    "queued" => drop(queued.insert(id.to_owned(), now)),
                    "started" => {
                        if let Some(since) = queued.remove(id) {
                            seen.add(now.duration_since(since));
                        }
                    }
                    _ => {}
                }
            }
            from = entry.id;
        }
    }
    Ok(seen)
}
