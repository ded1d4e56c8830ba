//! Calls that travel as messages.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hero_domain::Destination;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::OnceCell;

use super::{Daemon, NodeInfo, Pushed};
use crate::{
    Error, Result,
    client::millis,
    error::CallError,
    transport::{Credentials, Transport},
};

/// A node behind the overlay.
#[derive(Debug)]
pub(crate) struct Overlay {
    pub(crate) daemon: Daemon,
    pub(crate) to: Destination,
    pub(crate) topic: String,
    pub(crate) credentials: Credentials,
    pub(crate) max_payload_bytes: usize,
    /// Where this very node is reached, and where to go while there is no daemon.
    pub(crate) fallback: Option<Box<Transport>>,
    pub(crate) own: OnceCell<NodeInfo>,
    pub(crate) ids: AtomicU64,
}

#[derive(Deserialize)]
struct Answer {
    id: Value,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: i32,
    message: String,
    #[serde(default)]
    data: Value,
}

impl Overlay {
    pub(crate) async fn call(
        &self,
        method: &str,
        params: &Value,
        deadline: Duration,
    ) -> Result<Box<RawValue>> {
        if let Some(local) = self.local().await? {
            return Box::pin(local.call(method, params, deadline)).await;
        }
        let params = self.credentials.join(method, params)?;
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        if call.len() > self.max_payload_bytes {
            return Err(Error::Refused(format!(
                "{method} is {} bytes, and at most {} are sent over Mycelium; send less at a time, or keep the \
                 data where the node can fetch it",
                call.len(),
                self.max_payload_bytes
            )));
        }
        let pushed = self.daemon.ask(&self.to, Some(&self.topic), call.as_bytes(), deadline).await?;
        let reply = match pushed {
            Pushed::Reply(reply) => reply,
            Pushed::Expired(_) => {
                return Err(Error::Timeout { method: method.to_owned(), after_ms: millis(deadline) });
            }
        };
        let malformed = |why: String| Error::Malformed { method: method.to_owned(), why };
        if !self.to.is_of(&reply.from, reply.from_ip) {
            return Err(malformed(format!("it was sent by {}, not by the node that was called", reply.from)));
        }
        let payload = reply.payload.ok_or_else(|| malformed("its payload is not base64".to_owned()))?;
        let answer: Answer =
            serde_json::from_slice(&payload).map_err(|error| malformed(error.to_string()))?;
        match answer {
            Answer { error: Some(error), .. } => {
                let AnswerError { code, message, data } = error;
                Err(CallError { code, message, data }.into())
            }
            Answer { id: told, .. } if told != json!(id) => Err(malformed(format!("it answers call {told}"))),
            Answer { result, .. } => {
                // serde reads a null result as none.
                Ok(result.unwrap_or_else(|| RawValue::NULL.to_owned()))
            }
        }
    }

    /// The way that a call takes which must not go over the overlay; none: it goes there.
    async fn local(&self) -> Result<Option<&Transport>> {
        let own = match (self.own.get_or_try_init(|| self.daemon.info()).await, &self.fallback) {
            (Ok(own), _) => own,
            (Err(Error::Unreachable { .. }), Some(fallback)) => return Ok(Some(fallback)),
            (Err(error), _) => return Err(error),
        };
        if !own.is(&self.to) {
            return Ok(None);
        }
        self.fallback.as_deref().map(Some).ok_or_else(|| {
            Error::Refused(format!(
                "{} is the node of the daemon at {} itself, and Mycelium delivers nothing to its own node; call \
                 it over HTTP, or set a fallback",
                self.to,
                self.daemon.url()
            ))
        })
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.fmt(f)
    }
}
