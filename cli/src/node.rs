//! The node at the other end: one call in, its answer or a [`Failure`] out.

use std::time::Duration;

use jsonrpsee::{
    core::{
        ClientError,
        client::ClientT,
        params::{ArrayParams, ObjectParams},
    },
    http_client::{HeaderMap, HttpClient, HttpClientBuilder},
};
use serde_json::Value;

use crate::{
    contexts::Target,
    failure::{Failure, Result},
};

/// A call that waits for a job may last as long as the job.
const LONGEST_CALL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A node.
pub(crate) struct Node {
    url: String,
    client: HttpClient,
}

impl Node {
    /// The node at `target`. Nothing is sent yet.
    pub(crate) fn at(target: Target) -> Result<Self> {
        let wrong = |words: &dyn std::fmt::Display| {
            Failure::Usage(format!("{} cannot be used as the url of a node: {words}", target.url))
        };
        let mut headers = HeaderMap::new();
        if let Some(key) = &target.key {
            let bearer = format!("Bearer {key}")
                .parse()
                .map_err(|_| Failure::Usage("the key has characters that no key has".to_owned()))?;
            headers.insert("authorization", bearer);
        }
        let client = HttpClientBuilder::default()
            .set_headers(headers)
            .request_timeout(LONGEST_CALL)
            .build(&target.url)
            .map_err(|error| wrong(&error))?;
        Ok(Self { url: target.url, client })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Calls a method with an array or an object of params.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let answer = match params {
            Value::Object(members) => {
                let mut params = ObjectParams::new();
                for (name, value) in members {
                    params.insert(&name, value).map_err(anyhow::Error::new)?;
                }
                self.client.request(method, params).await
            }
            Value::Array(values) => {
                let mut params = ArrayParams::new();
                for value in values {
                    params.insert(value).map_err(anyhow::Error::new)?;
                }
                self.client.request(method, params).await
            }
            _ => return Err(Failure::Usage("params are a JSON array or object".to_owned())),
        };
        answer.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: ClientError) -> Failure {
        let ClientError::Call(error) = error else {
            return Failure::NoNode { url: self.url.clone(), why: chain(&error) };
        };
        let data: Value =
            error.data().and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
        let text = |name: &str| data[name].as_str();
        let mut message = match text("field") {
            Some(field) => format!("{field}: {}", error.message()),
            None => error.message().to_owned(),
        };
        if let Some(trace) = text("trace_id") {
            message.push_str(&format!(" (trace {trace})"));
        }
        Failure::Refused { code: error.code(), message, reason: text("reason").map(str::to_owned) }
    }
}

/// The innermost cause says most.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words = inner.to_string();
        source = inner.source();
    }
    words
}
