//! The port of nodes by way of the explorers that this node is known to, over JSON-RPC.

use std::time::Duration;

use hero_domain::{
    ApiError, Caller, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage, NodeTarget,
    Reason, Result, Scope, SignedHeartbeat, ports::Nodes,
};
use hero_jsonrpc::{NodeParam, method};
use hero_runtime::{
    Address,
    listen::{LineError, Peers},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use super::{Pulse, forward::away};

/// How long an explorer may take for what it knows by itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take for a call that waits for a job; it has bounds of its own.
const WAIT_TIMEOUT: Duration = Duration::from_secs(25 * 3_600);

/// The nodes that the explorers know. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) explorers: Vec<Address>,
    pub(crate) secret: Option<hero_config::Secret>,
    pub(crate) peers: Peers,
    /// What this node says of itself; none: it says nothing.
    pub(crate) pulse: Option<Pulse>,
}

impl Fleet {
    /// Asks the first explorer that can be asked.
    async fn ask(&self, name: &str, mut params: Value, time: Duration) -> Result<NodeAnswer> {
        if let (Some(secret), Some(params)) = (&self.secret, params.as_object_mut()) {
            params.insert("secret".to_owned(), secret.expose().into());
        }
        let line = question(name, Some(&params.to_string()))?;
        let words = "this node knows no explorer; set EXPLORER_ADDRESSES (`node.explorers`), or the gateway's `explorer`";
        let mut last = ApiError::new(Reason::UpstreamUnavailable, words);
        for explorer in &self.explorers {
            match self.peers.ask(explorer, &line, time).await {
                Ok(said) => {
                    return answer(&said).ok_or_else(|| {
                        self.peers.distrust(explorer);
                        let words =
                            format!("the explorer at {explorer} answered with something that is no JSON-RPC");
                        ApiError::new(Reason::UpstreamUnavailable, words)
                    });
                }
                Err(error @ (LineError::Connect(_) | LineError::Resting { .. } | LineError::Busy(_))) => {
                    last = away(explorer, error);
                }
                Err(error) => return Err(away(explorer, error)),
            }
        }
        Err(last)
    }

    async fn known<T: DeserializeOwned>(&self, name: &str, params: Value) -> Result<T> {
        match self.ask(name, params, CALL_TIMEOUT).await? {
            NodeAnswer::Result(text) => serde_json::from_str(&text).map_err(ApiError::internal),
            NodeAnswer::Error(text) => Err(failure(&text)),
        }
    }
}

impl Nodes for Fleet {
    async fn heartbeat(&self, caller: &Caller, beat: SignedHeartbeat) -> Result<()> {
        caller.require(Scope::Register)?;
        let beat_text: Box<RawValue> = RawValue::from_string(beat.text)
            .map_err(|error| ApiError::new(Reason::InvalidParams, error.to_string()).with_field("beat"))?;
        // Through a `Value` the text would be written anew, and the signature is over its very bytes.
        let params = json!({"public_key": beat.public_key, "signature": beat.signature}).to_string();
        let params = format!(r#"{{"beat":{beat_text},{}"#, &params[1..]);
        let line = question("heartbeat", Some(&params))?;
        for explorer in &self.explorers {
            if let Ok(said) = self.peers.ask(explorer, &line, CALL_TIMEOUT).await {
                return match answer(&said) {
                    Some(NodeAnswer::Result(_)) => Ok(()),
                    Some(NodeAnswer::Error(text)) => Err(failure(&text)),
                    None => {
                        Err(ApiError::new(Reason::UpstreamUnavailable, "the explorer answers no JSON-RPC"))
                    }
                };
            }
        }
        Err(ApiError::new(Reason::UpstreamUnavailable, "no explorer can be reached"))
    }

    async fn info(&self, _: &Caller) -> Result<Node> {
        let beat = self.pulse.as_ref().and_then(|pulse| pulse.borrow().clone());
        beat.map(|beat| beat.node.clone()).ok_or_else(|| {
            let words = "this node has no name yet; it gets one with `node.folder`, where its key is kept";
            ApiError::new(Reason::NodeNotFound, words)
        })
    }

    async fn get(&self, _: &Caller, id: NodeId) -> Result<Node> {
        self.known("get_node", json!({"node_id": id})).await
    }

    async fn list(&self, _: &Caller, filter: NodeFilter) -> Result<NodePage> {
        self.known("list_nodes", json!({"filter": filter})).await
    }

    async fn call(&self, caller: &Caller, target: NodeTarget, call: NodeCall) -> Result<NodeAnswer> {
        // The explorer sees this node as the caller, so what its caller may do is checked here.
        let entry = method(&call.method);
        match entry {
            Some(entry) => entry.rule.check_caller(caller)?,
            None => caller.require(Scope::Admin)?,
        }
        let passed = call.params.as_deref().map(serde_json::from_str::<Value>).transpose();
        let passed = passed
            .map_err(|error| ApiError::new(Reason::InvalidParams, error.to_string()).with_field("params"))?;
        let params = json!({
            "node_id": NodeParam(target), "method": call.method, "params": passed,
            "timeout_ms": call.timeout_ms, "places": call.places,
        });
        let waits = entry.is_some_and(|entry| entry.waits);
        let time = call.timeout_ms.map(|timeout| Duration::from_millis(timeout) + CALL_TIMEOUT);
        let time = time.unwrap_or(if waits { WAIT_TIMEOUT } else { CALL_TIMEOUT * 3 });
        match self.ask("call_node", params, time).await? {
            NodeAnswer::Error(text) if is_of_the_explorer(&text) => Err(failure(&text)),
            answer => Ok(answer),
        }
    }

    async fn decide(&self, caller: &Caller, id: NodeId, decision: NodeDecision) -> Result<()> {
        caller.require(Scope::Admin)?;
        let name = match decision {
            NodeDecision::Allow => "allow_node",
            NodeDecision::Ban => "ban_node",
            NodeDecision::Remove => "remove_node",
        };
        self.known(name, json!({"node_id": id})).await
    }
}

/// A call as a line.
pub(crate) fn question(method: &str, params: Option<&str>) -> Result<String> {
    let name = serde_json::to_string(method).map_err(ApiError::internal)?;
    Ok(match params {
        Some(params) => format!(r#"{{"jsonrpc":"2.0","id":1,"method":{name},"params":{params}}}"#),
        None => format!(r#"{{"jsonrpc":"2.0","id":1,"method":{name}}}"#),
    })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What a line says; none: it is no answer.
pub(crate) fn answer(line: &str) -> Option<NodeAnswer> {
    // serde would take an array for the members in their order.
    if !line.trim_start().starts_with('{') {
        return None;
    }
    match serde_json::from_str(line).ok()? {
        Reply { error: Some(error), .. } => Some(NodeAnswer::Error(error.get().to_owned())),
        Reply { result: Some(result), .. } => Some(NodeAnswer::Result(result.get().to_owned())),
        // serde takes a null for nothing; a result may well be one.
        Reply { .. } if line.contains("\"result\"") => Some(NodeAnswer::Result("null".to_owned())),
        Reply { .. } => None,
    }
}

fn reason(error: &Value) -> Option<Reason> {
    Reason::from_name(error["data"]["reason"].as_str()?)
}

/// Whether the explorer failed, and not the node behind it.
fn is_of_the_explorer(error: &str) -> bool {
    let error: Value = serde_json::from_str(error).unwrap_or_default();
    matches!(
        reason(&error),
        Some(
            Reason::NodeNotFound
                | Reason::NodeUnavailable
                | Reason::NodeTimeout
                | Reason::NodeBanned
                | Reason::MethodNotPassedOn
                | Reason::ScopeInsufficient
                | Reason::AuthenticationRequired
        )
    )
}

/// An error object as a failure of the port.
fn failure(error: &str) -> ApiError {
    let error: Value = serde_json::from_str(error).unwrap_or_default();
    let words = error["message"].as_str().unwrap_or("the explorer gives no reason");
    let Some(reason) = reason(&error) else { return ApiError::internal(words.to_owned()) };
    // The words name the field already, as our own faces write them.
    let failure = ApiError::new(reason, words);
    match error["data"]["job_id"].as_str().and_then(|id| id.parse().ok()) {
        Some(id) => failure.with_job(id),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::{NodeAnswer, Reason};

    use super::{answer, failure, is_of_the_explorer};

    #[test]
    fn answers_are_told_from_noise_and_the_explorers_errors_from_the_nodes() {
        assert_eq!(answer(r#"{"id":1,"result":null}"#), Some(NodeAnswer::Result("null".into())));
        assert_eq!(answer(r#"{"id":1,"result": [1]}"#), Some(NodeAnswer::Result("[1]".into())));
        for noise in ["", "{}", "HTTP/1.1 400", "[1]"] {
            assert_eq!(answer(noise), None, "{noise}");
        }
        let away = r#"{"code":-32041,"message":"away","data":{"reason":"NODE_UNAVAILABLE"}}"#;
        assert!(is_of_the_explorer(away) && failure(away).reason() == Reason::NodeUnavailable);
        assert!(!is_of_the_explorer(r#"{"code":77,"message":"no vm"}"#));
    }
}
