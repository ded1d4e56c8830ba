//! Callers that do not give up: they repeat what is refused for now, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jsonrpsee::{
    core::client::{ClientT as _, Error},
    http_client::{HttpClient, HttpClientBuilder},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{client::Given, cluster::PATIENCE};

/// JSON-RPC's codes for: later.
const LATER: [i32; 2] = [-32041, -32040];

/// The gateways that callers may use now, as a load balancer knows them.
#[derive(Clone, Default)]
pub(crate) struct Rotation(Arc<Mutex<Vec<(String, HttpClient)>>>);

impl Rotation {
    pub(crate) fn add(&self, address: &str) {
        let client =
            HttpClientBuilder::default().request_timeout(PATIENCE).build(format!("http://{address}"));
        self.0.lock().push((address.to_owned(), client.expect("the address can be used")));
    }

    pub(crate) fn remove(&self, address: &str) {
        self.0.lock().retain(|(it, _)| it != address);
    }

    /// Calls until the answer is not: later.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Error> {
        let begun = Instant::now();
        loop {
            let client = {
                let clients = self.0.lock();
                clients[rand::random_range(0..clients.len())].1.clone()
            };
            match client.request(method, Given(params.clone())).await {
                Err(Error::Call(error)) if LATER.contains(&error.code()) && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(rand::random_range(5..50))).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Callers that run jobs one after the other.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    callers: JoinSet<()>,
}

impl Load {
    /// Starts so many callers.
    pub(crate) fn start(rotation: &Rotation, callers: usize) -> Self {
        let mut load = Self { over: Arc::default(), done: Arc::default(), callers: JoinSet::new() };
        for number in 0..callers {
            let (rotation, over, done) = (rotation.clone(), Arc::clone(&load.over), Arc::clone(&load.done));
            load.callers.spawn(async move {
                for round in 0_u64.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    run_one(&rotation, number, round).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        load
    }

    /// Jobs that have been run so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the callers, and finds that none of them has failed; how many jobs were run.
    pub(crate) async fn finish(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no caller has failed");
        }
        self.done()
    }
}

async fn run_one(rotation: &Rotation, number: usize, round: u64) {
    let params = json!({
        "script": format!("{round} + {number}"), "script_type": "OSIS",
        "idempotency_key": format!("{number}-{round}"),
    });
    let output = rotation.call("run_job", params).await;
    let output = output.unwrap_or_else(|error| panic!("caller {number}, round {round}: {error}"));
    assert_eq!(output, (round + number as u64).to_string(), "caller {number}, round {round}");
}
