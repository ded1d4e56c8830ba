//! The node at the other end, over whichever way its url names: one call in, its answer or a [`Failure`] out.

use std::time::Duration;

use hero_client::{CallError, Client, Error};
use hero_jsonrpc::method;
use serde_json::{Map, Value};

use crate::{
    contexts::Target,
    failure::{Failure, Result},
};

/// A call that waits for a job may last as long as the job.
const LONGEST_CALL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A node.
pub(crate) struct Node {
    client: Client,
    /// The same over a transport that can be told things; none: there is no such way to it.
    listener: Option<Client>,
}

impl Node {
    /// The node at `target`. Nothing is sent yet.
    pub(crate) fn at(target: Target) -> Result<Self> {
        let Target { url, key, daemon } = target;
        let unusable = |error: Error| match error {
            Error::Address(error) => Failure::Usage(error.to_string()),
            error => Failure::Usage(format!("{url} cannot be used as the url of a node: {error}")),
        };
        let direct = |url: String| {
            let builder = Client::builder(url);
            match &key {
                Some(key) => builder.secret(key.clone()).build(),
                None => builder.build(),
            }
        };
        let mut listener = None;
        let client = if url.starts_with("mycelium://") {
            let to = url
                .parse()
                .map_err(|error| Failure::Usage(format!("{url} names no node of the overlay: {error}")))?;
            let builder = Client::over_mycelium(daemon, to);
            match key {
                Some(key) => builder.secret(key).build(),
                None => builder.build(),
            }
        } else {
            // `http` becomes `ws`, `https` becomes `wss`; the others are both.
            listener = direct(url.strip_prefix("http").map_or(url.clone(), |rest| format!("ws{rest}"))).ok();
            direct(url.clone())
        };
        Ok(Self { client: client.map_err(unusable)?, listener })
    }

    /// A way to be told things without asking again.
    pub(crate) fn listener(&self) -> Option<&Client> {
        self.listener.as_ref()
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.client.address()
    }

    /// Calls a method with an array or an object of params.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let params = named(method, params)?;
        let answer = self.client.call_within(method, params, LONGEST_CALL).await;
        answer.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: Error) -> Failure {
        match error {
            Error::Call(error) => refused(&error),
            Error::Unreachable { address, why } => Failure::NoNode { url: address, why },
            Error::Refused(words) => Failure::Usage(words),
            error => Failure::NoNode { url: self.url(), why: error.to_string() },
        }
    }
}

/// Some ways carry a key among named params only, so params are named where their names are known.
fn named(name: &str, params: Value) -> Result<Value> {
    match params {
        Value::Object(_) => Ok(params),
        Value::Array(values) => match method(name) {
            Some(method) if values.len() <= method.params.len() => {
                let names = method.params.iter().map(|param| param.name.to_owned());
                Ok(names.zip(values).collect::<Map<_, _>>().into())
            }
            _ => Ok(Value::Array(values)),
        },
        _ => Err(Failure::Usage("params are a JSON array or object".to_owned())),
    }
}

fn refused(error: &CallError) -> Failure {
    let text = |name: &str| error.data[name].as_str();
    let mut message = match text("field") {
        Some(field) => format!("{field}: {}", error.message),
        None => error.message.clone(),
    };
    if let Some(trace) = text("trace_id") {
        message.push_str(&format!(" (trace {trace})"));
    }
    Failure::Refused { code: error.code, message, reason: text("reason").map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::named;

    #[test]
    fn params_are_named_where_their_names_are_known() {
        assert_eq!(named("wait_job", json!(["x", 3])).unwrap(), json!({"job_id": "x", "timeout": 3}));
        assert_eq!(named("whoami", json!([])).unwrap(), json!({}));
        assert_eq!(named("wait_job", json!({"job_id": 1})).unwrap(), json!({"job_id": 1}));
        assert_eq!(named("unknown", json!([1])).unwrap(), json!([1]));
        assert_eq!(named("whoami", json!([1])).unwrap(), json!([1]), "the node refuses it by itself");
        assert!(named("whoami", json!(1)).is_err());
    }
}
