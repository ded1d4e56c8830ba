//! The nodes in memory: heard, judged, listed, chosen.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use hero_domain::{
    ApiError, Heartbeat, Node, NodeChange, NodeFilter, NodeId, NodePage, NodeSelector, NodeState, Reason,
    Result, Standing, Timestamp,
};

use crate::{beat::unsigned, config::HeartbeatsConfig};

/// Every node that is known.
#[derive(Debug)]
pub(crate) struct Registry {
    nodes: HashMap<NodeId, Entry>,
    clock: Clock,
    /// Nodes whose record is newer than the shelf's.
    unsaved: HashSet<NodeId>,
    changes: Vec<(NodeId, NodeChange)>,
}

#[derive(Debug)]
struct Entry {
    node: Node,
    /// When it was heard of, on the clock of the judge.
    heard: Duration,
    /// Calls that a selector has sent there since its last heartbeat, which could not tell of them.
    sent: u32,
}

/// The clock by which silence is judged. It stands still while the explorer does: a process that was stopped, or starved
/// of its processor, has heard nobody, and that was no node's fault.
#[derive(Debug)]
struct Clock {
    now: Duration,
    looked: Instant,
}

impl Clock {
    fn tick(&mut self, longest: Duration) {
        let elapsed = self.looked.elapsed();
        self.looked += elapsed;
        self.now += elapsed.min(longest);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            nodes: HashMap::new(),
            clock: Clock { now: Duration::ZERO, looked: Instant::now() },
            unsaved: HashSet::new(),
            changes: Vec::new(),
        }
    }

    /// Takes a heartbeat that was read; `key` signed it.
    pub(crate) fn hear(
        &mut self,
        beat: Heartbeat,
        key: Option<String>,
        at: Timestamp,
        most: usize,
    ) -> Result<()> {
        let id = beat.node_id.clone();
        let Some(entry) = self.nodes.get_mut(&id) else {
            return self.hear_first(beat, key, at, most);
        };
        let node = &mut entry.node;
        refuse_stranger(node, key.as_deref())?;
        if beat.order() <= node.beat.order() {
            return Err(replayed(&node.beat));
        }
        let is_same_life = beat.started_at_ms == node.beat.started_at_ms;
        let lost = if is_same_life { beat.counter - node.beat.counter - 1 } else { 0 };
        let was = node.state;
        let claim = claim_of(node);
        node.beat.update(beat);
        node.public_key = key.or(node.public_key.take());
        if claim_of(node) != claim {
            node.twin_since = node.twin_key().is_some().then_some(at);
        }
        if node.standing == Standing::Allowed {
            node.standing = Standing::Known;
        }
        (node.state, node.last_seen) = (NodeState::Alive, at);
        (entry.heard, entry.sent) = (self.clock.now, 0);
        let why = match (was, is_same_life) {
            (NodeState::Alive, true) => None,
            (_, false) => Some("started again".to_owned()),
            // Its own counter tells that it lived all the time.
            (_, true) => Some(format!("heard of again, {lost} heartbeats were lost on the way")),
        };
        if let Some(why) = why {
            self.changes.push((id.clone(), NodeChange { at, state: NodeState::Alive, why }));
        }
        self.unsaved.insert(id);
        Ok(())
    }

    fn hear_first(&mut self, beat: Heartbeat, key: Option<String>, at: Timestamp, most: usize) -> Result<()> {
        if self.nodes.len() >= most {
            let words =
                format!("{most} nodes are known, which is the most; remove some, or raise `max_nodes`");
            return Err(ApiError::new(Reason::TooManyRequests, words));
        }
        let id = beat.node_id.clone();
        let mut node = Node {
            beat,
            state: NodeState::Alive,
            standing: Standing::Known,
            public_key: key,
            first_seen: at,
            last_seen: at,
            twin_since: None,
            history: Vec::new(),
        };
        node.twin_since = node.twin_key().is_some().then_some(at);
        self.nodes.insert(id.clone(), Entry { node, heard: self.clock.now, sent: 0 });
        let change = NodeChange { at, state: NodeState::Alive, why: "first heard of".to_owned() };
        self.changes.push((id.clone(), change));
        self.unsaved.insert(id);
        Ok(())
    }

    /// Takes what an explorer before this one knew. What was heard here already is heard again, as news of that node.
    pub(crate) fn remember(&mut self, node: Node) {
        let id = node.beat.node_id.clone();
        let known = Entry { node, heard: self.clock.now, sent: 0 };
        let Some(Entry { node: news, .. }) = self.nodes.insert(id.clone(), known) else { return };
        self.changes.retain(|(of, _)| *of != id);
        if let Err(error) = self.hear(news.beat, news.public_key, news.last_seen, usize::MAX) {
            tracing::debug!(node = %id, %error, "what was heard before the shelf was read does not hold");
        }
    }

    /// Takes over what another replica has heard, if it is newer.
    pub(crate) fn merge(&mut self, node: Node) {
        let heard = self.clock.now;
        match self.nodes.get_mut(&node.beat.node_id) {
            Some(entry) if node.beat.order() > entry.node.beat.order() => {
                let standing = entry.node.standing;
                *entry = Entry { node: Node { standing, ..node }, heard, sent: 0 };
            }
            Some(_) => {}
            None => {
                self.nodes.insert(node.beat.node_id.clone(), Entry { node, heard, sent: 0 });
            }
        }
    }

    /// Forgets a node.
    pub(crate) fn forget(&mut self, id: &NodeId) {
        self.nodes.remove(id);
        self.unsaved.remove(id);
    }

    /// Forgets the nodes that are not among these, unless they are about to be saved.
    pub(crate) fn keep_only(&mut self, ids: &HashSet<NodeId>) {
        self.nodes.retain(|id, _| ids.contains(id) || self.unsaved.contains(id));
    }

    /// Notes what an admin has said.
    pub(crate) fn stand(&mut self, id: &NodeId, standing: Standing) -> bool {
        let Some(entry) = self.nodes.get_mut(id) else { return false };
        if standing == Standing::Allowed && entry.node.standing != Standing::Allowed {
            entry.node.public_key = None;
        }
        entry.node.standing = standing;
        self.unsaved.insert(id.clone());
        true
    }

    /// The standings as the shelf has them: every node that it does not name is known.
    pub(crate) fn stand_all(&mut self, standings: &HashMap<NodeId, Standing>) {
        for (id, entry) in &mut self.nodes {
            let standing = standings.get(id).copied().unwrap_or_default();
            if standing == Standing::Banned || entry.node.standing == Standing::Banned {
                entry.node.standing = standing;
            }
        }
    }

    /// Moves the clock and judges everybody by it; those that were forgotten.
    pub(crate) fn judge(&mut self, config: &HeartbeatsConfig, at: Timestamp) -> Vec<NodeId> {
        self.clock.tick(Duration::from_millis(config.judge_interval_ms) * 2);
        let now = self.clock.now;
        let mut forgotten = Vec::new();
        for (id, entry) in &mut self.nodes {
            let silent = now.saturating_sub(entry.heard);
            let interval = Duration::from_millis(entry.node.beat.interval_ms);
            let (state, missed) = verdict(silent, interval, config);
            if silent.as_millis() > u128::from(config.forget_after_ms) {
                forgotten.push(id.clone());
            } else if state > entry.node.state {
                entry.node.state = state;
                let change = NodeChange { at, state, why: format!("{missed} heartbeats missed") };
                self.changes.push((id.clone(), change));
                self.unsaved.insert(id.clone());
            }
        }
        forgotten.retain(|id| self.nodes.remove(id).is_some());
        forgotten
    }

    /// How many nodes are in each state, in the order of [`NodeState::ALL`].
    pub(crate) fn counts(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        for entry in self.nodes.values() {
            counts[entry.node.state as usize] += 1;
        }
        counts
    }

    /// Up to `most` records that the shelf does not have yet.
    pub(crate) fn take_unsaved(&mut self, most: usize) -> Vec<Node> {
        let ids: Vec<NodeId> = self.unsaved.iter().take(most).cloned().collect();
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            self.unsaved.remove(&id);
            taken.extend(self.nodes.get(&id).map(|entry| entry.node.clone()));
        }
        taken
    }

    /// What was taken was not saved after all.
    pub(crate) fn put_back(&mut self, nodes: &[Node]) {
        self.unsaved.extend(nodes.iter().map(|node| node.beat.node_id.clone()));
    }

    /// The changes of state since this was asked last.
    pub(crate) fn take_changes(&mut self) -> Vec<(NodeId, NodeChange)> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn put_back_changes(&mut self, mut changes: Vec<(NodeId, NodeChange)>) {
        const MOST_CHANGES: usize = 100_000;
        changes.append(&mut self.changes);
        changes.truncate(MOST_CHANGES);
        self.changes = changes;
    }

    pub(crate) fn get(&self, id: &NodeId) -> Result<Node> {
        self.nodes.get(id).map(|entry| entry.node.clone()).ok_or_else(|| not_found(id))
    }

    pub(crate) fn list(&self, filter: &NodeFilter) -> Result<NodePage> {
        let sort = filter.sort.unwrap_or_default();
        let mut found: Vec<&Node> =
            self.nodes.values().map(|entry| &entry.node).filter(|node| filter.fits(node)).collect();
        let total = found.len() as u64;
        if let Some(cursor) = &filter.cursor {
            let last = self.nodes.get(cursor).map(|entry| &entry.node).ok_or_else(|| {
                ApiError::new(
                    Reason::CursorUnknown,
                    "that node is gone meanwhile; begin again without a cursor",
                )
                .with_field("filter.cursor")
            })?;
            found.retain(|node| sort.compare(last, node).is_lt());
        }
        let limit = filter.limit.unwrap_or(NodePage::DEFAULT).clamp(1, NodePage::LONGEST);
        let has_more = found.len() > limit;
        if has_more {
            found.select_nth_unstable_by(limit - 1, |a, b| sort.compare(a, b));
            found.truncate(limit);
        }
        found.sort_unstable_by(|a, b| sort.compare(a, b));
        let next_cursor = found.last().filter(|_| has_more).map(|node| node.beat.node_id.clone());
        Ok(NodePage { nodes: found.into_iter().cloned().collect(), total, next_cursor })
    }

    /// The least busy node that fits and can be called; the call that it is chosen for counts from now on.
    pub(crate) fn choose(&mut self, selector: &NodeSelector) -> Result<Node> {
        let fits = |node: &Node| {
            node.state == NodeState::Alive
                && node.standing != Standing::Banned
                && !node.beat.addresses.is_empty()
                && selector.fits(&node.beat)
        };
        let fitting = self.nodes.values_mut().filter(|entry| fits(&entry.node));
        let least = fitting.min_by(|a, b| {
            a.busyness().total_cmp(&b.busyness()).then_with(|| a.node.beat.node_id.cmp(&b.node.beat.node_id))
        });
        let entry = least.ok_or_else(|| {
            let words =
                "no node that is alive fits; list_nodes shows those that are known, with what they serve";
            ApiError::new(Reason::NodeNotFound, words).with_field("node_id")
        })?;
        entry.sent = entry.sent.saturating_add(1);
        Ok(entry.node.clone())
    }
}

impl Entry {
    /// Work by slot.
    #[expect(clippy::cast_precision_loss, reason = "nodes are compared, not counted")]
    fn busyness(&self) -> f64 {
        let beat = &self.node.beat;
        let waiting: u64 = beat.queues.values().sum();
        (waiting as f64 + f64::from(beat.busy) + f64::from(self.sent)) / f64::from(beat.slots.max(1))
    }
}

fn verdict(silent: Duration, interval: Duration, config: &HeartbeatsConfig) -> (NodeState, u64) {
    // One is missed when half an interval more than it takes has gone by.
    let halves = silent.as_millis() * 2 / interval.as_millis().max(1);
    let missed = u64::try_from(halves.saturating_sub(1) / 2).unwrap_or(u64::MAX);
    let state = if silent.as_millis() > u128::from(config.gone_after_ms) && missed >= config.dead_after_missed
    {
        NodeState::Gone
    } else if missed >= config.dead_after_missed {
        NodeState::Dead
    } else if missed >= config.suspect_after_missed {
        NodeState::Suspect
    } else {
        NodeState::Alive
    };
    (state, missed)
}

/// The twin that a node says it is of, and the key that it signs with.
fn claim_of(node: &Node) -> Option<(u64, String)> {
    Some((node.beat.twin_id?, node.twin_key()?.to_ascii_lowercase()))
}

fn refuse_stranger(node: &Node, key: Option<&str>) -> Result<()> {
    if node.standing == Standing::Banned {
        let words = "this node is banned; an admin can allow it again (allow_node)";
        return Err(ApiError::new(Reason::NodeBanned, words));
    }
    match (node.public_key.as_deref(), key) {
        (Some(_), None) => Err(unsigned("this node has signed before, so it must sign")),
        (Some(known), Some(key)) if known != key => Err(ApiError::new(
            Reason::NodeIdTaken,
            "this id belongs to another key; take another node id, or have an admin allow the new key (allow_node)",
        )
        .with_field("public_key")),
        _ => Ok(()),
    }
}

fn replayed(known: &Heartbeat) -> ApiError {
    let words = format!(
        "heartbeat {} of the start at {} was heard already, and this one is not newer",
        known.counter, known.started_at_ms
    );
    ApiError::new(Reason::HeartbeatReplayed, words).with_field("beat.counter")
}

pub(crate) fn not_found(id: &NodeId) -> ApiError {
    ApiError::new(
        Reason::NodeNotFound,
        format!("there is no node {id}; list_nodes names those that are known"),
    )
    .with_field("node_id")
}

#[cfg(test)]
mod tests;
