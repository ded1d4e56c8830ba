//! Twins as the project's own node registry knows them: id, key and address, from the heartbeats of their nodes.
//!
//! An id belongs to the key that claimed it first: who comes later with another key is not believed, until an admin of
//! the explorer bans or removes the first one's node.

use std::{cmp::Reverse, time::Duration};

use anyhow::{Context as _, ensure};
use hero_domain::{Node, NodeFilter, NodePage, Standing, Timestamp};
use hero_runtime::{
    Address,
    listen::{Connector, LinesConfig, Peers, TlsConfig},
};
use serde::Deserialize;
use serde_json::json;

use crate::twins::{Twin, Unknown, account, away};

/// Nodes that may say that they are of one twin.
const MOST_NODES: usize = 1_000;

/// The registry, asked at the first of its explorers that answers.
pub(crate) struct Registry {
    peers: Peers,
    explorers: Vec<Address>,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<NodePage>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Registry {
    /// `explorers` are addresses with commas between them.
    pub(crate) fn new(explorers: &str, tls: &TlsConfig) -> anyhow::Result<Self> {
        let texts = explorers.split(',').map(str::trim).filter(|text| !text.is_empty());
        let explorers = texts.map(str::parse).collect::<Result<Vec<Address>, _>>().context(
            "an explorer is explorer:tcp://host:port, explorer:tls://host:port or explorer:unix:///path",
        )?;
        ensure!(!explorers.is_empty(), "explorer: names no address; write explorer:tcp://host:port");
        let connector = Connector::new(tls).context("`twins.tls`")?;
        Ok(Self { peers: Peers::new(connector, LinesConfig::default()), explorers })
    }

    pub(crate) async fn by_id(&self, id: u32, timeout: Duration) -> Result<Twin, Unknown> {
        let filter = NodeFilter { twin_id: Some(id.into()), ..NodeFilter::default() };
        twin_of(id, &self.nodes(filter, timeout).await?)
    }

    pub(crate) async fn by_account(&self, account: &[u8; 32], timeout: Duration) -> Result<Twin, Unknown> {
        let filter = NodeFilter { twin_key: Some(hex::encode(account)), ..NodeFilter::default() };
        for node in self.nodes(filter, timeout).await? {
            let Some(id) = node.beat.twin_id.and_then(|id| u32::try_from(id).ok()) else { continue };
            // What its node says counts if it was the first to say so.
            match self.by_id(id, timeout).await {
                Ok(twin) if twin.account == *account => return Ok(twin),
                Ok(_) | Err(Unknown::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Unknown::Missing)
    }

    /// Asks one explorer after the other: looking changes nothing.
    async fn nodes(&self, mut filter: NodeFilter, timeout: Duration) -> Result<Vec<Node>, Unknown> {
        filter.limit = Some(MOST_NODES);
        let params = json!({ "filter": filter });
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": "list_nodes", "params": params}).to_string();
        let mut failures = Vec::new();
        for explorer in &self.explorers {
            match self.peers.ask(explorer, &line, timeout).await {
                Ok(answer) => return nodes_of(explorer, &answer),
                Err(error) => failures.push(format!("{explorer}: {error}")),
            }
        }
        Err(away(failures.join("; ")))
    }
}

fn nodes_of(explorer: &Address, answer: &str) -> Result<Vec<Node>, Unknown> {
    match serde_json::from_str(answer) {
        Ok(Answer { result: Some(page), .. }) if page.next_cursor.is_some() => {
            Err(away(format!("{explorer}: more than {MOST_NODES} nodes say that they are of this twin")))
        }
        Ok(Answer { result: Some(page), .. }) => Ok(page.nodes),
        Ok(Answer { error: Some(refusal), .. }) => Err(away(format!("{explorer}: {}", refusal.message))),
        Ok(Answer { .. }) => Err(away(format!("{explorer}: it answers no JSON-RPC"))),
        Err(error) => Err(away(format!("{explorer}: {error}"))),
    }
}

/// The twin that these nodes say they are of.
fn twin_of(id: u32, nodes: &[Node]) -> Result<Twin, Unknown> {
    let claims = || {
        let nodes = nodes.iter().filter(|node| node.standing != Standing::Banned);
        nodes.filter_map(|node| node.twin_key().map(|key| (node, key.to_ascii_lowercase())))
    };
    const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);
    let first = claims().min_by_key(|(node, _)| (node.twin_since.unwrap_or(NEVER), &node.beat.node_id));
    let (_, key) = first.ok_or(Unknown::Missing)?;
    let ours = claims().filter(|(_, other)| *other == key).map(|(node, _)| node);
    let best = ours.filter_map(|node| Some((node, address_of(node)?)));
    let best = best.min_by_key(|(node, _)| (node.state, Reverse(node.last_seen)));
    let (_, address) = best.ok_or_else(|| away(format!("no node of twin {id} says where it is")))?;
    let account = account(&key).map_err(|error| away(format!("twin {id}: {error:#}")))?;
    Ok(Twin { id, account, address })
}

/// Where a node's twin takes messages: where it says, else on the machine that the node is called at.
fn address_of(node: &Node) -> Option<String> {
    if !node.beat.twin_address.is_empty() {
        return Some(node.beat.twin_address.clone());
    }
    let hosts = node.beat.addresses.iter().filter_map(|address| match address.parse() {
        Ok(Address::Tcp { host, .. } | Address::Tls { host, .. }) => Some(host),
        _ => None,
    });
    let overlay = Some(&node.beat.overlay_ip).filter(|ip| !ip.is_empty()).cloned();
    hosts.chain(overlay).next()
}

#[cfg(test)]
mod tests {
    use hero_domain::{Node, Standing, Timestamp};
    use serde_json::json;

    use super::{Registry, nodes_of, twin_of};
    use crate::twins::Unknown;

    /// A node that has said since then that it is of twin 7.
    fn node(id: &str, key: u8, since: i64) -> Node {
        let node = json!({
            "node_id": id, "addresses": ["unix:///x", "tcp://10.0.0.1:9003"], "twin_id": 7, "started_at_ms": 5,
            "counter": 1, "sent_at_ms": 6, "interval_ms": 1000, "state": "alive",
            "public_key": hex::encode([key; 32]), "first_seen": Timestamp::from_millis(1),
            "last_seen": Timestamp::from_millis(since), "twin_since": Timestamp::from_millis(since),
        });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn an_id_belongs_to_the_key_that_claimed_it_first() {
        let mut nodes = [node("a", 2, 9), node("b", 1, 5), node("c", 2, 7)];
        let twin = twin_of(7, &nodes).unwrap();
        assert_eq!((twin.account, twin.address.as_str()), ([1; 32].into(), "10.0.0.1"));
        nodes[1].standing = Standing::Banned;
        assert_eq!(twin_of(7, &nodes).unwrap().account, [2; 32]);
        assert_eq!(twin_of(7, &[]), Err(Unknown::Missing));
    }

    #[test]
    fn the_key_and_the_address_of_the_bus_come_before_those_of_the_node() {
        let mut own = node("a", 1, 5);
        own.beat.twin_key = "AB".repeat(32);
        own.beat.twin_address = "relay.example.org:8052".into();
        let twin = twin_of(7, &[own.clone()]).unwrap();
        assert_eq!((twin.account, twin.address.as_str()), ([0xab; 32].into(), "relay.example.org:8052"));
        own.beat.twin_address.clear();
        own.beat.addresses.clear();
        assert!(matches!(twin_of(7, &[own.clone()]), Err(Unknown::Away(_))));
        own.beat.overlay_ip = "4f2::1".into();
        assert_eq!(twin_of(7, &[own]).unwrap().url("/x"), "http://[4f2::1]:8051/x");
    }

    #[test]
    fn an_answer_that_cannot_be_used_says_whose_it_is() {
        let explorer = "tcp://10.0.0.9:9002".parse().unwrap();
        for answer in [
            "",
            "{}",
            r#"{"error":{"code":1,"message":"no"}}"#,
            r#"{"result":{"nodes":[],"total":1001,"next_cursor":"a"}}"#,
        ] {
            let Err(Unknown::Away(why)) = nodes_of(&explorer, answer) else { panic!("{answer}") };
            assert!(why.starts_with("tcp://10.0.0.9:9002: "), "{why}");
        }
        for explorers in ["", "nowhere"] {
            assert!(Registry::new(explorers, &hero_runtime::listen::TlsConfig::default()).is_err());
        }
    }
}
