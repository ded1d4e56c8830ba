//! A channel to another service.

use std::time::Duration;

use hero_config::{Invalid, Validate, ensure};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::{Address, listen::connect};

/// How a channel is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelConfig {
    /// How long a connection may take to be made. A call made meanwhile fails as unavailable after that.
    pub connect_timeout_ms: u64,
    /// How often a connection with calls in flight is checked for life.
    pub keepalive_interval_ms: u64,
    /// How long an answer to that check may take.
    pub keepalive_timeout_ms: u64,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self { connect_timeout_ms: 2_000, keepalive_interval_ms: 20_000, keepalive_timeout_ms: 10_000 }
    }
}

impl Validate for ChannelConfig {
    fn validate(&self) -> Result<(), Invalid> {
        ensure(self.connect_timeout_ms > 0, "connect_timeout_ms", "it must be more than 0")?;
        ensure(self.keepalive_interval_ms >= 1_000, "keepalive_interval_ms", "it must be at least 1000")?;
        ensure(self.keepalive_timeout_ms > 0, "keepalive_timeout_ms", "it must be more than 0")
    }
}

/// A channel that connects when the first call is made, and again whenever the connection was lost. It has no
/// deadline of its own: each call brings one. Call it inside a tokio runtime.
#[must_use]
pub fn channel(address: &Address, config: &ChannelConfig) -> Channel {
    let address = address.reachable();
    endpoint(&address)
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .http2_keep_alive_interval(Duration::from_millis(config.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(config.keepalive_timeout_ms))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let address = address.clone();
            async move { connect(&address).await.map(TokioIo::new) }
        }))
}

/// What the peer sees as `:authority`; a socket's path is none, so it says localhost, as gRPC does.
fn endpoint(address: &Address) -> Endpoint {
    let authority = match address {
        Address::Tcp { host, port } | Address::Tls { host, port } if host.contains(':') => {
            format!("http://[{host}]:{port}")
        }
        Address::Tcp { host, port } | Address::Tls { host, port } => format!("http://{host}:{port}"),
        Address::Unix(_) => "http://localhost".to_owned(),
    };
    // An Address holds nothing that a URI could not; were it otherwise, the name is only for show.
    Endpoint::from_shared(authority).unwrap_or_else(|_| Endpoint::from_static("http://localhost"))
}
