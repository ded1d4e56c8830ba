//! What callers do meanwhile.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Failure, WAIT_S},
    ledger::{Entry, Expect, Ledger},
};

const CALLERS: u64 = 8;
/// More jobs than this do not wait: the load is steady, not endless.
const MOST_OPEN: usize = 300;

/// Starts the callers; they end with the token.
pub(crate) fn start(
    seed: u64,
    client: &Client,
    ledger: &Ledger,
    folder: &Path,
    over: &CancellationToken,
) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = Caller {
            number,
            count: 0,
            rng: StdRng::seed_from_u64(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            client: client.clone(),
            ledger: ledger.clone(),
            effects: folder.join("effects"),
        };
        callers.spawn(caller.work(over.clone()));
    }
    callers
}

/// Waits until every call has its answer.
pub(crate) async fn finish(mut callers: JoinSet<()>, limit: Duration) -> Result<()> {
    let all = async {
        while let Some(ended) = callers.join_next().await {
            ended?;
        }
        Ok(())
    };
    tokio::time::timeout(limit, all).await.context("calls have no answer long after the last fault")?
}

struct Caller {
    number: u64,
    count: u64,
    rng: StdRng,
    client: Client,
    ledger: Ledger,
    effects: PathBuf,
}

impl Caller {
    async fn work(mut self, over: CancellationToken) {
        while !over.is_cancelled() {
            if self.ledger.open() > MOST_OPEN {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            match self.rng.random_range(0..12) {
                0..2 => self.run().await,
                2..4 => self.batch().await,
                4 => self.effect(json!({}), 0.0).await,
                5 => {
                    let seconds = self.rng.random_range(0.5..3.0);
                    self.effect(json!({ "max_deliveries": 10 }), seconds).await;
                }
                6 => self.retried().await,
                7 => self.failing().await,
                8 => self.stopped().await,
                9 => self.diamond().await,
                10 => self.too_long().await,
                _ => self.unmet().await,
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(5..60))).await;
        }
    }

    /// A name that no other job has; it is the idempotency key of what is submitted with it.
    fn name(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.number, self.count)
    }

    fn complain(&self, what: &str, failure: &Failure) {
        self.ledger.broke(format!("{what} was answered with {failure}"));
    }

    /// Submits a job, and now and then again, which must give the same id.
    async fn submit(&mut self, method: &'static str, mut job: Value, entry: Entry) -> Option<String> {
        job["idempotency_key"] = json!(self.name());
        if self.rng.random_ratio(1, 3) {
            job["priority"] = json!(["high", "low"][self.rng.random_range(0..2)]);
        }
        let params = json!({ "job": job });
        let id = match self.client.call(method, params.clone()).await.answer {
            Ok(id) => id.as_str().unwrap_or_default().to_owned(),
            Err(failure) => {
                self.complain(method, &failure);
                return None;
            }
        };
        self.ledger.acknowledge(&id, entry);
        if self.rng.random_ratio(1, 10) {
            match self.client.call(method, params).await.answer {
                Ok(again) if again == id.as_str() => {}
                Ok(again) => self.ledger.broke(format!("{id}: the same key was given {again} too")),
                Err(failure) => self.complain("the repeat of a submit", &failure),
            }
        }
        Some(id)
    }

    /// Waits for a job as long as it takes.
    async fn wait(&self, id: &str) {
        match self.client.call("wait_job", json!({ "job_id": id, "timeout": WAIT_S })).await.answer {
            Ok(job) => self.ledger.see(id, &job),
            // So long may a queue be under faults; it must end all the same, and that is checked later.
            Err(failure) if failure.code == 0 => {}
            Err(failure) => self.complain("wait_job", &failure),
        }
    }

    /// run_job: an answer is an end.
    async fn run(&mut self) {
        let number: u32 = self.rng.random_range(0..1_000);
        let key = self.name();
        let params = json!({
            "script": format!("{number} + 1"), "script_type": "OSIS", "timeout": 30, "idempotency_key": key,
        });
        match self.client.call("run_job", params).await.answer {
            Ok(output) if output == (number + 1).to_string().as_str() => {}
            Ok(output) => self.ledger.broke(format!("run_job of {number} + 1 returned {output}")),
            // What it lost, its record tells: that is checked with the others'.
            Err(failure) => match failure.data["job_id"].as_str() {
                Some(id) => {
                    self.ledger.acknowledge(id, Entry::new(Expect::Output((number + 1).to_string())));
                }
                None => self.complain("run_job", &failure),
            },
        }
    }

    async fn batch(&mut self) {
        let number: u32 = self.rng.random_range(0..1_000);
        let size = self.rng.random_range(1..20u32);
        let jobs: Vec<_> = (0..size)
            .map(|n| {
                let key = self.name();
                json!({ "script": format!("{number} * {n}"), "script_type": "OSIS", "idempotency_key": key })
            })
            .collect();
        match self.client.call("submit_jobs", json!({ "jobs": jobs })).await.answer {
            Ok(ids) => {
                for (n, id) in ids.as_array().into_iter().flatten().enumerate() {
                    let output = (u64::from(number) * n as u64).to_string();
                    self.ledger
                        .acknowledge(id.as_str().unwrap_or_default(), Entry::new(Expect::Output(output)));
                }
            }
            Err(failure) => self.complain("submit_jobs", &failure),
        }
    }

    /// A Python job that leaves a line in a file of its own at every attempt.
    fn leaving(&mut self, then: &str) -> (String, PathBuf) {
        let name = self.name();
        let path = self.effects.join(name);
        let script =
            format!("import sys, time\nwith open({path:?}, 'a') as file: file.write('line\\n')\n{then}");
        (script, path)
    }

    async fn effect(&mut self, mut job: Value, seconds: f64) {
        let (script, path) = self.leaving(&format!("time.sleep({seconds:.2})\nprint('done')"));
        job["script"] = json!(script);
        job["script_type"] = json!("Python");
        let entry = Entry { effect: Some(path), ..Entry::new(Expect::Output("done\n".to_owned())) };
        let id = self.submit("submit_job", job, entry).await;
        if let Some(id) = id.filter(|_| self.rng.random_ratio(1, 2)) {
            self.wait(&id).await;
        }
    }

    /// Fails until it has been tried three times.
    async fn retried(&mut self) {
        let (script, path) = self.leaving("");
        let script = format!("{script}\nif len(open({path:?}).readlines()) < 3: sys.exit(1)\nprint('done')");
        let job = json!({ "script": script, "script_type": "Python", "retries": 5, "retry_backoff_ms": 50 });
        let entry = Entry { effect: Some(path), ..Entry::new(Expect::Output("done\n".to_owned())) };
        self.submit("submit_job", job, entry).await;
    }

    async fn failing(&mut self) {
        let job =
            json!({ "script": "throw \"no\"", "script_type": "OSIS", "retries": 1, "retry_backoff_ms": 20 });
        let failing = self.submit("submit_job", job, Entry::new(Expect::Kind("script_failed"))).await;
        let Some(failing) = failing else { return };
        let job = json!({ "script": "1", "script_type": "OSIS", "prerequisites": [failing] });
        let entry = Entry { prerequisites: vec![failing], ..Entry::new(Expect::Kind("prerequisite_failed")) };
        self.submit("submit_job", job, entry).await;
    }

    async fn stopped(&mut self) {
        let job = json!({
            "script": "import time\ntime.sleep(20)\nprint('done')", "script_type": "Python", "max_deliveries": 10,
        });
        let entry = Entry::new(Expect::StoppedOr("done\n".to_owned()));
        let Some(id) = self.submit("submit_job", job, entry).await else { return };
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..1_500))).await;
        if let Err(failure) = self.client.call("stop_job", json!({ "job_id": id })).await.answer {
            self.complain("stop_job", &failure);
        }
    }

    async fn too_long(&mut self) {
        let job = json!({ "script": "import time\ntime.sleep(60)", "script_type": "Python", "timeout": 1 });
        self.submit("submit_job", job, Entry::new(Expect::Kind("timeout"))).await;
    }

    /// One job, two that wait for it, and one that waits for both.
    async fn diamond(&mut self) {
        let first = Entry { is_started: false, ..Entry::new(Expect::Output("0".to_owned())) };
        let job = json!({ "script": "0", "script_type": "OSIS" });
        let Some(first) = self.submit("create_job", job, first).await else { return };
        let mut sides = Vec::new();
        for n in 1..3 {
            let job = json!({ "script": n.to_string(), "script_type": "OSIS", "prerequisites": [first] });
            let entry =
                Entry { prerequisites: vec![first.clone()], ..Entry::new(Expect::Output(n.to_string())) };
            sides.extend(self.submit("submit_job", job, entry).await);
        }
        let (script, path) = self.leaving("print('done')");
        let job = json!({ "script": script, "script_type": "Python", "prerequisites": sides });
        let expect = Expect::Output("done\n".to_owned());
        let entry = Entry { prerequisites: sides, effect: Some(path), ..Entry::new(expect) };
        let last = self.submit("submit_job", job, entry).await;
        let started = self.client.call("start_job", json!({ "job_id": first })).await;
        match started.answer {
            Ok(_) => {}
            // The answer to an earlier call was lost.
            Err(failure) if started.is_repeat && failure.data["reason"] == "JOB_ALREADY_STARTED" => {}
            Err(failure) => return self.complain("start_job", &failure),
        }
        self.ledger.change(&first, |entry| entry.is_started = true);
        if let Some(last) = last {
            self.wait(&last).await;
        }
    }

    /// A job that is only stored.
    async fn unmet(&mut self) {
        if self.rng.random_ratio(1, 4) {
            let job = json!({ "script": "1", "script_type": "OSIS" });
            let entry = Entry { is_started: false, ..Entry::new(Expect::Created) };
            self.submit("create_job", job, entry).await;
        }
    }
}
