//! A channel to another service.

use std::{io, sync::Arc, time::Duration};

use hero_config::{Invalid, Secret, Validate, ensure};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{CONNECTION_WINDOW, STREAM_WINDOW, guard::validate_token};
use crate::{
    Address,
    listen::{Connector, Stream, TlsConfig},
};

/// How a channel is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelConfig {
    /// The token that the service wants of other services (`grpc.token` there); empty: none. It goes with each call.
    pub token: Secret,
    /// The files of TLS, for a service at a `tls://` address. They are read whenever a connection is made.
    pub tls: TlsConfig,
    /// How long a connection may take to be made. A call made meanwhile fails as unavailable after that.
    pub connect_timeout_ms: u64,
    /// How often a connection with calls in flight is checked for life.
    pub keepalive_interval_ms: u64,
    /// How long an answer to that check may take.
    pub keepalive_timeout_ms: u64,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            token: Secret::default(),
            tls: TlsConfig::default(),
            connect_timeout_ms: 2_000,
            keepalive_interval_ms: 20_000,
            keepalive_timeout_ms: 10_000,
        }
    }
}

impl Validate for ChannelConfig {
    fn validate(&self) -> Result<(), Invalid> {
        validate_token(&self.token)?;
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
    let tls = Arc::new(config.tls.clone());
    endpoint(&address)
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .http2_keep_alive_interval(Duration::from_millis(config.keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(config.keepalive_timeout_ms))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (address, tls) = (address.clone(), Arc::clone(&tls));
            async move { connect(&address, &tls).await.map(TokioIo::new) }
        }))
}

/// A renewed certificate is shown by the next connection.
async fn connect(address: &Address, tls: &TlsConfig) -> io::Result<Stream> {
    let connector = match address {
        Address::Tls { .. } => Connector::new(tls).map_err(io::Error::other)?,
        Address::Tcp { .. } | Address::Unix(_) => Connector::default(),
    };
    connector.connect(address).await
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
