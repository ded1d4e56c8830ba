//! The client: deadlines, and repeats of what may be repeated.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use hero_config::Secret;
use hero_domain::Destination;
use jsonrpsee::{core::client::Subscription, ws_client::WsClient};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use tokio::sync::OnceCell;

use crate::{
    Error, Result, Target,
    mycelium::{Daemon, DaemonOptions, Overlay},
    transport::{Credentials, Transport},
};

/// A client of one node. Cheap to clone; all clones share the way there.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    options: Options,
}

/// How long is waited, and how often a call is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a call may take that does not wait for a job.
    pub call_timeout: Duration,
    /// How long a call may take that waits for a job without a bound of its own.
    pub wait_timeout: Duration,
    /// How often a call is made again that does no harm when it is made twice.
    pub retries: u32,
    /// The first pause before that; each further one is twice as long.
    pub retry_pause: Duration,
    /// Bytes of one call, and of one answer.
    pub max_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            // The longest timeout of a job by default, an hour, with time to wait in the queue.
            wait_timeout: Duration::from_secs(3_900),
            retries: 3,
            retry_pause: Duration::from_millis(100),
            max_bytes: 16 << 20,
        }
    }
}

/// Bytes over which a message may be taken by the daemon and then lost on the way out of the other one.
const MOST_PAYLOAD_BYTES: usize = 7_000_000;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A client that is being set up.
#[derive(Debug, Clone)]
pub struct Builder {
    address: String,
    secret: Option<Secret>,
    options: Options,
}

impl Builder {
    /// What is brought to prove who calls.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Secret>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The client. Nothing is sent before the first call; call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`], or [`Error::Refused`] for a secret that no header can carry.
    pub fn build(self) -> Result<Client> {
        let target: Target = self.address.parse()?;
        let credentials = Credentials::new(self.secret)?;
        let transport = Transport::new(target, credentials, &self.options)?;
        Ok(Client(Arc::new(Inner { transport, options: self.options })))
    }
}

/// A client over the Mycelium overlay that is being set up.
#[derive(Debug, Clone)]
pub struct MyceliumBuilder {
    daemon: String,
    to: Destination,
    topic: String,
    secret: Option<Secret>,
    fallback: Option<String>,
    max_payload_bytes: usize,
    options: Options,
}

impl MyceliumBuilder {
    /// Another topic than `supervisor.rpc`.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// What is brought to prove who calls.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Secret>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Where the node is reached when it is the daemon's own, or when no daemon is there.
    #[must_use]
    pub fn fallback(mut self, address: impl Into<String>) -> Self {
        self.fallback = Some(address.into());
        self
    }

    /// Bytes of one call; more are refused before they are sent [default: 1 MiB].
    #[must_use]
    pub const fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.max_payload_bytes = bytes;
        self
    }

    /// Other bounds.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The client. Nothing is sent before the first call; call it inside a tokio runtime.
    ///
    /// # Errors
    /// An address that is none, a topic or a payload limit that the daemon would not take.
    pub fn build(self) -> Result<Client> {
        if self.topic.len() > 255 {
            return Err(Error::Refused("a topic has at most 255 bytes".to_owned()));
        }
        if self.max_payload_bytes > MOST_PAYLOAD_BYTES {
            let words = format!("max_payload_bytes is at most {MOST_PAYLOAD_BYTES}: the daemon loses more");
            return Err(Error::Refused(words));
        }
        let credentials = Credentials::new(self.secret)?;
        let fallback = match self.fallback {
            None => None,
            Some(address) => {
                Some(Box::new(Transport::new(address.parse()?, credentials.clone(), &self.options)?))
            }
        };
        let options =
            DaemonOptions { connect_timeout: self.options.connect_timeout, ..DaemonOptions::default() };
        let transport = Transport::Mycelium(Overlay {
            daemon: Daemon::new(&self.daemon, options)?,
            to: self.to,
            topic: self.topic,
            credentials,
            max_payload_bytes: self.max_payload_bytes,
            fallback,
            own: OnceCell::new(),
            ids: AtomicU64::new(1),
        });
        Ok(Client(Arc::new(Inner { transport, options: self.options })))
    }
}

/// Whether a call does harm when it is made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does none.
    Harmless,
    /// It does, unless the node says that it has not begun.
    Never,
}

impl Client {
    /// A client of the node at this address: `http://`, `ws://`, `unix://`, `tcp://`.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder { address: address.into(), secret: None, options: Options::default() }
    }

    /// A client of a node behind the overlay; `daemon` is the address of the Mycelium daemon on this machine, such
    /// as `http://127.0.0.1:8990`.
    pub fn over_mycelium(daemon: impl Into<String>, to: Destination) -> MyceliumBuilder {
        MyceliumBuilder {
            daemon: daemon.into(),
            to,
            topic: "supervisor.rpc".to_owned(),
            secret: None,
            fallback: None,
            max_payload_bytes: 1 << 20,
            options: Options::default(),
        }
    }

    /// Calls any method, once. `params` is what becomes a JSON object or array.
    ///
    /// # Errors
    /// What the node answered, or why there is no answer.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T> {
        self.attempt(method, &params_of(method, params)?, self.0.options.call_timeout).await
    }

    /// The same with a deadline of its own.
    ///
    /// # Errors
    /// What the node answered, or why there is no answer.
    pub async fn call_within<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
        deadline: Duration,
    ) -> Result<T> {
        self.attempt(method, &params_of(method, params)?, deadline).await
    }

    /// Where the node is.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.transport.to_string()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    /// A call that only looks: made again while the node is away.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T> {
        self.repeat(method, params, Repeat::Harmless, self.0.options.call_timeout).await
    }

    /// A call that changes something.
    pub(crate) async fn tell<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T> {
        self.repeat(method, params, Repeat::Never, self.0.options.call_timeout).await
    }

    pub(crate) async fn repeat<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
        repeat: Repeat,
        deadline: Duration,
    ) -> Result<T> {
        let params = params_of(method, params)?;
        let mut pause = self.0.options.retry_pause;
        let mut left = self.0.options.retries;
        loop {
            let error = match self.attempt(method, &params, deadline).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let again = match repeat {
                Repeat::Harmless => error.is_passing(),
                Repeat::Never => error.is_not_begun(),
            };
            if left == 0 || !again {
                return Err(error);
            }
            tracing::debug!(method, %error, left, "calling again");
            let asked = error.call().and_then(|error| error.retry_after_ms()).map(Duration::from_millis);
            tokio::time::sleep(pause.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)).await;
            pause *= 2;
            left -= 1;
        }
    }

    /// Opens a feed, within the time of a call.
    pub(crate) async fn open_feed(
        &self,
        method: &str,
        unsubscribe: &str,
        params: &Value,
    ) -> Result<(Subscription<Box<RawValue>>, Arc<WsClient>)> {
        let deadline = self.0.options.call_timeout;
        let late = || Error::Timeout { method: method.to_owned(), after_ms: millis(deadline) };
        let opened = self.0.transport.subscribe(method, unsubscribe, params);
        tokio::time::timeout(deadline, opened).await.map_err(|_| late())?
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
        deadline: Duration,
    ) -> Result<T> {
        let late = || Error::Timeout { method: method.to_owned(), after_ms: millis(deadline) };
        let call = self.0.transport.call(method, params, deadline);
        let answer = tokio::time::timeout(deadline, call).await.map_err(|_| late())??;
        read(method, &answer)
    }
}

fn read<T: DeserializeOwned>(method: &str, answer: &RawValue) -> Result<T> {
    serde_json::from_str(answer.get())
        .map_err(|error| Error::Malformed { method: method.to_owned(), why: error.to_string() })
}

pub(crate) fn params_of(method: &str, params: impl Serialize) -> Result<Value> {
    let refused = |why: String| Error::Refused(format!("the params of {method} cannot be sent: {why}"));
    match serde_json::to_value(params).map_err(|error| refused(error.to_string()))? {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        params @ (Value::Object(_) | Value::Array(_)) => Ok(params),
        _ => Err(refused("they are neither an object nor an array".to_owned())),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
