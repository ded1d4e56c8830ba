//! Calls to other nodes, for the services of this one.
//!
//! Mycelium delivers nothing to its own node, so a call to this very one takes the way that a call from outside would:
//! into the table of methods, in the name of whoever makes it.

use std::{sync::Arc, time::Duration};

use hero_client::{
    Error,
    mycelium::{Daemon, MessageState, NodeInfo, Pushed, Received},
};
use hero_domain::{
    ApiError, Caller, JobId, NodeAnswer, OverlayCall, OverlayMessage, OverlayState, OverlayStatus, Reason,
    Result, Scope, ports::Overlay,
};
use hero_jsonrpc::{answer, method, question};
use hero_redis::Link;
use hero_runtime::Shutdown;
use serde_json::Value;
use tokio::sync::{RwLock, Semaphore, watch};

use crate::{config::BridgeConfig, dispatch::Dispatch, memory::Memory, stats::Outward};

/// How often the inbox is looked through for answers that nobody waits for.
const LOOK_FOR_ANSWERS: Duration = Duration::from_secs(1);
/// How long a caller is asked to wait when as many calls as may wait do wait.
const RETRY_AFTER_MS: u64 = 250;

/// The other nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbound(Arc<Inner>);

struct Inner {
    config: Arc<BridgeConfig>,
    daemon: Daemon,
    dispatch: Arc<Dispatch>,
    link: Link,
    /// Which node this is, once that is known.
    node: watch::Receiver<Option<NodeInfo>>,
    waiting: Semaphore,
    /// Held for reading while a call is sent and noted, so that its answer is not looked for before.
    sending: RwLock<()>,
}

impl Outbound {
    pub(crate) fn new(
        config: Arc<BridgeConfig>,
        daemon: Daemon,
        dispatch: Arc<Dispatch>,
        link: Link,
        node: watch::Receiver<Option<NodeInfo>>,
    ) -> Self {
        let waiting = Semaphore::new(config.outbound.max_in_flight);
        Self(Arc::new(Inner { config, daemon, dispatch, link, node, waiting, sending: RwLock::default() }))
    }

    /// Which node this is.
    async fn own(&self) -> Result<NodeInfo> {
        let known = self.0.node.borrow().clone();
        match known {
            Some(own) => Ok(own),
            None => self.0.daemon.info().await.map_err(away),
        }
    }

    fn memory(&self, own: &NodeInfo) -> Memory {
        Memory::new(self.0.link.clone(), own.node_pubkey.clone(), self.0.config.replies.remember_s)
    }

    /// Whether the caller may have this called in the name of this node.
    fn check(&self, caller: &Caller, call: &OverlayCall) -> Result<()> {
        let is_ours = call.topic.as_ref().is_none_or(|topic| *topic == self.0.config.topic);
        match method(&call.method).filter(|_| is_ours) {
            Some(entry) => entry.rule.check_caller(caller),
            None => caller.require(Scope::Admin),
        }
    }

    /// How long it may take: what the caller says within the bound, else by what is called.
    fn time(&self, call: &OverlayCall) -> Duration {
        let config = &self.0.config.outbound;
        let waits = method(&call.method).is_some_and(|entry| entry.waits);
        let default = if waits { config.wait_timeout_ms } else { config.call_timeout_ms };
        Duration::from_millis(call.timeout_ms.unwrap_or(default).min(config.wait_timeout_ms))
    }

    fn text(&self, call: &OverlayCall) -> Result<String> {
        let text = question(&call.method, call.params.as_deref(), call.secret.as_deref())?;
        let most = self.0.config.limits.max_request_bytes;
        if text.len() <= most {
            return Ok(text);
        }
        let words = format!(
            "the call has {} bytes, and a message carries {most} (`limits.max_request_bytes` of the bridge); send less \
             at a time, or keep the data where the other node can fetch it",
            text.len()
        );
        Err(ApiError::new(Reason::RequestTooLarge, words).with_field("params"))
    }

    /// A call to this very node.
    async fn local(&self, caller: &Caller, call: &OverlayCall) -> Result<NodeAnswer> {
        Outward::Local.count();
        let mut params: Option<Value> = match &call.params {
            None => None,
            Some(text) => Some(serde_json::from_str(text).map_err(|error| {
                ApiError::new(Reason::InvalidParams, error.to_string()).with_field("params")
            })?),
        };
        if let Some(Value::Object(members)) = &mut params {
            // The caller is known here.
            members.remove("secret");
        }
        let params = params.map(|params| params.to_string());
        let text = question(&call.method, params.as_deref(), None)?;
        let said = self.0.dispatch.answer(caller.clone(), text).await;
        read(&said).ok_or_else(|| ApiError::internal("the own table of methods gave no answer"))
    }

    async fn remote(&self, call: &OverlayCall) -> Result<NodeAnswer> {
        let text = self.text(call)?;
        let Ok(_turn) = self.0.waiting.try_acquire() else {
            let words = "as many calls over Mycelium wait for their answers as may at a time \
                         (`outbound.max_in_flight` of the bridge); repeat it in a moment";
            return Err(ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(RETRY_AFTER_MS));
        };
        let (time, topic) = (self.time(call), call.topic.as_ref().unwrap_or(&self.0.config.topic));
        let asked = self.0.daemon.ask(&call.to, Some(topic), text.as_bytes(), time).await.map_err(away)?;
        let node = &call.to;
        let Pushed::Reply(reply) = asked else {
            Outward::Expired.count();
            let words = format!(
                "{node} did not answer within {} ms; it may be away, take no calls on topic {topic}, or not let this \
                 node in; the call may have taken effect there",
                time.as_millis()
            );
            return Err(ApiError::new(Reason::NodeTimeout, words));
        };
        let is_of = node.is_of(&reply.from, reply.from_ip);
        let said = reply.payload.filter(|_| is_of).as_deref().and_then(read);
        let Some(said) = said else {
            Outward::Garbled.count();
            let why = if is_of { "something that is no JSON-RPC" } else { "somebody else's message" };
            let words = format!("the answer of {node} was {why}");
            return Err(ApiError::new(Reason::NodeUnavailable, words));
        };
        Outward::Answered.count();
        Ok(said)
    }

    async fn send_away(&self, own: &NodeInfo, call: &OverlayCall) -> Result<String> {
        let text = self.text(call)?;
        let topic = call.topic.as_ref().unwrap_or(&self.0.config.topic);
        let _sending = self.0.sending.read().await;
        let id = self.0.daemon.push(&call.to, Some(topic), text.as_bytes()).await.map_err(away)?;
        self.memory(own).sent(&id, &call.to).await.map_err(unavailable)?;
        Outward::Sent.count();
        Ok(id)
    }

    /// Looks for answers that nobody waits for until the drain: those to what was sent are kept, all others are dropped,
    /// for the daemon would keep them for ever.
    pub(crate) async fn gather(self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_FOR_ANSWERS) => {}
                () = shutdown.draining() => return Ok(()),
            }
            // Before it is known which node this is there is nothing to look through.
            let Some(own) = self.0.node.borrow().clone() else { continue };
            let memory = self.memory(&own);
            let _nobody_sends = self.0.sending.write().await;
            while let Ok(Some(message)) = self.0.daemon.pop("").await {
                let id = message.id.clone();
                if let Err(error) = keep(&memory, message).await {
                    tracing::warn!(%error, id, "an answer was lost: Redis is away");
                }
            }
        }
    }
}

/// Keeps an answer, if it is one of the node that was called.
async fn keep(memory: &Memory, message: Received) -> hero_redis::Result<()> {
    let Received { id, from, from_ip, payload } = message;
    let to = memory.sent_to(&id).await?;
    match (to, payload) {
        (Some(to), Some(payload)) if to.is_of(&from, from_ip) => {
            Outward::Answered.count();
            memory.answered(&id, &payload).await
        }
        _ => {
            Outward::Stray.count();
            Ok(())
        }
    }
}

impl Overlay for Outbound {
    async fn call(&self, caller: &Caller, call: OverlayCall) -> Result<NodeAnswer> {
        self.check(caller, &call)?;
        if self.own().await?.is(&call.to) {
            let late = || ApiError::new(Reason::NodeTimeout, "this node itself did not answer in time");
            let said = tokio::time::timeout(self.time(&call), self.local(caller, &call)).await;
            return said.map_err(|_| late())?;
        }
        self.remote(&call).await
    }

    async fn send(&self, caller: &Caller, call: OverlayCall) -> Result<String> {
        self.check(caller, &call)?;
        let own = self.own().await?;
        if !own.is(&call.to) {
            return self.send_away(&own, &call).await;
        }
        let memory = self.memory(&own);
        let id = JobId::mint().to_string().replace('-', "").split_off(16);
        memory.sent(&id, &call.to).await.map_err(unavailable)?;
        let (outbound, caller, named) = (self.clone(), caller.clone(), id.clone());
        tokio::spawn(async move {
            let said = outbound.local(&caller, &call).await;
            let said = said.unwrap_or_else(|error| {
                NodeAnswer::Error(
                    serde_json::to_string(&hero_jsonrpc::error_object(&error, None)).unwrap_or_default(),
                )
            });
            let text = match said {
                NodeAnswer::Result(text) => format!(r#"{{"result":{text}}}"#),
                NodeAnswer::Error(text) => format!(r#"{{"error":{text}}}"#),
            };
            if let Err(error) = memory.answered(&named, text.as_bytes()).await {
                tracing::warn!(%error, id = named, "an answer was lost: Redis is away");
            }
        });
        Ok(id)
    }

    async fn status(&self, caller: &Caller, message: Option<String>) -> Result<OverlayStatus> {
        caller.require(Scope::User)?;
        let own = self.0.daemon.info().await.map_err(away)?;
        let peers = self.0.daemon.peers().await.map_err(away)?;
        let message = match message {
            Some(id) => Some(self.message(&own, id).await?),
            None => None,
        };
        Ok(OverlayStatus {
            public_key: own.node_pubkey,
            ip: own.node_ip,
            subnet: own.node_subnet,
            peers: u32::try_from(peers).unwrap_or(u32::MAX),
            topic: self.0.config.topic.clone(),
            message,
        })
    }
}

impl Outbound {
    async fn message(&self, own: &NodeInfo, id: String) -> Result<OverlayMessage> {
        let memory = self.memory(own);
        let (to, said) = (memory.sent_to(&id).await, memory.answer_to(&id).await.map_err(unavailable)?);
        let answer = said.as_deref().and_then(read);
        let state = match to.map_err(unavailable)? {
            None => OverlayState::Unknown,
            Some(_) if answer.is_some() => OverlayState::Received,
            Some(to) if own.is(&to) => OverlayState::Received,
            Some(_) => {
                let states = self.0.daemon.states(std::slice::from_ref(&id)).await.map_err(away)?;
                match states.first() {
                    Some(MessageState::Pending) => OverlayState::Pending,
                    Some(MessageState::Received) => OverlayState::Received,
                    Some(MessageState::Aborted) => OverlayState::Aborted,
                    Some(MessageState::Unknown) | None => OverlayState::Unknown,
                }
            }
        };
        Ok(OverlayMessage { id, state, answer })
    }
}

fn read(said: &[u8]) -> Option<NodeAnswer> {
    answer(str::from_utf8(said).ok()?)
}

/// The daemon failed.
fn away(error: Error) -> ApiError {
    let words = format!("the Mycelium daemon of this node cannot be used now: {error}");
    ApiError::new(Reason::UpstreamUnavailable, words).with_source(error)
}

fn unavailable(error: hero_redis::Error) -> ApiError {
    ApiError::new(
        Reason::StoreUnavailable,
        "the bridge's memory does not answer; repeat the call in a moment",
    )
    .with_source(error)
    .with_retry_after_ms(1_000)
}
