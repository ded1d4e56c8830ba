//! The daemon's methods.

use std::{net::Ipv6Addr, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::oneshot,
};

use super::{
    FakeOverlay, Mood,
    network::{Destination, Forward, Message, Network, Topic},
};

/// An error answer: the code is all that means anything.
pub(super) struct Failure {
    pub(super) code: i32,
    pub(super) data: Option<String>,
}

type Answer<T = Value> = Result<T, Failure>;

const fn code(code: i32) -> Failure {
    Failure { code, data: None }
}

fn invalid(words: &str) -> Failure {
    Failure { code: -32602, data: Some(words.to_owned()) }
}

/// A parameter by place or by one of its names; null equals absent.
fn param<'a>(params: &'a Value, place: usize, names: &[&str]) -> Option<&'a Value> {
    let found = match params {
        Value::Array(values) => values.get(place),
        _ => names.iter().find_map(|name| params.get(name)),
    };
    found.filter(|value| !value.is_null())
}

fn text<'a>(params: &'a Value, place: usize, name: &str) -> Answer<&'a str> {
    param(params, place, &[name]).and_then(Value::as_str).ok_or_else(|| invalid("expected a string"))
}

fn seconds(value: Option<&Value>) -> Answer<Option<u64>> {
    value.map(|value| value.as_u64().ok_or_else(|| invalid("expected u64"))).transpose()
}

fn topic(params: &Value, place: usize) -> Answer<Vec<u8>> {
    STANDARD.decode(text(params, place, "topic")?).map_err(|_| code(-32021))
}

pub(super) async fn call(overlay: &FakeOverlay, node: usize, method: &str, params: &Value) -> Answer {
    let api = Arc::clone(&overlay.lock().nodes[node].api);
    // One at a time: a long poll keeps this while it waits.
    let turn = api.lock_owned().await;
    match method {
        "popMessage" => pop(overlay, node, params).await,
        "pushMessage" => {
            let (id, waiter) = push(overlay, node, params)?;
            drop(turn);
            Ok(wait_for_reply(overlay, node, id, waiter).await)
        }
        _ => {
            let mut network = overlay.lock();
            let answer = quick(&mut network, node, method, params);
            carry(overlay, &mut network);
            answer
        }
    }
}

fn quick(network: &mut Network, node: usize, method: &str, params: &Value) -> Answer {
    match method {
        "pushMessageReply" => reply(network, node, params),
        "getMessageInfo" => {
            let id = message_id(text(params, 0, "id")?).ok_or(code(-32020))?;
            network.info(node, &id).ok_or(code(-32019))
        }
        "getInfo" => Ok(info(network, node)),
        "getPeers" => Ok(peers(network, node)),
        "getPublicKeyFromIp" => {
            let ip: Ipv6Addr = text(params, 0, "ip")?.parse().map_err(|_| code(-32007))?;
            let found = network.nodes.iter().enumerate().find(|(other, it)| *other != node && it.owns(ip));
            found.map(|(_, it)| it.pk.clone().into()).ok_or(code(-32008))
        }
        _ => topics(network, node, method, params),
    }
}

fn topics(network: &mut Network, node: usize, method: &str, params: &Value) -> Answer {
    let node = &mut network.nodes[node];
    match method {
        "getDefaultTopicAction" => return Ok(node.accepts_by_default.into()),
        "setDefaultTopicAction" => {
            let accept = param(params, 0, &["accept"]).and_then(Value::as_bool);
            node.accepts_by_default = accept.ok_or_else(|| invalid("expected a bool"))?;
        }
        "getTopics" => return Ok(node.topics.keys().map(|topic| STANDARD.encode(topic)).collect()),
        "addTopic" => {
            node.topics.entry(topic(params, 0)?).or_default();
        }
        "removeTopic" => {
            node.topics.remove(&topic(params, 0)?);
        }
        "getTopicSources" => {
            let entry = node.topics.get(&topic(params, 0)?).ok_or(code(-32030))?;
            return Ok(entry.sources.iter().map(|(ip, bits)| format!("{ip}/{bits}")).collect());
        }
        "addTopicSource" => {
            let source = subnet(text(params, 1, "subnet")?)?;
            node.topics.entry(topic(params, 0)?).or_default().sources.push(source);
        }
        "removeTopicSource" => {
            let source = subnet(text(params, 1, "subnet")?)?;
            let entry = node.topics.get_mut(&topic(params, 0)?).ok_or(code(-32030))?;
            entry.sources.retain(|known| *known != source);
        }
        "getTopicForwardSocket" => {
            let entry: Option<&Topic> = node.topics.get(&topic(params, 0)?);
            return Ok(json!(entry.and_then(|entry| entry.forward.clone())));
        }
        "setTopicForwardSocket" => {
            let path = PathBuf::from(text(params, 1, "socket_path")?);
            // Without an entry it answers true and does nothing.
            if let Some(entry) = node.topics.get_mut(&topic(params, 0)?) {
                entry.forward = Some(path);
            }
        }
        "removeTopicForwardSocket" => {
            if let Some(entry) = node.topics.get_mut(&topic(params, 0)?) {
                entry.forward = None;
            }
        }
        _ => return Err(code(-32601)),
    }
    network.settle();
    Ok(true.into())
}

fn subnet(text: &str) -> Answer<(Ipv6Addr, u8)> {
    let (ip, bits) = text.split_once('/').unwrap_or((text, "128"));
    let ip = ip.parse().map_err(|_| code(-32023))?;
    let bits = bits.parse().ok().filter(|bits| *bits <= 128).ok_or(code(-32023))?;
    Ok((ip, bits))
}

fn message_id(text: &str) -> Option<String> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

fn info(network: &Network, node: usize) -> Value {
    let node = &network.nodes[node];
    let mut subnet = node.ip.segments();
    subnet[4..].fill(0);
    let mut info = json!({"nodeSubnet": format!("{}/64", Ipv6Addr::from(subnet)), "nodePubkey": node.pk});
    if node.mood != Mood::Old {
        info["nodeIp"] = node.ip.to_string().into();
        info["nodeStartTime"] = network.now_s.into();
    }
    info
}

fn peers(network: &Network, node: usize) -> Value {
    if network.nodes[node].is_alone {
        return json!([]);
    }
    let others = network.nodes.iter().enumerate().filter(|(other, it)| *other != node && it.is_up);
    let peer = |(other, _): (usize, _)| {
        json!({
            "endpoint": {"proto": "tcp", "addr": {"socket": format!("127.0.0.1:{}", 19_651 + other)}},
            "type": "static", "connectionState": "alive",
            "txBytes": 100, "rxBytes": 100, "discovered": 29, "lastConnected": 29,
        })
    };
    others.map(peer).collect()
}

/// The message object: where to, with which topic, what.
fn message(value: Option<&Value>) -> Answer<(Destination, Vec<u8>, Vec<u8>)> {
    let value = value.filter(|value| value.is_object()).ok_or_else(|| invalid("expected a message"))?;
    let dst = value["dst"].as_object().filter(|dst| dst.len() == 1);
    let dst = dst.ok_or_else(|| invalid("dst has exactly one key"))?;
    let destination = match (dst.get("ip"), dst.get("pk")) {
        (Some(ip), _) => {
            let ip: std::net::IpAddr =
                ip.as_str().and_then(|ip| ip.parse().ok()).ok_or_else(|| invalid("invalid IP address"))?;
            Destination::Ip(match ip {
                std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                std::net::IpAddr::V6(ip) => ip,
            })
        }
        (_, Some(pk)) => {
            let pk =
                pk.as_str().filter(|pk| pk.len() == 64 && pk.bytes().all(|byte| byte.is_ascii_hexdigit()));
            Destination::Pk(pk.ok_or_else(|| invalid("invalid public key"))?.to_ascii_lowercase())
        }
        _ => return Err(invalid("unknown variant, expected `ip` or `pk`")),
    };
    let decode = |value: &Value| {
        let text = value.as_str().ok_or_else(|| invalid("expected base64"))?;
        STANDARD.decode(text).map_err(|error| invalid(&error.to_string()))
    };
    let topic = value.get("topic").filter(|topic| !topic.is_null()).map_or(Ok(Vec::new()), decode)?;
    Ok((destination, topic, decode(&value["payload"])?))
}

type Waiter = Option<(oneshot::Receiver<Message>, Duration)>;

fn push(overlay: &FakeOverlay, node: usize, params: &Value) -> Answer<(String, Waiter)> {
    let (destination, topic, payload) = message(param(params, 0, &["message"]))?;
    let wait = seconds(param(params, 1, &["reply_timeout", "replyTimeout"]))?;
    if topic.len() > 255 {
        return Err(code(-32015));
    }
    let mut network = overlay.lock();
    // The real daemon notes who waits before anything is sent.
    let id = network.next_id();
    let waiter = wait.map(|seconds| {
        let (sender, receiver) = oneshot::channel();
        network.nodes[node].waiting.insert(id.clone(), sender);
        (receiver, Duration::from_secs(seconds))
    });
    network.push(node, &id, destination, topic, payload);
    carry(overlay, &mut network);
    drop(network);
    Ok((id, waiter))
}

async fn wait_for_reply(overlay: &FakeOverlay, node: usize, id: String, waiter: Waiter) -> Value {
    let Some((receiver, wait)) = waiter else { return json!({ "id": id }) };
    match tokio::time::timeout(wait, receiver).await {
        Ok(Ok(reply)) => shown(&overlay.lock(), node, &reply),
        _ => {
            overlay.lock().nodes[node].waiting.remove(&id);
            json!({ "id": id })
        }
    }
}

fn reply(network: &mut Network, node: usize, params: &Value) -> Answer {
    let id = message_id(text(params, 0, "id")?).ok_or(code(-32018))?;
    let (destination, _, payload) = message(param(params, 1, &["message"]))?;
    network.reply(node, &id, destination, payload);
    Ok(true.into())
}

async fn pop(overlay: &FakeOverlay, node: usize, params: &Value) -> Answer {
    let peek = match param(params, 0, &["peek"]) {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| invalid("expected a bool"))?,
    };
    let wait = Duration::from_secs(seconds(param(params, 1, &["timeout"]))?.unwrap_or(0));
    let topic = match param(params, 2, &["topic"]) {
        None => None,
        Some(value) => {
            let text = value.as_str().ok_or_else(|| invalid("expected a string"))?;
            Some(STANDARD.decode(text).map_err(|_| code(-32013))?)
        }
    };
    let arrived = Arc::clone(&overlay.lock().nodes[node].arrived);
    let found = async {
        loop {
            let news = arrived.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let mut network = overlay.lock();
                if let Some(message) = network.pop(node, peek, topic.as_deref()) {
                    return shown(&network, node, &message);
                }
            }
            if wait.is_zero() {
                return Value::Null;
            }
            news.await;
        }
    };
    let limit = if wait.is_zero() { Duration::from_secs(1) } else { wait };
    Ok(tokio::time::timeout(limit, found).await.unwrap_or(Value::Null))
}

fn shown(network: &Network, node: usize, message: &Message) -> Value {
    let (from, to) = (&network.nodes[message.from], &network.nodes[node]);
    let mut shown = json!({
        "id": message.id,
        "srcIp": from.ip.to_string(),
        "srcPk": from.pk,
        "dstIp": message.dst.to_string(),
        "dstPk": to.pk,
        "payload": STANDARD.encode(&message.payload),
    });
    if !message.topic.is_empty() {
        shown["topic"] = STANDARD.encode(&message.topic).into();
    }
    shown
}

/// Takes messages to their forward sockets.
pub(super) fn carry(overlay: &FakeOverlay, network: &mut Network) {
    for forward in network.forwards.drain(..) {
        tokio::spawn(forward_one(overlay.clone(), forward));
    }
}

async fn forward_one(overlay: FakeOverlay, forward: Forward) {
    let Forward { node, socket, message } = forward;
    let answer = ask_socket(&socket, &message.payload).await.unwrap_or_default();
    let mut network = overlay.lock();
    if answer.is_empty() {
        network.queue(node, message);
    } else {
        let source = network.nodes[message.from].ip;
        network.reply(node, &message.id, Destination::Ip(source), answer);
    }
}

/// The write side stays open: the other end has to find the end of the message itself.
async fn ask_socket(path: &std::path::Path, payload: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(payload).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
