//! Passing calls on to nodes.

use std::time::Duration;

use hero_domain::{
    ApiError, Caller, Destination, ErrorCode, Node, NodeAnswer, NodeCall, NodeId, OverlayCall, Reason,
    Result, Scope, Standing, ports::Overlay as _,
};
use hero_jsonrpc::{answer, method, question};
use hero_proto::GrpcOverlay;
use hero_runtime::{
    Address,
    listen::{LineError, Peers},
};

use crate::config::CallsConfig;

/// What calls nodes.
#[derive(Debug)]
pub(crate) struct Caretaker {
    pub(crate) peers: Peers,
    /// The way to nodes that no address leads to.
    pub(crate) overlay: GrpcOverlay,
    pub(crate) config: CallsConfig,
}

/// Where a node says that it can be called.
enum Way {
    Socket(Address),
    Overlay(Destination),
}

impl Way {
    fn read(text: &str) -> Option<Self> {
        match text.starts_with("mycelium://") {
            true => text.parse().ok().map(Self::Overlay),
            false => text.parse().ok().map(Self::Socket),
        }
    }
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
        let secret = self.config.secret.as_ref().map(hero_config::Secret::expose);
        let line = question(&call.method, call.params.as_deref(), secret).map_err(Failed::Asked)?;
        let mut why = format!("node {id} has told no address that it can be called at");
        for text in &node.beat.addresses {
            let answered = match Way::read(text) {
                Some(Way::Socket(address)) => self.ask(id, &address, &line, call).await,
                Some(Way::Overlay(to)) => self.ask_over(id, to, call).await,
                None => continue,
            };
            match answered {
                Err(Failed::Unasked(error)) if error.code() == ErrorCode::Unavailable => {
                    tracing::debug!(node = %id, address = text, %error, "a node cannot be reached");
                    error.message().clone_into(&mut why);
                }
                answered => return answered,
            }
        }
        Err(Failed::Unasked(ApiError::new(Reason::NodeUnavailable, why).with_retry_after_ms(1_000)))
    }

    /// Asks over a socket.
    async fn ask(
        &self,
        id: &NodeId,
        address: &Address,
        line: &str,
        call: &NodeCall,
    ) -> Result<NodeAnswer, Failed> {
        let unasked = |words: String| Failed::Unasked(ApiError::new(Reason::NodeUnavailable, words));
        match self.peers.ask(address, line, self.time(call)).await {
            Ok(said) => answer(&said).ok_or_else(|| {
                self.peers.distrust(address);
                let words = format!("node {id} answered with something that is no JSON-RPC response");
                Failed::Asked(ApiError::new(Reason::NodeUnavailable, words))
            }),
            Err(LineError::Connect(error)) => {
                Err(unasked(format!("node {id} cannot be reached at {address}: {error}")))
            }
            Err(error @ LineError::Resting { .. }) => {
                Err(unasked(format!("node {id} at {address} is left alone for a moment: {error}")))
            }
            Err(error) => Err(failed(id, error)),
        }
    }

    /// Asks over Mycelium, in the name of this explorer's own node.
    async fn ask_over(&self, id: &NodeId, to: Destination, call: &NodeCall) -> Result<NodeAnswer, Failed> {
        let call = OverlayCall {
            to,
            topic: None,
            method: call.method.clone(),
            params: call.params.clone(),
            secret: self.config.secret.as_ref().map(|secret| secret.expose().to_owned()),
            timeout_ms: u64::try_from(self.time(call).as_millis()).ok(),
        };
        // Whether the caller may was checked when it came in.
        self.overlay.call(&Caller::local(), call).await.map_err(|error| {
            let words = format!("node {id} over Mycelium: {}", error.message());
            match error.reason() {
                Reason::UpstreamUnavailable => Failed::Unasked(ApiError::new(Reason::NodeUnavailable, words)),
                reason @ Reason::TooManyRequests => {
                    Failed::Unasked(ApiError::new(reason, words).with_retry_after_ms(100))
                }
                reason => Failed::Asked(ApiError::new(reason, words)),
            }
        })
    }

    /// How long it may take: what the caller says within the bound, else by what is called.
    fn time(&self, call: &NodeCall) -> Duration {
        let waits = method(&call.method).is_some_and(|entry| entry.waits);
        let default = if waits { self.config.wait_timeout_ms } else { self.config.call_timeout_ms };
        Duration::from_millis(call.timeout_ms.unwrap_or(default).min(self.config.wait_timeout_ms))
    }
}

fn failed(id: &NodeId, error: LineError) -> Failed {
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
