//! Nodes, as the explorer knows them: what they say of themselves, and whether they still say it.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::{ApiError, CircleKey, JobId, NodeId, Reason, Result, ScriptType, Timestamp};

/// The shortest pause between two heartbeats that a node may announce.
const SHORTEST_INTERVAL_MS: u64 = 100;
/// The longest one.
const LONGEST_INTERVAL_MS: u64 = 3_600_000;
/// Elements of each list in a heartbeat.
const MOST_ELEMENTS: usize = 64;
/// Bytes of each text in a heartbeat.
const MOST_TEXT_BYTES: usize = 256;

/// What a node says of itself, again and again.
///
/// A member that is empty says nothing: it never replaces what is known. Members that are not known here are
/// overlooked, so that nodes of another version can be heard too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who it is.
    pub node_id: NodeId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it can be called: `unix:///path`, `tcp://host:port`, `tls://host:port`; the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The script types that its runners serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script_types: Vec<ScriptType>,
    /// The circles that it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circles: Vec<CircleKey>,
    /// What its keeper calls it by: `zone = "brussels"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its runners that are alive.
    #[serde(default)]
    pub runners: u32,
    /// How many jobs they can run at once.
    #[serde(default)]
    pub slots: u32,
    /// How many they run now.
    #[serde(default)]
    pub busy: u32,
    /// Jobs that wait, by script type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, u64>,
    /// What its machine has to say.
    #[serde(default, skip_serializing_if = "Machine::is_unknown")]
    pub machine: Machine,
    /// Its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its address in the overlay.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub overlay_ip: String,
    /// Its key in the overlay.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub overlay_key: String,
    /// Its twin in the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_id: Option<u64>,
    /// The key that the twin signs messages of the bus with, 32 bytes in hex; empty: the node's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub twin_key: String,
    /// Where the twin takes messages of the bus, such as `10.0.0.7:8051`; empty: where the node is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub twin_address: String,
    /// When it started, in milliseconds since 1970; a later start is always a larger number.
    pub started_at_ms: u64,
    /// How many heartbeats it has made since: each has the next number.
    pub counter: u64,
    /// When it made this one, by its own clock, in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// How long it pauses between two of them.
    pub interval_ms: u64,
}

/// What the machine of a node has, and how much of it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Processors.
    pub cpus: u32,
    /// How busy they are, in percent of all of them.
    pub cpu_percent: f64,
    /// The load of the last minute.
    pub load: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of memory that are in use.
    pub memory_used_bytes: u64,
    /// Bytes of the disk that the data folder is on.
    pub disk_bytes: u64,
    /// Bytes of it that are in use.
    pub disk_used_bytes: u64,
}

impl Machine {
    /// Whether nothing is known of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// What is newer: a later start, and after the same start the higher counter.
pub type BeatOrder = (u64, u64);

impl Heartbeat {
    /// Its place among the heartbeats of its node.
    #[must_use]
    pub const fn order(&self) -> BeatOrder {
        (self.started_at_ms, self.counter)
    }

    /// Slots that no job takes.
    #[must_use]
    pub const fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(self.busy)
    }

    /// # Errors
    /// InvalidParams with the member that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let refuse =
            |field: &str, words: &str| Err(ApiError::new(Reason::InvalidParams, words).with_field(field));
        let lists = [
            ("addresses", self.addresses.len()),
            ("script_types", self.script_types.len()),
            ("circles", self.circles.len()),
            ("labels", self.labels.len()),
            ("queues", self.queues.len()),
        ];
        if let Some((field, _)) = lists.iter().find(|(_, count)| *count > MOST_ELEMENTS) {
            return refuse(field, "has more than 64 elements");
        }
        let labels = self.labels.iter().flat_map(|(name, value)| [("labels", name), ("labels", value)]);
        let texts = [
            ("name", &self.name),
            ("version", &self.version),
            ("overlay_ip", &self.overlay_ip),
            ("overlay_key", &self.overlay_key),
            ("twin_address", &self.twin_address),
        ];
        let texts = texts.into_iter().chain(labels);
        let texts = texts.chain(self.addresses.iter().map(|address| ("addresses", address)));
        for (field, text) in texts.chain(self.queues.keys().map(|name| ("queues", name))) {
            if text.len() > MOST_TEXT_BYTES || text.chars().any(char::is_control) {
                return refuse(field, "has a text of more than 256 bytes, or one with control characters");
            }
        }
        if !self.twin_key.is_empty() && !is_key(&self.twin_key) {
            return refuse("twin_key", "has 32 bytes, in hex");
        }
        if !(SHORTEST_INTERVAL_MS..=LONGEST_INTERVAL_MS).contains(&self.interval_ms) {
            return refuse("interval_ms", "must be 100 to 3600000");
        }
        if self.started_at_ms == 0 || self.sent_at_ms < self.started_at_ms {
            return refuse("sent_at_ms", "must not be before started_at_ms");
        }
        Ok(())
    }

    /// Takes over what a newer one of the same node says; what it leaves empty stays as it is known.
    pub fn update(&mut self, newer: Self) {
        fn keep<T>(known: T, new: T, is_empty: impl Fn(&T) -> bool) -> T {
            if is_empty(&new) { known } else { new }
        }
        let known = std::mem::replace(self, newer);
        let of = std::mem::take::<String>;
        let is_empty = String::is_empty;
        self.name = keep(known.name, of(&mut self.name), is_empty);
        self.version = keep(known.version, of(&mut self.version), is_empty);
        self.overlay_ip = keep(known.overlay_ip, of(&mut self.overlay_ip), is_empty);
        self.overlay_key = keep(known.overlay_key, of(&mut self.overlay_key), is_empty);
        self.addresses = keep(known.addresses, std::mem::take(&mut self.addresses), Vec::is_empty);
        self.script_types = keep(known.script_types, std::mem::take(&mut self.script_types), Vec::is_empty);
        self.circles = keep(known.circles, std::mem::take(&mut self.circles), Vec::is_empty);
        self.labels = keep(known.labels, std::mem::take(&mut self.labels), BTreeMap::is_empty);
        self.twin_id = self.twin_id.or(known.twin_id);
        self.twin_key = keep(known.twin_key, of(&mut self.twin_key), is_empty);
        self.twin_address = keep(known.twin_address, of(&mut self.twin_address), is_empty);
        self.machine = keep(known.machine, self.machine, Machine::is_unknown);
    }
}

/// Whether a text is a key of 32 bytes in hex.
fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A heartbeat as it came in: the signature is over the very bytes of `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeartbeat {
    /// The heartbeat, as JSON text.
    pub text: String,
    /// The node's ed25519 key, 32 bytes in hex; none: unsigned.
    pub public_key: Option<String>,
    /// The signature, 64 bytes in hex.
    pub signature: Option<String>,
}

/// Whether a node can be counted on, judged by the heartbeats that it has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is heard of.
    Alive,
    /// Two heartbeats are missing.
    Suspect,
    /// So many are missing that it is called no more.
    Dead,
    /// It has been dead for long.
    Gone,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Suspect, Self::Dead, Self::Gone];

    /// The lower-case name: `alive`, `suspect`, `dead`, `gone`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }
}

/// What an admin has said about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing.
    #[default]
    Known,
    /// It may be heard with whatever key it brings next, which is its key from then on.
    Allowed,
    /// It is heard and called no more.
    Banned,
}

impl Standing {
    /// The lower-case name: `known`, `allowed`, `banned`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Allowed => "allowed",
            Self::Banned => "banned",
        }
    }
}

/// A change of state, as the explorer saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    /// When.
    pub at: Timestamp,
    /// The state from then on.
    pub state: NodeState,
    /// Why: `first heard of`, `2 heartbeats missed`, `heard again, 7 were lost on the way`.
    pub why: String,
}

/// A node, as the explorer knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The latest that it said, completed by what it said before.
    #[serde(flatten)]
    pub beat: Heartbeat,
    /// Whether it can be counted on.
    pub state: NodeState,
    /// What an admin has said about it.
    #[serde(default)]
    pub standing: Standing,
    /// The key that belongs to its id, in hex; none: it has never signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// When it was heard of first.
    pub first_seen: Timestamp,
    /// When it was heard of last.
    pub last_seen: Timestamp,
    /// Since when it says that it is of this twin, and signs with that key; none: it has no twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_since: Option<Timestamp>,
    /// Its changes of state, the latest first; only where one node was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<NodeChange>,
}

impl Node {
    /// The key that its twin signs with, in hex; none: it has no twin, or has never signed.
    #[must_use]
    pub fn twin_key(&self) -> Option<&str> {
        self.beat.twin_id?;
        let own = self.public_key.as_deref();
        if self.beat.twin_key.is_empty() { own } else { Some(&self.beat.twin_key) }
    }
}

/// The order of a list of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSort {
    /// By id.
    #[default]
    NodeId,
    /// By name.
    Name,
    /// The most free slots first.
    FreeSlots,
    /// The lowest load of a processor first.
    Load,
    /// Heard of last first.
    LastSeen,
}

impl NodeSort {
    /// Which of two nodes stands first. No two are equal, since ids are not.
    #[must_use]
    pub fn compare(self, a: &Node, b: &Node) -> Ordering {
        let by_id = || a.beat.node_id.cmp(&b.beat.node_id);
        let load = |node: &Node| node.beat.machine.load / f64::from(node.beat.machine.cpus.max(1));
        match self {
            Self::NodeId => by_id(),
            Self::Name => a.beat.name.cmp(&b.beat.name).then_with(by_id),
            Self::FreeSlots => b.beat.free_slots().cmp(&a.beat.free_slots()).then_with(by_id),
            Self::Load => load(a).total_cmp(&load(b)).then_with(by_id),
            Self::LastSeen => b.last_seen.cmp(&a.last_seen).then_with(by_id),
        }
    }
}

/// Which nodes, in which order, how many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeFilter {
    /// Only nodes that serve this script type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_type: Option<ScriptType>,
    /// Only nodes that serve this circle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circle: Option<CircleKey>,
    /// Only nodes with at least so many free slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_slots: Option<u32>,
    /// Only nodes with this label: `zone`, or `zone=brussels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only nodes in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Only nodes of this twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_id: Option<u64>,
    /// Only nodes whose twin signs with this key, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_key: Option<String>,
    /// The order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<NodeSort>,
    /// At most so many; none: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The last id of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<NodeId>,
}

/// A page of nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodePage {
    /// The nodes, without their histories.
    pub nodes: Vec<Node>,
    /// How many fit the filter, on all pages.
    pub total: u64,
    /// The cursor of the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<NodeId>,
}

impl NodePage {
    /// Nodes of a page that does not say how many.
    pub const DEFAULT: usize = 100;
    /// The most nodes of a page.
    pub const LONGEST: usize = 1_000;

    /// What several explorers know, as one page of at most `limit`: of a node that more than one has told of, the newest.
    #[must_use]
    pub fn merge(pages: Vec<Self>, sort: NodeSort, limit: usize) -> Self {
        let total = pages.iter().map(|page| page.total).max().unwrap_or_default();
        let more_follow = pages.iter().any(|page| page.next_cursor.is_some());
        let mut newest: BTreeMap<NodeId, Node> = BTreeMap::new();
        for node in pages.into_iter().flat_map(|page| page.nodes) {
            let known = newest.get(&node.beat.node_id);
            if known.is_none_or(|known| known.beat.order() < node.beat.order()) {
                newest.insert(node.beat.node_id.clone(), node);
            }
        }
        let mut nodes: Vec<Node> = newest.into_values().collect();
        nodes.sort_unstable_by(|a, b| sort.compare(a, b));
        let total = total.max(nodes.len() as u64);
        let more_follow = more_follow || nodes.len() > limit;
        nodes.truncate(limit);
        let next_cursor = nodes.last().filter(|_| more_follow).map(|node| node.beat.node_id.clone());
        Self { nodes, total, next_cursor }
    }
}

/// What a node must have for a call. Among those that have it, the least busy one is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSelector {
    /// It serves this script type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_type: Option<ScriptType>,
    /// It serves this circle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circle: Option<CircleKey>,
    /// It has at least so many free slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_slots: Option<u32>,
    /// It has this label: `zone`, or `zone=brussels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// It is none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<NodeId>,
}

impl NodeSelector {
    /// Whether a node has what is asked for.
    #[must_use]
    pub fn fits(&self, beat: &Heartbeat) -> bool {
        self.script_type.is_none_or(|wanted| beat.script_types.contains(&wanted))
            && self.circle.as_ref().is_none_or(|wanted| beat.circles.contains(wanted))
            && self.free_slots.is_none_or(|wanted| beat.free_slots() >= wanted)
            && self.label.as_deref().is_none_or(|wanted| has_label(beat, wanted))
            && !self.except.contains(&beat.node_id)
    }
}

impl NodeFilter {
    /// Whether a node is one of those.
    #[must_use]
    pub fn fits(&self, node: &Node) -> bool {
        let beat = &node.beat;
        self.state.is_none_or(|wanted| node.state == wanted)
            && self.script_type.is_none_or(|wanted| beat.script_types.contains(&wanted))
            && self.circle.as_ref().is_none_or(|wanted| beat.circles.contains(wanted))
            && self.free_slots.is_none_or(|wanted| beat.free_slots() >= wanted)
            && self.label.as_deref().is_none_or(|wanted| has_label(beat, wanted))
            && self.twin_id.is_none_or(|wanted| beat.twin_id == Some(wanted))
            && self.twin_key.as_deref().is_none_or(|wanted| is_same_key(node.twin_key(), wanted))
    }
}

fn is_same_key(key: Option<&str>, wanted: &str) -> bool {
    key.is_some_and(|key| key.eq_ignore_ascii_case(wanted))
}

fn has_label(beat: &Heartbeat, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => beat.labels.get(name).is_some_and(|have| have == value),
        None => beat.labels.contains_key(wanted),
    }
}

/// Which node a call is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NodeTarget {
    /// This one.
    Id(NodeId),
    /// The least busy one that fits.
    Fitting(NodeSelector),
    /// The one that was given this job.
    OfJob {
        /// The job.
        job_id: JobId,
    },
}

/// A call that is passed on to a node as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCall {
    /// The method.
    pub method: String,
    /// Its parameters as JSON text, an object or an array; none: without.
    pub params: Option<String>,
    /// How long the node may take; none: the explorer's own bound.
    pub timeout_ms: Option<u64>,
    /// The job that this call gives to the node: whoever looks for it later is sent there.
    pub places: Option<JobId>,
}

/// What a node answered, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAnswer {
    /// The result.
    Result(String),
    /// The error object: the node's own.
    Error(String),
}

/// What an admin decides about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeDecision {
    /// Its next key is its key: one that was reinstalled may come back.
    Allow,
    /// It is heard and called no more.
    Ban,
    /// It is forgotten; when it is heard of again, it is new.
    Remove,
}

#[cfg(test)]
mod tests {
    use super::{Heartbeat, Node, NodePage, NodeSelector, NodeSort, NodeState, Standing};
    use crate::Timestamp;

    fn beat() -> Heartbeat {
        serde_json::from_str(
            r#"{"node_id": "a", "name": "kitchen", "addresses": ["tcp://10.0.0.1:9000"], "labels": {"zone": "b"},
                "slots": 4, "busy": 3, "started_at_ms": 5, "counter": 1, "sent_at_ms": 6, "interval_ms": 10000}"#,
        )
        .unwrap()
    }

    #[test]
    fn an_empty_value_never_replaces_a_known_one() {
        let mut known = beat();
        let newer = Heartbeat {
            name: String::new(),
            addresses: Vec::new(),
            labels: [].into(),
            busy: 0,
            counter: 2,
            ..beat()
        };
        known.update(newer);
        assert_eq!((known.name.as_str(), known.counter, known.busy), ("kitchen", 2, 0));
        assert_eq!(known.addresses, ["tcp://10.0.0.1:9000"]);
        assert_eq!(known.labels["zone"], "b");
        known.update(Heartbeat { name: "cellar".into(), counter: 3, ..beat() });
        assert_eq!(known.name, "cellar");
    }

    #[test]
    fn a_later_start_is_newer_than_any_counter() {
        let restarted = Heartbeat { started_at_ms: 6, counter: 1, ..beat() };
        assert!(restarted.order() > Heartbeat { counter: 1_000, ..beat() }.order());
    }

    #[test]
    fn pages_of_several_explorers_are_one_with_the_newest_of_each_node() {
        let node = |id: &str, counter: u64, busy: u32| Node {
            beat: Heartbeat { node_id: id.parse().unwrap(), counter, busy, ..beat() },
            state: NodeState::Alive,
            standing: Standing::Known,
            public_key: None,
            first_seen: Timestamp::from_millis(0),
            last_seen: Timestamp::from_millis(0),
            twin_since: None,
            history: Vec::new(),
        };
        let page = |nodes: Vec<Node>| NodePage { total: nodes.len() as u64, nodes, next_cursor: None };
        let one = page(vec![node("a", 7, 0), node("b", 1, 3)]);
        let other = page(vec![node("b", 2, 1), node("c", 1, 2)]);
        let merged = NodePage::merge(vec![one.clone(), other.clone()], NodeSort::FreeSlots, 10);
        let told: Vec<_> =
            merged.nodes.iter().map(|it| (it.beat.node_id.as_str(), it.beat.counter)).collect();
        assert_eq!(told, [("a", 7), ("b", 2), ("c", 1)]);
        assert_eq!((merged.total, merged.next_cursor), (3, None));
        let first = NodePage::merge(vec![one, other], NodeSort::NodeId, 2);
        assert_eq!(first.next_cursor.unwrap().as_str(), "b", "more follow");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let field = |change: fn(&mut Heartbeat)| {
            let mut beat = beat();
            change(&mut beat);
            beat.validate().unwrap_err().field().unwrap().to_owned()
        };
        beat().validate().unwrap();
        assert_eq!(field(|beat| beat.name = "x".repeat(257)), "name");
        assert_eq!(field(|beat| beat.version = "a\nb".into()), "version");
        assert_eq!(field(|beat| beat.addresses = vec![String::new(); 65]), "addresses");
        assert_eq!(field(|beat| beat.twin_key = "ab".into()), "twin_key");
        assert_eq!(field(|beat| beat.interval_ms = 1), "interval_ms");
        assert_eq!(field(|beat| beat.sent_at_ms = 1), "sent_at_ms");
    }

    #[test]
    fn a_selector_asks_for_slots_and_labels() {
        let fits = |text: &str| serde_json::from_str::<NodeSelector>(text).unwrap().fits(&beat());
        assert!(fits("{}") && fits(r#"{"free_slots": 1}"#) && !fits(r#"{"free_slots": 2}"#));
        assert!(
            fits(r#"{"label": "zone"}"#) && fits(r#"{"label": "zone=b"}"#) && !fits(r#"{"label": "zone=c"}"#)
        );
        assert!(!fits(r#"{"script_type": "Python"}"#) && !fits(r#"{"except": ["a"]}"#));
        assert!(serde_json::from_str::<NodeSelector>(r#"{"slots": 1}"#).is_err());
    }
}
