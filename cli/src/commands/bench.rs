//! How fast a node is from here: small jobs one after the other on some connections, and what that gave.
//!
//! It measures the whole way, this command included. What a job costs inside, beside the floor of the machine, is
//! for `make bench`.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::{Value, json};

use super::script::name_of;
use crate::{
    args::{Bench, Language},
    failure::Result,
    node::Node,
    show::{Show, json as print, note},
};

pub(crate) async fn bench(node: &Node, show: Show, bench: &Bench) -> Result {
    let language = bench.language.unwrap_or(Language::Osis);
    let job = json!({"script": script(language), "script_type": name_of(language)});
    // The first job may start an interpreter.
    node.call("run_job", job.clone()).await?;
    note(&format!("{} jobs, {} at a time ...", bench.jobs, bench.parallel));
    let left = Cell::new(bench.jobs);
    let started = Instant::now();
    let lanes = join_all((0..bench.parallel).map(|_| lane(node, &job, &left))).await;
    let took = started.elapsed();
    let mut times = Vec::new();
    for lane in lanes {
        times.extend(lane?);
    }
    times.sort_unstable();
    let rate = f64::from(bench.jobs) / took.as_secs_f64();
    let of = |share: f64| ms(quantile(&times, share));
    if show.json {
        print(&json!({
            "jobs": bench.jobs, "parallel": bench.parallel, "seconds": took.as_secs_f64(), "jobs_per_second": rate,
            "p50_ms": of(0.5), "p95_ms": of(0.95), "p99_ms": of(0.99), "max_ms": of(1.0),
        }));
        return Ok(());
    }
    show.facts(&[
        ("jobs a second", Some(format!("{rate:.0}"))),
        ("half within", Some(format!("{:.2} ms", of(0.5)))),
        ("95 % within", Some(format!("{:.2} ms", of(0.95)))),
        ("99 % within", Some(format!("{:.2} ms", of(0.99)))),
        ("slowest", Some(format!("{:.2} ms", of(1.0)))),
    ]);
    Ok(())
}

/// A job that does nothing, in each language.
const fn script(language: Language) -> &'static str {
    match language {
        Language::Osis | Language::Sal => "1",
        Language::Python => "pass",
        Language::V => "fn main() {}",
    }
}

async fn lane(node: &Node, job: &Value, left: &Cell<u32>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        let started = Instant::now();
        node.call("run_job", job.clone()).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time within which this share of the sorted ones lies.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::quantile;

    #[test]
    fn shares_of_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let seen = [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&times, share).as_millis());
        assert_eq!(seen, [1, 50, 99, 100]);
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
