//! One connection to a node, made when it is needed and again when it was lost.

use std::sync::Arc;

use jsonrpsee::{
    core::client::{ClientBuilder, ClientT as _, Subscription, SubscriptionClientT as _},
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::Mutex,
};

use super::{Credentials, Given, NEVER, carries_secret_in_headers, failure, lines};
use crate::{
    Error, Options, Result, Target,
    target::{Place, Speech},
};

/// Calls on one connection at a time.
const MAX_CALLS: usize = 1_024;

pub(crate) struct Connection {
    target: Target,
    credentials: Credentials,
    options: Options,
    open: Mutex<Option<Arc<WsClient>>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(target: Target, credentials: Credentials, options: Options) -> Self {
        Self { target, credentials, options, open: Mutex::default() }
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) async fn call(&self, method: &str, params: &Value) -> Result<Box<RawValue>> {
        let with_secret;
        let params = if self.has_headers() {
            params
        } else {
            with_secret = self.credentials.join(method, params)?;
            &with_secret
        };
        let client = self.client().await?;
        let answer = client.request::<Box<RawValue>, _>(method, Given(params)).await;
        answer.map_err(|error| failure(error, method, &self.target.to_string()))
    }

    pub(crate) async fn subscribe(
        &self,
        method: &str,
        unsubscribe: &str,
        params: &Value,
    ) -> Result<(Subscription<Box<RawValue>>, Arc<WsClient>)> {
        let with_secret;
        let params = if self.has_headers() {
            params
        } else {
            with_secret = self.credentials.join(method, params)?;
            &with_secret
        };
        let client = self.client().await?;
        let opened = client.subscribe(method, Given(params), unsubscribe).await;
        let feed = opened.map_err(|error| failure(error, method, &self.target.to_string()))?;
        Ok((feed, client))
    }

    fn has_headers(&self) -> bool {
        match &self.target {
            Target::Socket { speech, .. } => carries_secret_in_headers(*speech),
            _ => true,
        }
    }

    /// The open connection, or a new one. Callers that come meanwhile wait for the same one.
    async fn client(&self) -> Result<Arc<WsClient>> {
        let mut open = self.open.lock().await;
        if let Some(client) = open.as_ref().filter(|client| client.is_connected()) {
            return Ok(Arc::clone(client));
        }
        let limit = self.options.connect_timeout;
        let connected = tokio::time::timeout(limit, self.connect()).await;
        let late = || self.unreachable(format!("no connection within {} ms", limit.as_millis()));
        let client = Arc::new(connected.map_err(|_| late())??);
        *open = Some(Arc::clone(&client));
        Ok(client)
    }

    async fn connect(&self) -> Result<WsClient> {
        let of = |error| failure(error, "the connection", &self.target.to_string());
        match &self.target {
            Target::Http(url) | Target::WebSocket(url) => self.websocket().build(url).await.map_err(of),
            Target::Socket { place: Place::Unix(path), speech } => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.io(&error))?;
                self.over(stream, *speech).await
            }
            Target::Socket { place: Place::Tcp { host, port }, speech } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| self.io(&error))?;
                stream.set_nodelay(true).map_err(|error| self.io(&error))?;
                self.over(stream, *speech).await
            }
        }
    }

    async fn over<S>(&self, stream: S, speech: Speech) -> Result<WsClient>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match speech {
            Speech::WebSocket => {
                let client = self.websocket().build_with_stream("ws://localhost/", stream).await;
                client.map_err(|error| failure(error, "the connection", &self.target.to_string()))
            }
            Speech::Lines => {
                let (sender, receiver) = lines::over(stream, self.options.max_bytes as usize);
                let client = ClientBuilder::default()
                    .request_timeout(NEVER)
                    .max_concurrent_requests(MAX_CALLS)
                    .build_with_tokio(sender, receiver);
                Ok(client)
            }
        }
    }

    fn websocket(&self) -> WsClientBuilder {
        WsClientBuilder::default()
            .request_timeout(NEVER)
            .connection_timeout(self.options.connect_timeout)
            .max_concurrent_requests(MAX_CALLS)
            .max_request_size(self.options.max_bytes)
            .max_response_size(self.options.max_bytes)
            .set_headers(self.credentials.headers())
    }

    fn io(&self, error: &std::io::Error) -> Error {
        self.unreachable(error.to_string())
    }

    fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { address: self.target.to_string(), why }
    }
}
