//! The daemon's JSON-RPC API.

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hero_domain::{Destination, OverlayKey};
use jsonrpsee::{
    core::{client::ClientT as _, params::BatchRequestBuilder},
    http_client::{HttpClient, HttpClientBuilder},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    Error, Result,
    client::millis,
    transport::{Given, NEVER, failure},
};

/// Requests that the daemon gets from here at a time; over 100 it turns everybody away.
const MAX_REQUESTS: usize = 64;
/// Bytes of the daemon's own limit on a request and on a response.
const MAX_BYTES: u32 = 10 << 20;
/// What getMessageInfo answers for an id that it does not know, or not any more.
const UNKNOWN_ID: i32 = -32019;

/// A daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Daemon {
    client: HttpClient,
    url: Arc<str>,
    requests: Arc<Semaphore>,
    options: DaemonOptions,
}

/// How long the daemon may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonOptions {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a call may take, the wait for a reply not counted.
    pub call_timeout: Duration,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(2), call_timeout: Duration::from_secs(10) }
    }
}

/// Which node the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// `50f:baa9:4277:e016::/64`
    pub node_subnet: String,
    /// Its address; none: a daemon before 0.7.8.
    pub node_ip: Option<Ipv6Addr>,
    /// Its public key.
    pub node_pubkey: OverlayKey,
}

impl NodeInfo {
    /// Whether a message to this destination would go to the node itself, and so never arrive.
    #[must_use]
    pub fn is(&self, destination: &Destination) -> bool {
        let net = self.node_subnet.split('/').next().and_then(|net| net.parse::<Ipv6Addr>().ok());
        destination.is_of(&self.node_pubkey, net)
    }
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its id, 16 hex characters; a reply has the one of its request.
    pub id: String,
    /// Who sent it. The node's, not the process's behind it.
    pub from: OverlayKey,
    /// The address that it was sent from.
    pub from_ip: Option<Ipv6Addr>,
    /// What it says; none: its payload is not base64.
    pub payload: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageText {
    id: String,
    src_pk: OverlayKey,
    #[serde(default)]
    src_ip: Option<Ipv6Addr>,
    payload: String,
}

impl From<MessageText> for Received {
    fn from(text: MessageText) -> Self {
        Self {
            id: text.id,
            from: text.src_pk,
            from_ip: text.src_ip,
            payload: STANDARD.decode(text.payload).ok(),
        }
    }
}

/// What became of a message that was sent with a wait for its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The reply.
    Reply(Received),
    /// None came in time; the id of the message.
    Expired(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PushAnswer {
    Reply(MessageText),
    Queued { id: String },
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// On its way.
    Pending,
    /// At its destination, or read there.
    Received,
    /// Given up.
    Aborted,
    /// The daemon does not know it: it was restarted, or ten minutes are over.
    Unknown,
}

impl MessageState {
    /// The lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Received => "received",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }

    /// From the `state` of getMessageInfo: a word, or an object with the counts of chunks.
    fn of(state: &Value) -> Self {
        match state.as_str() {
            Some("received" | "read") => Self::Received,
            Some("aborted") => Self::Aborted,
            _ => Self::Pending,
        }
    }
}

fn message(to: &Destination, topic: Option<&str>, payload: &[u8]) -> Value {
    let dst = match to {
        Destination::Ip(ip) => json!({ "ip": ip.to_string() }),
        Destination::Pk(key) => json!({ "pk": key }),
    };
    let mut message = json!({ "dst": dst, "payload": STANDARD.encode(payload) });
    if let Some(topic) = topic {
        message["topic"] = STANDARD.encode(topic).into();
    }
    message
}

/// The params of a look into the inbox. Never with a wait in the daemon: that would stop its whole API.
fn look(topic: &str, is_peek: bool) -> Value {
    json!([is_peek, 0, STANDARD.encode(topic)])
}

impl Daemon {
    /// The daemon at this address, such as `http://127.0.0.1:8990`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the address cannot be one.
    pub fn new(url: &str, options: DaemonOptions) -> Result<Self> {
        let client = HttpClientBuilder::default()
            .request_timeout(NEVER)
            .connect_timeout(options.connect_timeout)
            .max_request_size(MAX_BYTES)
            .max_response_size(MAX_BYTES)
            .build(url)
            .map_err(|error| failure(error, "the client", url))?;
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
        Ok(Self { client, url: url.into(), requests, options })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T> {
        let _turn = self.requests.acquire().await;
        self.within(self.options.call_timeout, method, params).await
    }

    async fn within<T: DeserializeOwned>(&self, limit: Duration, method: &str, params: Value) -> Result<T> {
        let call = self.client.request::<Value, _>(method, Given(&params));
        let late = || Error::Timeout { method: method.to_owned(), after_ms: millis(limit) };
        let answer = tokio::time::timeout(limit, call).await.map_err(|_| late())?;
        let value = answer.map_err(|error| failure(error, method, &self.url))?;
        serde_json::from_value(value)
            .map_err(|error| Error::Malformed { method: method.to_owned(), why: error.to_string() })
    }

    /// Which node it is.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn info(&self) -> Result<NodeInfo> {
        self.call("getInfo", json!([])).await
    }

    /// How many peers it has a living connection to.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn peers(&self) -> Result<usize> {
        let peers: Vec<Value> = self.call("getPeers", json!([])).await?;
        Ok(peers.iter().filter(|peer| peer["connectionState"] == "alive").count())
    }

    /// Sends a message; its id says that it is queued, nothing more.
    ///
    /// # Errors
    /// Why it was not queued.
    pub async fn push(&self, to: &Destination, topic: Option<&str>, payload: &[u8]) -> Result<String> {
        let answer: PushAnswer = self.call("pushMessage", json!([message(to, topic, payload)])).await?;
        Ok(match answer {
            PushAnswer::Queued { id } => id,
            PushAnswer::Reply(reply) => reply.id,
        })
    }

    /// Sends a message and waits for the reply to it. That holds up no other call.
    ///
    /// # Errors
    /// Why it was not queued, or why nothing more is known of it.
    pub async fn ask(
        &self,
        to: &Destination,
        topic: Option<&str>,
        payload: &[u8],
        wait: Duration,
    ) -> Result<Pushed> {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let params = json!([message(to, topic, payload), seconds.max(1)]);
        let limit = Duration::from_secs(seconds) + self.options.call_timeout;
        Ok(match self.within(limit, "pushMessage", params).await? {
            PushAnswer::Reply(reply) => Pushed::Reply(reply.into()),
            PushAnswer::Queued { id } => Pushed::Expired(id),
        })
    }

    /// The oldest message of this topic, if one is there; `""`: of those without a topic, such as late replies.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn pop(&self, topic: &str) -> Result<Option<Received>> {
        let message: Option<MessageText> = self.call("popMessage", look(topic, false)).await?;
        Ok(message.map(Received::from))
    }

    /// The same, and the message stays where it is.
    ///
    /// # Errors
    /// Why there is no answer. A message that is too large for one stays too: take it away with [`Daemon::pop`].
    pub async fn peek(&self, topic: &str) -> Result<Option<Received>> {
        let message: Option<MessageText> = self.call("popMessage", look(topic, true)).await?;
        Ok(message.map(Received::from))
    }

    /// Takes the oldest message of this topic away and looks at the one behind it, in one request.
    ///
    /// # Errors
    /// Why there is no answer. Of a second message that cannot be looked at it is said that there is none.
    pub async fn pop_and_peek(&self, topic: &str) -> Result<(Option<Received>, Option<Received>)> {
        let _turn = self.requests.acquire().await;
        let mut batch = BatchRequestBuilder::new();
        for is_peek in [false, true] {
            let added = batch.insert("popMessage", Given(&look(topic, is_peek)));
            added.map_err(|error| Error::Refused(error.to_string()))?;
        }
        let call = self.client.batch_request::<Option<MessageText>>(batch);
        let limit = self.options.call_timeout;
        let late = || Error::Timeout { method: "popMessage".to_owned(), after_ms: millis(limit) };
        let answers = tokio::time::timeout(limit, call).await.map_err(|_| late())?;
        let answers = answers.map_err(|error| failure(error, "popMessage", &self.url))?;
        let mut messages = answers.into_iter().map(|answer| answer.ok().flatten().map(Received::from));
        Ok((messages.next().flatten(), messages.next().flatten()))
    }

    /// Replies to a message.
    ///
    /// # Errors
    /// Why it was not queued.
    pub async fn reply(&self, id: &str, to: &OverlayKey, payload: &[u8]) -> Result<()> {
        let to = Destination::Pk(to.clone());
        let _queued: bool = self.call("pushMessageReply", json!([id, message(&to, None, payload)])).await?;
        Ok(())
    }

    /// Where a message that was sent from here is.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn state(&self, id: &str) -> Result<MessageState> {
        let info: Result<Value> = self.call("getMessageInfo", json!([id])).await;
        match info {
            Ok(info) => Ok(MessageState::of(&info["state"])),
            Err(error) if error.call().is_some_and(|error| error.code == UNKNOWN_ID) => {
                Ok(MessageState::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// The same of many in one request.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn states(&self, ids: &[String]) -> Result<Vec<MessageState>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.requests.acquire().await;
        let mut batch = BatchRequestBuilder::new();
        for id in ids {
            let added = batch.insert("getMessageInfo", Given(&json!([id])));
            added.map_err(|error| Error::Refused(error.to_string()))?;
        }
        let call = self.client.batch_request::<Value>(batch);
        let limit = self.options.call_timeout;
        let late = || Error::Timeout { method: "getMessageInfo".to_owned(), after_ms: millis(limit) };
        let answers = tokio::time::timeout(limit, call).await.map_err(|_| late())?;
        let answers = answers.map_err(|error| failure(error, "getMessageInfo", &self.url))?;
        let states = answers.into_iter().map(|answer| match answer {
            Ok(info) => MessageState::of(&info["state"]),
            Err(error) if error.code() == UNKNOWN_ID => MessageState::Unknown,
            Err(_) => MessageState::Pending,
        });
        Ok(states.collect())
    }

    /// From now on only these may send on the topic; nobody: everybody may. Lasts until the daemon's restart.
    ///
    /// # Errors
    /// Why the daemon did not take it.
    pub async fn allow_only(&self, topic: &str, sources: &[Destination]) -> Result<()> {
        let topic = STANDARD.encode(topic);
        let _done: bool = self.call("removeTopic", json!([topic])).await?;
        if sources.is_empty() {
            return Ok(());
        }
        let _done: bool = self.call("addTopic", json!([topic])).await?;
        for source in sources {
            let subnet = match source {
                Destination::Ip(ip) => format!("{ip}/64"),
                Destination::Pk(_) => continue,
            };
            let _done: bool = self.call("addTopicSource", json!([topic, subnet])).await?;
        }
        Ok(())
    }

    /// From now on messages of the topic go to this socket. Lasts until the daemon's restart.
    ///
    /// # Errors
    /// Why the daemon did not take it.
    pub async fn forward(&self, topic: &str, socket: &str) -> Result<()> {
        let topic = STANDARD.encode(topic);
        let sources: Result<Vec<String>> = self.call("getTopicSources", json!([topic])).await;
        if sources.is_err() {
            // Without an entry the daemon answers true and does nothing; an entry without sources blocks all.
            let _done: bool = self.call("addTopic", json!([topic])).await?;
            let _done: bool = self.call("addTopicSource", json!([topic, "400::/7"])).await?;
        }
        let _done: bool = self.call("setTopicForwardSocket", json!([topic, socket])).await?;
        Ok(())
    }
}
