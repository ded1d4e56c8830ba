//! Passing calls on to nodes.

use std::time::Duration;

use hero_domain::{ApiError, Caller, Node, NodeAnswer, NodeCall, Reason, Result, Scope, Standing};
use hero_jsonrpc::method;
use hero_runtime::{
    Address,
    listen::{LineError, Peers},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::CallsConfig;

/// What calls nodes.
#[derive(Debug)]
pub(crate) struct Caretaker {
    pub(crate) peers: Peers,
    pub(crate) config: CallsConfig,
}

#[derive(Serialize)]
struct Question<'a> {
    jsonrpc: &'static str,
    id: u8,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Why a node was not asked, or has no answer.
pub(crate) enum Failed {
    /// It was not asked: another one may be.
    Unasked(ApiError),
    /// It may have understood.
    Asked(ApiError),
}

impl From<Failed> for ApiError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unasked(error) | Failed::Asked(error) => error,
        }
    }
}

impl Caretaker {
    /// Whether the caller may have this method called on a node: what it may call here for methods of ours, everything
    /// else is for admins, unless it is listed.
    pub(crate) fn check(&self, caller: &Caller, name: &str) -> Result<()> {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        };
        let is_open = self.config.allow.is_empty() || self.config.allow.iter().any(matches);
        if !is_open || self.config.deny.iter().any(matches) {
            let words = format!(
                "`{name}` is not passed on to nodes; the explorer's `calls.allow` and `calls.deny` say so"
            );
            return Err(ApiError::new(Reason::MethodNotPassedOn, words).with_field("method"));
        }
        match method(name) {
            Some(entry) => entry.rule.check_caller(caller),
            None => caller.require(Scope::Admin),
        }
    }

    /// Asks a node, at the first of its addresses that answers.
    pub(crate) async fn call(&self, node: &Node, call: &NodeCall) -> Result<NodeAnswer, Failed> {
        let id = &node.beat.node_id;
        if node.standing == Standing::Banned {
            return Err(Failed::Unasked(ApiError::new(Reason::NodeBanned, format!("node {id} is banned"))));
        }
        let params = call.params.as_deref().map(serde_json::from_str::<&RawValue>).transpose();
        let params = params.map_err(|error| {
            let error = ApiError::new(Reason::InvalidParams, error.to_string()).with_field("params");
            Failed::Asked(error)
        })?;
        let secret = self.config.secret.as_ref().map(hero_config::Secret::expose);
        let question = Question { jsonrpc: "2.0", id: 1, method: &call.method, params, secret };
        let line =
            serde_json::to_string(&question).map_err(|error| Failed::Asked(ApiError::internal(error)))?;
        let time = self.time(call);
        let mut why = format!("node {id} has told no address that it can be called at");
        for address in node.beat.addresses.iter().filter_map(|text| text.parse::<Address>().ok()) {
            match self.peers.ask(&address, &line, time).await {
                Ok(answer) => return self.read(id, &address, &answer),
                Err(LineError::Connect(error)) => {
                    tracing::debug!(node = %id, %address, %error, "a node cannot be reached");
                    why = format!("node {id} cannot be reached at {address}: {error}");
                }
                Err(error @ LineError::Resting { .. }) => {
                    why = format!("node {id} at {address} is left alone for a moment: {error}");
                }
                Err(error) => return Err(failed(id, error)),
            }
        }
        Err(Failed::Unasked(ApiError::new(Reason::NodeUnavailable, why).with_retry_after_ms(1_000)))
    }

    /// How long it may take: what the caller says within the bound, else by what is called.
    fn time(&self, call: &NodeCall) -> Duration {
        let waits = method(&call.method).is_some_and(|entry| entry.waits);
        let default = if waits { self.config.wait_timeout_ms } else { self.config.call_timeout_ms };
        Duration::from_millis(call.timeout_ms.unwrap_or(default).min(self.config.wait_timeout_ms))
    }

    fn read(&self, id: &hero_domain::NodeId, address: &Address, answer: &str) -> Result<NodeAnswer, Failed> {
        // serde would take an array for the members in their order.
        let object = if answer.trim_start().starts_with('{') { answer } else { "" };
        match serde_json::from_str(object) {
            Ok(Reply { error: Some(error), .. }) => Ok(NodeAnswer::Error(error.get().to_owned())),
            Ok(Reply { result: Some(result), .. }) => Ok(NodeAnswer::Result(result.get().to_owned())),
            // serde takes a null for nothing; a result may well be one.
            Ok(_) if answer.contains("\"result\"") => Ok(NodeAnswer::Result("null".to_owned())),
            _ => {
                self.peers.distrust(address);
                let words = format!("node {id} answered with something that is no JSON-RPC response");
                Err(Failed::Asked(ApiError::new(Reason::NodeUnavailable, words)))
            }
        }
    }
}

fn failed(id: &hero_domain::NodeId, error: LineError) -> Failed {
    let words = format!("node {id}: {error}");
    let reason = match error {
        LineError::Late => Reason::NodeTimeout,
        LineError::TooLarge(_) => Reason::ResponseTooLarge,
        LineError::Busy(_) => {
            let error = ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(100);
            return Failed::Unasked(error);
        }
        LineError::Connect(_) | LineError::Lost(_) | LineError::Resting { .. } => Reason::NodeUnavailable,
    };
    let hint = if reason == Reason::ResponseTooLarge { "" } else { "; the call may have taken effect there" };
    Failed::Asked(ApiError::new(reason, format!("{words}{hint}")).with_source(error))
}
