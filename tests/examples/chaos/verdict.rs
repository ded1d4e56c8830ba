//! Whether every promise was kept.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    client::Client,
    faults::Table,
    ledger::{Entry, Expect, Ledger},
    node::Node,
    places,
};

/// What became of the jobs.
#[derive(Default)]
pub(crate) struct Summary {
    jobs: usize,
    ends: BTreeMap<String, usize>,
    repeated: usize,
    most_attempts: u64,
    lines: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} jobs acknowledged, and:", self.jobs)?;
        for (end, count) in &self.ends {
            writeln!(f, "  {count:>7} {end}")?;
        }
        writeln!(f, "  {:>7} with more than one attempt, at most {}", self.repeated, self.most_attempts)?;
        write!(f, "  {:>7} effects", self.lines)
    }
}

/// Waits until the end of every started job has been heard of, or the time is over.
pub(crate) async fn settle(ledger: &Ledger, limit: Duration) {
    let begun = Instant::now();
    while ledger.open() > 0 && begun.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Compares every job with what was promised.
pub(crate) async fn check(node: &Node, client: &Client, ledger: &Ledger, table: &Table) -> Result<Summary> {
    let entries = ledger.all();
    let jobs: HashMap<String, Value> = stream::iter(entries.iter().map(|(id, _)| id.clone()))
        .map(async |id| match client.call("get_job", json!({ "job_id": id })).await.answer {
            Ok(job) => {
                ledger.see(&id, &job);
                Some((id, job))
            }
            Err(failure) => {
                ledger.broke(format!("{id}: it was acknowledged, and now: {failure}"));
                None
            }
        })
        .buffer_unordered(16)
        .filter_map(async |found| found)
        .collect()
        .await;
    let mut summary = Summary { jobs: entries.len(), ..Summary::default() };
    for (id, entry) in &entries {
        let Some(job) = jobs.get(id) else { continue };
        if let Err(words) = judge(entry, job, &jobs, table) {
            ledger.broke(format!("{id}: {words}; expected {:?}; {job}", entry.expect));
        }
        if !ledger.has_gap() && entry.is_started && entry.ends != 1 {
            ledger.broke(format!("{id}: its end was announced {} times", entry.ends));
        }
        summary.add(entry, job);
    }
    let ids: Vec<String> = entries.iter().filter(|(_, it)| it.is_started).map(|(id, _)| id.clone()).collect();
    places::look(node.redis_url(), &ids)?.into_iter().for_each(|words| ledger.broke(words));
    for (place, count) in places::leftovers(node.redis_url())? {
        ledger.broke(format!("everything has ended, and {count} ids stand in {place}"));
    }
    if ledger.has_gap() {
        summary.ends.insert("(announcements were missed, their number was not checked)".to_owned(), 0);
    }
    Ok(summary)
}

fn lines(entry: &Entry) -> usize {
    let text = entry.effect.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    text.map_or(0, |text| text.lines().count())
}

/// Whether a job ended as expected, or as the faults explain.
fn judge(entry: &Entry, job: &Value, jobs: &HashMap<String, Value>, table: &Table) -> Result<(), String> {
    let (status, kind) = (job["status"].as_str().unwrap_or_default(), job["error_kind"].as_str());
    let attempt = job["attempt"].as_u64().unwrap_or_default();
    if entry.expect == Expect::Created {
        return if status == "Dispatched" && attempt == 0 {
            Ok(())
        } else {
            Err("it was never started".into())
        };
    }
    if !["Finished", "Error"].contains(&status) {
        return Err("it has not ended".to_owned());
    }
    if status == "Finished" && entry.effect.is_some() && lines(entry) == 0 {
        return Err("it finished without its effect".to_owned());
    }
    let is_expected = match &entry.expect {
        Expect::Output(output) => status == "Finished" && job["output"] == output.as_str(),
        Expect::Kind(expected) => kind == Some(*expected),
        Expect::StoppedOr(output) => kind == Some("stopped") || job["output"] == output.as_str(),
        Expect::Created => false,
    };
    let deliveries = job["max_deliveries"].as_u64().unwrap_or_default();
    let is_explained = match kind {
        // So many attempts must have been lost, and so many faults there must have been.
        Some("runner_lost") => attempt >= deliveries && u64::from(table.losses()) >= deliveries,
        Some("prerequisite_failed") => {
            entry.prerequisites.iter().any(|id| jobs.get(id).is_some_and(|job| job["status"] == "Error"))
        }
        _ => false,
    };
    if is_expected || is_explained { Ok(()) } else { Err(format!("it ended as {status} {kind:?}")) }
}

impl Summary {
    fn add(&mut self, entry: &Entry, job: &Value) {
        let word = job["error_kind"].as_str().or_else(|| job["status"].as_str()).unwrap_or("?");
        *self.ends.entry(word.to_owned()).or_default() += 1;
        let attempt = job["attempt"].as_u64().unwrap_or_default();
        self.repeated += usize::from(attempt > 1);
        self.most_attempts = self.most_attempts.max(attempt);
        self.lines += lines(entry);
    }
}
