//! The port of nodes by way of the explorers that this node is known to, over JSON-RPC.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use hero_domain::{
    ApiError, Caller, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage, NodeTarget,
    Reason, Result, Scope, SignedHeartbeat, ports::Nodes,
};
use hero_jsonrpc::{NodeParam, answer, method, question};
use hero_runtime::{
    Address,
    listen::{LineError, Peers},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};

use super::{Pulse, forward::away};

/// How long an explorer may take for what it knows by itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take for a call that waits for a job; it has bounds of its own.
const WAIT_TIMEOUT: Duration = Duration::from_secs(25 * 3_600);

/// How much longer than the first explorer the others may take, where all are asked.
const STRAGGLERS: Duration = Duration::from_millis(500);

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
    /// A call as explorers take it.
    fn line(&self, name: &str, mut params: Value) -> Result<String> {
        if let (Some(secret), Some(params)) = (&self.secret, params.as_object_mut()) {
            params.insert("secret".to_owned(), secret.expose().into());
        }
        question(name, Some(&params.to_string()), None)
    }

    async fn ask_one(&self, explorer: &Address, line: &str, time: Duration) -> Result<NodeAnswer, Failed> {
        match self.peers.ask(explorer, line, time).await {
            Ok(said) => answer(&said).ok_or_else(|| {
                self.peers.distrust(explorer);
                let words = format!("the explorer at {explorer} answered with something that is no JSON-RPC");
                Failed::Asked(ApiError::new(Reason::UpstreamUnavailable, words))
            }),
            Err(error @ (LineError::Connect(_) | LineError::Resting { .. } | LineError::Busy(_))) => {
                Err(Failed::Unasked(away(explorer, error)))
            }
            Err(error) => Err(Failed::Asked(away(explorer, error))),
        }
    }

    /// Asks the first explorer that can be asked, and the next one for a node that it does not know.
    async fn ask(&self, name: &str, params: Value, time: Duration) -> Result<NodeAnswer> {
        let line = self.line(name, params)?;
        let mut last = Err(no_explorer());
        for explorer in &self.explorers {
            match self.ask_one(explorer, &line, time).await {
                Ok(NodeAnswer::Error(text)) if is_unknown(&text) => last = Ok(NodeAnswer::Error(text)),
                Ok(answer) => return Ok(answer),
                Err(Failed::Asked(error)) => return Err(error),
                // What another one has said of it says more.
                Err(Failed::Unasked(_)) if last.is_ok() => {}
                Err(Failed::Unasked(error)) => last = Err(error),
            }
        }
        last
    }

    async fn known<T: DeserializeOwned>(&self, name: &str, params: Value) -> Result<T> {
        read(self.ask(name, params, CALL_TIMEOUT).await?)
    }

    /// What each explorer answers. Whoever takes much longer than the first is not waited for.
    async fn ask_all<T: DeserializeOwned>(&self, name: &str, params: Value) -> Result<Vec<T>> {
        if self.explorers.len() < 2 {
            return Ok(vec![self.known(name, params).await?]);
        }
        let line = &self.line(name, params)?;
        let ask = |explorer| async move { self.ask_one(explorer, line, CALL_TIMEOUT).await };
        let mut asked: FuturesUnordered<_> = self.explorers.iter().map(ask).collect();
        let (mut answers, mut last) = (Vec::new(), no_explorer());
        let mut patience = CALL_TIMEOUT;
        while let Ok(Some(answered)) = tokio::time::timeout(patience, asked.next()).await {
            match answered.map_err(ApiError::from).and_then(read) {
                Ok(answer) => {
                    answers.push(answer);
                    patience = STRAGGLERS;
                }
                Err(error) => last = error,
            }
        }
        if answers.is_empty() { Err(last) } else { Ok(answers) }
    }
}

/// Why there is no answer.
enum Failed {
    /// It was not asked.
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

fn no_explorer() -> ApiError {
    let words =
        "this node knows no explorer; set EXPLORER_ADDRESSES (`node.explorers`), or the gateway's `explorer`";
    ApiError::new(Reason::UpstreamUnavailable, words)
}

fn read<T: DeserializeOwned>(answer: NodeAnswer) -> Result<T> {
    match answer {
        NodeAnswer::Result(text) => serde_json::from_str(&text).map_err(ApiError::internal),
        NodeAnswer::Error(text) => Err(failure(&text)),
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
        let line = question("heartbeat", Some(&params), None)?;
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
        let told: Vec<Node> = self.ask_all("get_node", json!({"node_id": id})).await?;
        let newest = told.into_iter().max_by_key(|node| node.beat.order());
        newest.ok_or_else(|| ApiError::internal("no explorer has answered"))
    }

    async fn list(&self, _: &Caller, filter: NodeFilter) -> Result<NodePage> {
        let pages = self.ask_all("list_nodes", json!({"filter": filter})).await?;
        if pages.len() < 2 {
            return Ok(pages.into_iter().next().unwrap_or_default());
        }
        let limit = filter.limit.unwrap_or(NodePage::DEFAULT).clamp(1, NodePage::LONGEST);
        Ok(NodePage::merge(pages, filter.sort.unwrap_or_default(), limit))
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

fn reason(error: &Value) -> Option<Reason> {
    Reason::from_name(error["data"]["reason"].as_str()?)
}

/// Whether the explorer does not know the node that is meant.
fn is_unknown(error: &str) -> bool {
    let error: Value = serde_json::from_str(error).unwrap_or_default();
    reason(&error) == Some(Reason::NodeNotFound)
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
    use hero_domain::Reason;

    use super::{failure, is_of_the_explorer};

    #[test]
    fn the_explorers_errors_are_told_from_the_nodes() {
        let away = r#"{"code":-32041,"message":"away","data":{"reason":"NODE_UNAVAILABLE"}}"#;
        assert!(is_of_the_explorer(away) && failure(away).reason() == Reason::NodeUnavailable);
        assert!(!is_of_the_explorer(r#"{"code":77,"message":"no vm"}"#));
    }
}
