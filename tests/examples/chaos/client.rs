//! A caller with patience: it repeats what was refused for now, at another gateway, until it gets an answer.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonrpsee::{
    core::{
        client::{ClientT as _, Error},
        traits::ToRpcParams,
    },
    http_client::{HttpClient, HttpClientBuilder},
};
use serde_json::{Value, value::RawValue};

/// A gateway that is frozen is given up after this time. A wait for a job is shorter.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// So long a call is repeated: longer than any fault lasts.
const PATIENCE: Duration = Duration::from_secs(90);
/// A wait for a job, asked for in one call.
pub(crate) const WAIT_S: u64 = 5;

/// Codes that say: later.
const UNAVAILABLE: i32 = -32041;
const EXHAUSTED: i32 = -32040;
const TIMEOUT: i32 = -32002;

/// The clients of all gateways.
#[derive(Clone)]
pub(crate) struct Client(Arc<Vec<HttpClient>>);

/// What a call came to after all.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) words: String,
    pub(crate) data: Value,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.words, self.data)
    }
}

/// An answer, and whether it took more than one call.
pub(crate) struct Answered<T> {
    pub(crate) answer: Result<T, Failure>,
    pub(crate) is_repeat: bool,
}

struct Given(Value);

impl ToRpcParams for Given {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

impl Client {
    pub(crate) fn new(gateways: &[String]) -> anyhow::Result<Self> {
        let build = |address: &String| {
            HttpClientBuilder::default().request_timeout(ANSWER_LIMIT).build(format!("http://{address}"))
        };
        Ok(Self(Arc::new(gateways.iter().map(build).collect::<Result<_, _>>()?)))
    }

    /// Calls until there is an answer that a repeat would not change.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Answered<Value> {
        let begun = Instant::now();
        let mut is_repeat = false;
        loop {
            let gateway = &self.0[rand::random_range(0..self.0.len())];
            let words = match gateway.request::<Value, _>(method, Given(params.clone())).await {
                Ok(value) => return Answered { answer: Ok(value), is_repeat },
                Err(Error::Call(error)) => {
                    let data = error.data().and_then(|data| serde_json::from_str(data.get()).ok());
                    let failure = Failure {
                        code: error.code(),
                        words: error.message().to_owned(),
                        data: data.unwrap_or_default(),
                    };
                    if ![UNAVAILABLE, EXHAUSTED, TIMEOUT].contains(&failure.code) {
                        return Answered { answer: Err(failure), is_repeat };
                    }
                    failure.to_string()
                }
                // The connection broke, or nothing came in time: the call may have been carried out.
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > PATIENCE {
                let words = format!("{method} was not answered within {PATIENCE:?}, at last: {words}");
                return Answered { answer: Err(Failure { code: 0, words, data: Value::Null }), is_repeat };
            }
            is_repeat = true;
            tokio::time::sleep(Duration::from_millis(rand::random_range(20..200))).await;
        }
    }
}
