//! A caller: jsonrpsee's clients over HTTP and WebSocket, and plain HTTP for what a client would not send.

use std::{fmt, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use jsonrpsee::{
    core::{
        client::{ClientT as _, Error},
        params::BatchRequestBuilder,
        traits::ToRpcParams,
    },
    http_client::{HttpClient, HttpClientBuilder},
    types::ErrorObjectOwned,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json, value::RawValue};

/// Longer than any story waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller of one gateway.
pub(crate) enum Client {
    Http(HttpClient),
    Ws(WsClient),
}

/// Positional or named parameters as they stand in a story.
pub(crate) struct Given(pub(crate) Value);

impl ToRpcParams for Given {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

/// A failure as the caller sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) data: Value,
}

impl Failure {
    /// The reason and the parameter that are told.
    pub(crate) fn told(&self) -> (i32, &str, Option<&str>) {
        (self.code, self.data["reason"].as_str().unwrap_or_default(), self.data["field"].as_str())
    }

    /// From a JSON-RPC error object.
    pub(crate) fn of(error: &Value) -> Self {
        Self {
            code: error["code"].as_i64().unwrap_or_default().try_into().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: error["data"].clone(),
        }
    }
}

impl From<ErrorObjectOwned> for Failure {
    fn from(error: ErrorObjectOwned) -> Self {
        let data =
            error.data().map_or(Value::Null, |data| serde_json::from_str(data.get()).unwrap_or_default());
        Self { code: error.code(), message: error.message().to_owned(), data }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "HTTP",
            Self::Ws(_) => "WebSocket",
        })
    }
}

impl Client {
    /// Over HTTP.
    pub(crate) fn http(address: &str) -> Self {
        let client = HttpClientBuilder::default().request_timeout(PATIENCE).max_request_size(64 << 20);
        Self::Http(client.build(format!("http://{address}")).expect("the address can be used"))
    }

    /// Over a WebSocket of its own.
    pub(crate) async fn ws(address: &str) -> Self {
        let client = WsClientBuilder::default().request_timeout(PATIENCE).max_request_size(64 << 20);
        Self::Ws(client.build(format!("ws://{address}")).await.expect("the gateway takes the connection"))
    }

    /// A call that may fail as the caller's or the node's fault.
    ///
    /// # Errors
    /// The error object; anything below it ends the story.
    pub(crate) async fn try_call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let answer = match self {
            Self::Http(client) => client.request(method, Given(params)).await,
            Self::Ws(client) => client.request(method, Given(params)).await,
        };
        match answer {
            Ok(value) => Ok(value),
            Err(Error::Call(error)) => Err(error.into()),
            Err(error) => panic!("{method} over {self}: {error}"),
        }
    }

    /// A call that succeeds.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method} over {self}: {error:?}"))
    }

    /// A call that returns text, such as an id.
    pub(crate) async fn text(&self, method: &str, params: Value) -> String {
        let value = self.call(method, params).await;
        value.as_str().unwrap_or_else(|| panic!("{method} returned {value}")).to_owned()
    }

    /// A call that fails.
    pub(crate) async fn failure(&self, method: &str, params: Value) -> Failure {
        match self.try_call(method, params.clone()).await {
            Err(error) => error,
            Ok(value) => panic!("{method} {params} over {self} returned {value}"),
        }
    }

    /// Several calls in one batch.
    pub(crate) async fn batch(&self, calls: Vec<(&'static str, Value)>) -> Vec<Result<Value, Failure>> {
        let mut batch = BatchRequestBuilder::new();
        for (method, params) in calls {
            batch.insert(method, Given(params)).expect("parameters are JSON");
        }
        let answers = match self {
            Self::Http(client) => client.batch_request::<Value>(batch).await,
            Self::Ws(client) => client.batch_request::<Value>(batch).await,
        };
        let answers = answers.unwrap_or_else(|error| panic!("a batch over {self}: {error}"));
        answers.into_iter().map(|answer| answer.map_err(|error| Failure::from(error.into_owned()))).collect()
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submit(&self, job: Value) -> String {
        self.text("submit_job", json!({ "job": job })).await
    }

    /// Waits for a job's end and returns the job.
    pub(crate) async fn wait(&self, id: &str) -> Value {
        self.call("wait_job", json!({ "job_id": id, "timeout": PATIENCE.as_secs() })).await
    }
}

/// The answer to a plain HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// A plain HTTP request, with headers as they come.
pub(crate) async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> anyhow::Result<Answer> {
    let client: legacy::Client<_, Full<std::io::Cursor<Vec<u8>>>> =
        legacy::Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client.request(request.body(Full::new(std::io::Cursor::new(body.into())))?).await?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await?.to_bytes();
    Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// A JSON-RPC text over plain HTTP, as curl would send it.
pub(crate) async fn post(address: &str, body: impl Into<Vec<u8>>) -> anyhow::Result<Answer> {
    request("POST", &format!("http://{address}"), &[("content-type", "application/json")], body).await
}

/// A page over plain HTTP.
pub(crate) async fn get(url: &str) -> anyhow::Result<Answer> {
    request("GET", url, &[], "").await
}
