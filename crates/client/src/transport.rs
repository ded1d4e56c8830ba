//! The ways to a node: each takes a method and its params, and brings the result as it stands in the answer.

mod connection;
mod lines;

use std::{fmt, sync::Arc, time::Duration};

use hero_config::Secret;
use http::{HeaderMap, HeaderValue, header};
use jsonrpsee::{
    core::{
        client::{ClientT as _, Error as RpcError, Subscription},
        traits::ToRpcParams,
    },
    http_client::{HttpClient, HttpClientBuilder},
    ws_client::WsClient,
};
use serde_json::{Value, value::RawValue};

use self::connection::Connection;
use crate::{Error, Options, Result, Target, error::CallError, mycelium::Overlay, target::Speech};

/// Deadlines are the client's own; this is only where jsonrpsee gives up on a call that nobody waits for any more.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400);

/// A way to a node.
#[derive(Debug)]
pub(crate) enum Transport {
    Http { client: HttpClient, address: String },
    Connection(Connection),
    Mycelium(Overlay),
}

/// What is brought to prove who calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    secret: Option<Secret>,
    headers: HeaderMap,
}

impl Credentials {
    pub(crate) fn new(secret: Option<Secret>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(secret) = &secret {
            let value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()));
            let words = "the secret has characters that no header can carry";
            let mut value = value.map_err(|_| Error::Refused(words.to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self { secret, headers })
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    /// Where there are no headers, the secret is a member of the by-name params.
    pub(crate) fn join(&self, method: &str, params: &Value) -> Result<Value> {
        let mut params = params.clone();
        let Some(secret) = &self.secret else { return Ok(params) };
        let Some(members) = params.as_object_mut() else {
            let words = format!(
                "{method} has positional params, and on this way a secret travels among named ones; name them"
            );
            return Err(Error::Refused(words));
        };
        members.insert("secret".to_owned(), secret.expose().into());
        Ok(params)
    }
}

/// Params that are JSON already.
pub(crate) struct Given<'a>(pub(crate) &'a Value);

impl ToRpcParams for Given<'_> {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(self.0).map(Some)
    }
}

impl Transport {
    pub(crate) fn new(target: Target, credentials: Credentials, options: &Options) -> Result<Self> {
        let Target::Http(address) = target else {
            return Ok(Self::Connection(Connection::new(target, credentials, options.clone())));
        };
        let client = HttpClientBuilder::default()
            .request_timeout(NEVER)
            .connect_timeout(options.connect_timeout)
            .max_request_size(options.max_bytes)
            .max_response_size(options.max_bytes)
            .set_headers(credentials.headers())
            .build(&address)
            .map_err(|error| failure(error, "the client", &address))?;
        Ok(Self::Http { client, address })
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        params: &Value,
        deadline: Duration,
    ) -> Result<Box<RawValue>> {
        match self {
            Self::Http { client, address } => client
                .request::<Box<RawValue>, _>(method, Given(params))
                .await
                .map_err(|error| failure(error, method, address)),
            Self::Connection(connection) => connection.call(method, params).await,
            Self::Mycelium(overlay) => overlay.call(method, params, deadline).await,
        }
    }
}

impl Transport {
    /// Opens a feed; the connection is its own too.
    pub(crate) async fn subscribe(
        &self,
        method: &str,
        unsubscribe: &str,
        params: &Value,
    ) -> Result<(Subscription<Box<RawValue>>, Arc<WsClient>)> {
        match self {
            Self::Connection(connection) => connection.subscribe(method, unsubscribe, params).await,
            Self::Http { .. } | Self::Mycelium(_) => {
                let words = format!(
                    "{method} needs a connection that the node can send over; {self} is none, ws:// is"
                );
                Err(Error::Refused(words))
            }
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { address, .. } => f.write_str(address),
            Self::Connection(connection) => connection.target().fmt(f),
            Self::Mycelium(overlay) => overlay.fmt(f),
        }
    }
}

/// What a failure of jsonrpsee's clients means.
pub(crate) fn failure(error: RpcError, method: &str, address: &str) -> Error {
    let unreachable = |why: String| Error::Unreachable { address: address.to_owned(), why };
    match error {
        RpcError::Call(error) => CallError::from(error).into(),
        RpcError::ParseError(error) => Error::Malformed { method: method.to_owned(), why: error.to_string() },
        RpcError::InvalidRequestId(error) => {
            Error::Malformed { method: method.to_owned(), why: error.to_string() }
        }
        RpcError::Transport(error) if is_no_answer(&*error) => {
            Error::Malformed { method: method.to_owned(), why: "it is no JSON-RPC".to_owned() }
        }
        RpcError::Transport(error) if is_unauthenticated(&*error) => CallError::unauthenticated().into(),
        RpcError::Transport(error) => unreachable(in_full(&*error)),
        error => unreachable(in_full(&error)),
    }
}

/// Whether something answered, but not with JSON-RPC.
fn is_no_answer(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use jsonrpsee::{core::http_helpers::HttpError, http_client::transport::Error};
    matches!(error.downcast_ref(), Some(Error::Http(HttpError::Malformed)))
}

/// Whether the node does not take the secret, which over HTTP it says by a status.
fn is_unauthenticated(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use jsonrpsee::http_client::transport::Error;
    matches!(error.downcast_ref(), Some(Error::Rejected { status_code: 401 }))
}

/// An error with its causes.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

pub(crate) fn carries_secret_in_headers(speech: Speech) -> bool {
    speech == Speech::WebSocket
}
