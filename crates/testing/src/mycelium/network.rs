//! What the daemons keep, and how messages go from one to another.

use std::{
    collections::{HashMap, VecDeque},
    net::Ipv6Addr,
    path::PathBuf,
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};

use super::Mood;

/// Seconds after which a message is given up.
const GIVE_UP_S: u64 = 300;
/// Seconds after which its record is gone.
const FORGET_S: u64 = 600;

#[derive(Default)]
pub(super) struct Network {
    pub(super) now_s: u64,
    pub(super) nodes: Vec<Node>,
    minted: u64,
    /// Messages for a forward socket, which somebody outside the lock carries there.
    pub(super) forwards: Vec<Forward>,
}

pub(super) struct Forward {
    pub(super) node: usize,
    pub(super) socket: PathBuf,
    pub(super) message: Message,
}

pub(super) struct Node {
    pub(super) pk: String,
    pub(super) ip: Ipv6Addr,
    pub(super) mood: Mood,
    pub(super) is_up: bool,
    pub(super) is_alone: bool,
    pub(super) calls: u64,
    pub(super) inbox: VecDeque<Message>,
    pub(super) delivered: Vec<Message>,
    outbox: HashMap<String, Sent>,
    pub(super) waiting: HashMap<String, oneshot::Sender<Message>>,
    pub(super) accepts_by_default: bool,
    pub(super) topics: HashMap<Vec<u8>, Topic>,
    /// The node mutex of the real daemon: a long poll holds it.
    pub(super) api: Arc<AsyncMutex<()>>,
    pub(super) arrived: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct Topic {
    pub(super) sources: Vec<(Ipv6Addr, u8)>,
    pub(super) forward: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) from: usize,
    pub(super) dst: Ipv6Addr,
    pub(super) topic: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) is_reply: bool,
}

pub(super) enum Destination {
    Ip(Ipv6Addr),
    Pk(String),
}

struct Sent {
    to: Option<usize>,
    message: Message,
    state: &'static str,
    created_s: u64,
}

impl Node {
    /// Whether an address is in this node's /64.
    pub(super) fn owns(&self, ip: Ipv6Addr) -> bool {
        ip.segments()[..4] == self.ip.segments()[..4]
    }

    fn accepts(&self, topic: &[u8], from: Ipv6Addr) -> bool {
        match self.topics.get(topic) {
            Some(entry) => entry.sources.iter().any(|(net, bits)| covers(*net, *bits, from)),
            None => self.accepts_by_default,
        }
    }
}

fn covers(net: Ipv6Addr, bits: u8, ip: Ipv6Addr) -> bool {
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits.min(128))) };
    u128::from(net) & mask == u128::from(ip) & mask
}

impl Network {
    pub(super) fn add_node(&mut self) -> usize {
        if self.now_s == 0 {
            self.now_s = 1_795_251_904;
        }
        let number = self.nodes.len() as u64 + 1;
        let key: Vec<u8> = (0..32).map(|place| (number * 37 + place * 11) as u8 ^ (number as u8)).collect();
        let mut address = [0; 16];
        address.copy_from_slice(&key[..16]);
        address[0] = 4 | (key[0] & 1);
        address[1..3].copy_from_slice(&(number as u16).to_be_bytes());
        self.nodes.push(Node {
            pk: key.iter().map(|byte| format!("{byte:02x}")).collect(),
            ip: Ipv6Addr::from(address),
            mood: Mood::Well,
            is_up: false,
            is_alone: false,
            calls: 0,
            inbox: VecDeque::new(),
            delivered: Vec::new(),
            outbox: HashMap::new(),
            waiting: HashMap::new(),
            accepts_by_default: true,
            topics: HashMap::new(),
            api: Arc::default(),
            arrived: Arc::default(),
        });
        self.nodes.len() - 1
    }

    /// Memory is gone; so are the changes that were made over the API.
    pub(super) fn forget(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.is_up = false;
        node.inbox.clear();
        node.outbox.clear();
        node.waiting.clear();
        node.topics.clear();
        node.accepts_by_default = true;
        node.api = Arc::default();
    }

    pub(super) fn next_id(&mut self) -> String {
        self.minted += 1;
        format!("{:016x}", self.minted.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Queues a message; nothing tells whether it will ever arrive.
    pub(super) fn push(&mut self, from: usize, id: &str, dst: Destination, topic: Vec<u8>, payload: Vec<u8>) {
        let id = id.to_owned();
        let dst_ip = Ipv6Addr::UNSPECIFIED;
        self.send(from, dst, Message { id, from, dst: dst_ip, topic, payload, is_reply: false });
    }

    pub(super) fn reply(&mut self, from: usize, id: &str, dst: Destination, payload: Vec<u8>) {
        let message = Message {
            id: id.to_owned(),
            from,
            dst: Ipv6Addr::UNSPECIFIED,
            topic: Vec::new(),
            payload,
            is_reply: true,
        };
        self.send(from, dst, message);
    }

    fn send(&mut self, from: usize, dst: Destination, mut message: Message) {
        let to = self.nodes.iter().position(|node| match &dst {
            Destination::Ip(ip) => node.owns(*ip),
            Destination::Pk(pk) => node.pk == *pk,
        });
        message.dst = match (&dst, to) {
            (Destination::Ip(ip), _) => *ip,
            (Destination::Pk(_), Some(to)) => self.nodes[to].ip,
            (Destination::Pk(_), None) => Ipv6Addr::UNSPECIFIED,
        };
        // To itself it never arrives.
        let to = to.filter(|to| *to != from);
        let sent = Sent { to, state: "pending", created_s: self.now_s, message };
        self.nodes[from].outbox.insert(sent.message.id.clone(), sent);
        self.settle();
    }

    /// Delivers what can be delivered now, and gives up what is too old.
    pub(super) fn settle(&mut self) {
        for from in 0..self.nodes.len() {
            let now = self.now_s;
            self.nodes[from].outbox.retain(|_, sent| now < sent.created_s + FORGET_S);
            let mut pending: Vec<(u64, String)> = Vec::new();
            for (id, sent) in &mut self.nodes[from].outbox {
                if sent.state == "pending" && now >= sent.created_s + GIVE_UP_S {
                    sent.state = "aborted";
                } else if sent.state == "pending" {
                    pending.push((sent.created_s, id.clone()));
                }
            }
            pending.sort();
            for (_, id) in pending {
                self.deliver(from, &id);
            }
        }
    }

    fn deliver(&mut self, from: usize, id: &str) {
        let Some(sent) = self.nodes[from].outbox.get(id) else { return };
        let (Some(to), message) = (sent.to, sent.message.clone()) else { return };
        let source = self.nodes[from].ip;
        let receiver = &mut self.nodes[to];
        let is_held_back =
            receiver.inbox.iter().any(|unread| unread.id == id && unread.is_reply == message.is_reply);
        if !receiver.is_up || is_held_back || !(message.is_reply || receiver.accepts(&message.topic, source))
        {
            return;
        }
        receiver.delivered.push(message.clone());
        if let Some(sent) = self.nodes[from].outbox.get_mut(id) {
            sent.state = "received";
        }
        self.take_in(to, message);
    }

    fn take_in(&mut self, to: usize, message: Message) {
        let receiver = &mut self.nodes[to];
        let message = match (message.is_reply, receiver.waiting.remove(&message.id)) {
            (true, Some(waiting)) => match waiting.send(message) {
                Ok(()) => return,
                Err(message) => message,
            },
            (false, Some(waiting)) => {
                receiver.waiting.insert(message.id.clone(), waiting);
                message
            }
            (_, None) => message,
        };
        let entry = receiver.topics.get(&message.topic).filter(|_| !message.is_reply);
        if let Some(socket) = entry.and_then(|entry| entry.forward.clone()) {
            self.forwards.push(Forward { node: to, socket, message });
            return;
        }
        self.queue(to, message);
    }

    pub(super) fn queue(&mut self, to: usize, message: Message) {
        self.nodes[to].inbox.push_back(message);
        self.nodes[to].arrived.notify_waiters();
    }

    pub(super) fn deliver_again(&mut self, node: usize, id: &str) -> bool {
        let found = self.nodes[node].delivered.iter().find(|message| message.id == id).cloned();
        let Some(message) = found else { return false };
        self.nodes[node].delivered.push(message.clone());
        self.take_in(node, message);
        true
    }

    /// The oldest message of a topic; none: of any.
    pub(super) fn pop(&mut self, node: usize, peek: bool, topic: Option<&[u8]>) -> Option<Message> {
        let inbox = &mut self.nodes[node].inbox;
        let at = inbox.iter().position(|message| topic.is_none_or(|topic| message.topic == topic))?;
        let message = if peek { inbox[at].clone() } else { inbox.remove(at)? };
        if let Some(sent) = self.nodes[message.from].outbox.get_mut(&message.id)
            && sent.state == "received"
            && sent.message.is_reply == message.is_reply
        {
            sent.state = "read";
        }
        self.settle();
        Some(message)
    }

    pub(super) fn info(&self, node: usize, id: &str) -> Option<Value> {
        let sent = self.nodes[node].outbox.get(id)?;
        Some(json!({
            "dst": sent.message.dst.to_string(),
            "state": sent.state,
            "created": sent.created_s,
            "deadline": sent.created_s + GIVE_UP_S,
            "msgLen": sent.message.payload.len(),
        }))
    }
}
