//! The port of nodes over the registry.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hero_domain::{
    ApiError, Caller, Destination, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage,
    NodeSelector, NodeTarget, Reason, Result, Scope, SignedHeartbeat, Standing, Timestamp, ports::Nodes,
};
use hero_runtime::Address;
use parking_lot::Mutex;
use tokio::sync::SetOnce;

use crate::{
    beat,
    calls::{Caretaker, Failed},
    config::HeartbeatsConfig,
    registry::Registry,
    shelf::Shelf,
    upkeep,
};

/// How long a look at one node waits until its history can be told.
const LOADED_WITHIN: Duration = Duration::from_secs(2);
/// Nodes that a selector's call is tried on, as long as none was asked.
const MOST_TRIES: usize = 3;

/// The nodes that this explorer knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct KnownNodes {
    pub(crate) shared: Arc<Shared>,
    /// Whether callers are processes of this machine that may open the unix socket: those need not sign, and may be
    /// called over unix sockets.
    pub(crate) is_local: bool,
}

pub(crate) struct Shared {
    pub(crate) registry: Mutex<Registry>,
    pub(crate) shelf: Shelf,
    /// Held while records are saved, and while an admin's word is: a record must not bring back what it takes away.
    pub(crate) saving: tokio::sync::Mutex<()>,
    /// Set once what an explorer before this one knew was read.
    pub(crate) loaded: SetOnce<()>,
    pub(crate) caretaker: Caretaker,
    pub(crate) config: HeartbeatsConfig,
    pub(crate) allow_unsigned: bool,
    /// Where this explorer itself listens.
    pub(crate) own: Vec<Address>,
}

impl KnownNodes {
    /// Keeps the addresses that can be called: no unix socket of another machine, and never ourselves.
    fn check_addresses(&self, addresses: &mut Vec<String>) -> Result<()> {
        let refuse =
            |words: String| Err(ApiError::new(Reason::InvalidParams, words).with_field("beat.addresses"));
        for text in addresses.iter() {
            if text.starts_with("mycelium://") {
                match text.parse::<Destination>() {
                    Ok(_) => continue,
                    Err(error) => return refuse(error.to_string()),
                }
            }
            let address: Address = match text.parse() {
                Ok(address) => address,
                Err(error) => return refuse(format!("{error}")),
            };
            if self.shared.own.iter().any(|own| *own == address || own.reachable() == address) {
                return refuse(format!(
                    "{address} is this explorer's own address, so calls would go in circles"
                ));
            }
        }
        if !self.is_local {
            addresses.retain(|text| !text.starts_with("unix:"));
        }
        Ok(())
    }

    async fn call_fitting(&self, mut selector: NodeSelector, call: &NodeCall) -> Result<NodeAnswer> {
        let mut last = None;
        for _ in 0..MOST_TRIES {
            let chosen = self.shared.registry.lock().choose(&selector);
            let node = match (chosen, last) {
                (Ok(node), _) => node,
                // Nobody else fits: what happened to the one that did says more.
                (Err(_), Some(error)) => return Err(error),
                (Err(error), None) => return Err(error),
            };
            match self.call_one(&node, call).await {
                Err(Failed::Unasked(error)) => last = Some(error),
                answered => return answered.map_err(ApiError::from),
            }
            selector.except.push(node.beat.node_id);
        }
        Err(last.unwrap_or_else(|| ApiError::internal("no node was tried")))
    }

    async fn call_one(&self, node: &Node, call: &NodeCall) -> Result<NodeAnswer, Failed> {
        // The place first: an answer that gets lost must not lose the job.
        if let Some(job) = call.places {
            let placed = self.shared.shelf.place(job, &node.beat.node_id).await;
            placed.map_err(|error| Failed::Asked(unavailable(error)))?;
        }
        self.shared.caretaker.call(node, call).await
    }
}

impl Nodes for KnownNodes {
    async fn heartbeat(&self, caller: &Caller, beat: SignedHeartbeat) -> Result<()> {
        caller.require(Scope::Register)?;
        let (mut read, key) = beat::read(&beat, &self.shared.config, now_ms())?;
        if key.is_none() && !self.is_local && !self.shared.allow_unsigned {
            return Err(beat::unsigned(
                "heartbeats over the network are signed; unsigned ones are taken on the unix socket only",
            ));
        }
        self.check_addresses(&mut read.addresses)?;
        self.shared.registry.lock().hear(read, key, now(), self.shared.config.max_nodes)
    }

    async fn info(&self, _: &Caller) -> Result<Node> {
        let words = "this is an explorer, and no node; list_nodes and get_node tell of those that it knows";
        Err(ApiError::new(Reason::NodeNotFound, words))
    }

    async fn get(&self, _: &Caller, id: NodeId) -> Result<Node> {
        // Before that nobody can say whether a node is new.
        if tokio::time::timeout(LOADED_WITHIN, self.shared.loaded.wait()).await.is_err() {
            return Err(not_loaded());
        }
        let node = self.shared.registry.lock().get(&id)?;
        // What is told of it and its history agree. In a task of its own: a caller who goes away must not take changes along
        // that nobody has noted.
        let noted = tokio::spawn(upkeep::note(Arc::clone(&self.shared)));
        noted.await.map_err(ApiError::internal)?.map_err(unavailable)?;
        let history = self.shared.shelf.history(&id).await.map_err(unavailable)?;
        Ok(Node { history, ..node })
    }

    async fn list(&self, _: &Caller, filter: NodeFilter) -> Result<NodePage> {
        self.shared.registry.lock().list(&filter)
    }

    async fn call(&self, caller: &Caller, target: NodeTarget, call: NodeCall) -> Result<NodeAnswer> {
        self.shared.caretaker.check(caller, &call.method)?;
        let id = match target {
            NodeTarget::Fitting(selector) => return self.call_fitting(selector, &call).await,
            NodeTarget::Id(id) => id,
            NodeTarget::OfJob { job_id } => {
                let place = self.shared.shelf.place_of(job_id).await.map_err(unavailable)?;
                let words = format!("job {job_id} was given to no node through this explorer");
                place.ok_or_else(|| ApiError::new(Reason::NodeNotFound, words).with_job(job_id))?
            }
        };
        let node = self.shared.registry.lock().get(&id)?;
        Ok(self.call_one(&node, &call).await?)
    }

    async fn decide(&self, caller: &Caller, id: NodeId, decision: NodeDecision) -> Result<()> {
        caller.require(Scope::Admin)?;
        let shared = &self.shared;
        let _saving = shared.saving.lock().await;
        let standing = match decision {
            NodeDecision::Allow => Standing::Allowed,
            NodeDecision::Ban => Standing::Banned,
            NodeDecision::Remove => {
                shared.registry.lock().get(&id)?;
                shared.shelf.forget(std::slice::from_ref(&id)).await.map_err(unavailable)?;
                shared.registry.lock().forget(&id);
                tracing::info!(node = %id, caller = caller.name, "a node was removed");
                return Ok(());
            }
        };
        shared.registry.lock().get(&id)?;
        shared.shelf.stand(&id, standing).await.map_err(unavailable)?;
        shared.registry.lock().stand(&id, standing);
        tracing::info!(node = %id, caller = caller.name, standing = standing.as_str(), "a node was judged by an admin");
        Ok(())
    }
}

fn not_loaded() -> ApiError {
    ApiError::new(
        Reason::StoreUnavailable,
        "the explorer has not read yet what the one before it knew; repeat the call in a moment",
    )
    .with_retry_after_ms(1_000)
}

pub(crate) fn unavailable(error: hero_redis::Error) -> ApiError {
    ApiError::new(
        Reason::StoreUnavailable,
        "the explorer's memory does not answer; repeat the call in a moment",
    )
    .with_source(error)
    .with_retry_after_ms(1_000)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(i64::try_from(now_ms()).unwrap_or(i64::MAX))
}
