//! JSON-RPC over the connections of any socket: HTTP POST and WebSocket, and raw lines when the first byte is that
//! of a JSON object or array, so that `nc -U` is a client.

mod http1;
mod lines;
mod secret;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hero_domain::{Caller, Result};
use jsonrpsee::{
    Methods,
    core::middleware::RpcServiceBuilder,
    server::{
        BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder,
        stop_channel,
    },
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tower::layer::util::{Identity, Stack};

use crate::{CallLimits, CallsLayer, Fallback};

/// jsonrpsee parses a batch whole before it is counted here; what is this many times over the limit it refuses itself.
const BATCH_BACKSTOP: usize = 10;

/// The bounds of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WireConfig {
    /// Bytes of a line, a request's body or a WebSocket message.
    pub max_request_bytes: u32,
    /// Bytes of a response.
    pub max_response_bytes: u32,
    /// Calls in one batch.
    pub max_batch_calls: usize,
    /// Calls of one WebSocket that run at a time.
    pub max_calls_per_connection: usize,
    /// Calls that run at a time, over all connections.
    pub max_calls: usize,
    /// How long a call may take that does not wait for a job.
    pub call_timeout_ms: u64,
    /// How long a connection may take to send its first byte, a request's head or a line once it has begun.
    pub request_timeout_ms: u64,
    /// How long a connection may say nothing between two lines or two requests.
    pub idle_timeout_ms: u64,
    /// How long a client may take nothing of an answer before it is cut off.
    pub send_timeout_ms: u64,
}

impl Default for WireConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 2 << 20,
            max_response_bytes: 10 << 20,
            max_batch_calls: 100,
            max_calls_per_connection: 256,
            max_calls: 8_192,
            call_timeout_ms: 15_000,
            request_timeout_ms: 10_000,
            idle_timeout_ms: 300_000,
            send_timeout_ms: 30_000,
        }
    }
}

impl WireConfig {
    /// The setting that is out of its range, if one is.
    #[must_use]
    pub fn out_of_range(&self) -> Option<&'static str> {
        let counts = [
            ("max_request_bytes", u64::from(self.max_request_bytes)),
            ("max_response_bytes", self.max_response_bytes.into()),
            ("max_batch_calls", self.max_batch_calls as u64),
            ("max_calls_per_connection", self.max_calls_per_connection as u64),
            ("max_calls", self.max_calls as u64),
            ("call_timeout_ms", self.call_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("send_timeout_ms", self.send_timeout_ms),
        ];
        counts.into_iter().find(|(_, value)| !(1..=1 << 29).contains(value)).map(|(name, _)| name)
    }

    fn limits(&self) -> CallLimits {
        CallLimits {
            max_batch: self.max_batch_calls,
            max_batch_concurrent: self.max_batch_calls,
            max_calls_per_connection: self.max_calls_per_connection,
            max_calls: self.max_calls,
            call_timeout: Duration::from_millis(self.call_timeout_ms),
            max_response_bytes: self.max_response_bytes as usize,
        }
    }

    const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    const fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    const fn send_timeout(&self) -> Duration {
        Duration::from_millis(self.send_timeout_ms)
    }
}

/// Who is behind a call that brought this secret, or none.
pub(crate) type Door = Arc<dyn Fn(Option<&str>) -> Result<Arc<Caller>> + Send + Sync>;

type RpcBuilder = TowerServiceBuilder<Stack<CallsLayer, Identity>, Identity>;

/// Serves the methods on connections. Cheap to clone.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    rpc: RpcBuilder,
    methods: Methods,
    stop: StopHandle,
    /// Ends the WebSockets when it is dropped or told to.
    websockets: ServerHandle,
    config: WireConfig,
}

impl Wire {
    /// A wire for these methods, and for those that somebody else serves.
    #[must_use]
    pub fn new(methods: impl Into<Methods>, config: WireConfig, fallback: Option<Arc<dyn Fallback>>) -> Self {
        let (stop, websockets) = stop_channel();
        let rpc = rpc_builder(&config, fallback);
        Self(Arc::new(Inner { rpc, methods: methods.into(), stop, websockets, config }))
    }

    /// Serves one connection to its end. `door` says who is behind a secret, or behind none; once `stop` is there, the
    /// call that runs is still answered.
    pub async fn serve<I>(
        &self,
        stream: I,
        door: impl Fn(Option<&str>) -> Result<Arc<Caller>> + Send + Sync + 'static,
        stop: BoxFuture<'static, ()>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stream = BufReader::new(stream);
        let door: Door = Arc::new(door);
        let first = tokio::time::timeout(self.0.config.request_timeout(), first_byte(&mut stream)).await;
        match first {
            Ok(Some(b'{' | b'[')) => lines::serve(&self.0, stream, &door, stop).await,
            Ok(Some(_)) => http1::serve(Arc::clone(&self.0), stream, door, stop).await,
            // It hung up, or it has nothing to say.
            Ok(None) | Err(_) => {}
        }
    }

    /// Ends the WebSockets; calls that run are still answered.
    pub fn stop(&self) {
        // It fails when they have ended already.
        let _ = self.0.websockets.stop();
    }
}

/// The first byte that is no white space; it stays to be read.
async fn first_byte<I: AsyncRead + Unpin>(stream: &mut BufReader<I>) -> Option<u8> {
    loop {
        let bytes = stream.fill_buf().await.ok().filter(|bytes| !bytes.is_empty())?;
        let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let first = bytes.get(blanks).copied();
        stream.consume(blanks);
        if first.is_some() {
            return first;
        }
    }
}

fn rpc_builder(config: &WireConfig, fallback: Option<Arc<dyn Fallback>>) -> RpcBuilder {
    let most = config.max_batch_calls.saturating_mul(BATCH_BACKSTOP);
    let ping = PingConfig::new()
        .ping_interval(config.idle_timeout() / 3)
        .inactive_limit(config.idle_timeout())
        .max_failures(1);
    let server = ServerConfig::builder()
        .max_request_body_size(config.max_request_bytes)
        .max_response_body_size(config.max_response_bytes)
        .set_batch_request_config(BatchRequestConfig::Limit(u32::try_from(most).unwrap_or(u32::MAX)))
        .enable_ws_ping(ping)
        // Connections are bounded where they are accepted.
        .max_connections(u32::MAX >> 3)
        .build();
    let calls = CallsLayer::new(config.limits()).with_fallback(fallback);
    Server::builder()
        .set_config(server)
        .to_service_builder()
        .set_rpc_middleware(RpcServiceBuilder::new().layer(calls))
}
