//! Serving the connections of a listener, a bounded number of them, until the shutdown.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use hero_config::{Invalid, Validate, ensure};
use hero_telemetry::{Attributes, metrics, names};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Acceptor, Listener, Stream};
use crate::Shutdown;

/// The bounds of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcceptConfig {
    /// Connections at once; further ones are closed without a word.
    pub max_connections: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout_ms: u64,
}

impl Default for AcceptConfig {
    fn default() -> Self {
        Self { max_connections: 16_384, handshake_timeout_ms: 5_000 }
    }
}

impl AcceptConfig {
    /// How long a TLS handshake may take.
    #[must_use]
    pub const fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }
}

impl Validate for AcceptConfig {
    fn validate(&self) -> Result<(), Invalid> {
        ensure((1..=1 << 20).contains(&self.max_connections), "max_connections", "it must be 1 to 1048576")?;
        ensure(
            (1..=600_000).contains(&self.handshake_timeout_ms),
            "handshake_timeout_ms",
            "it must be 1 to 600000",
        )
    }
}

/// Hands each connection to `serve`, in a task of its own, until the shutdown is requested; then waits for those that
/// are left, up to the grace.
pub async fn accept<F, Fut>(
    mut listener: Listener,
    acceptor: Option<Acceptor>,
    config: AcceptConfig,
    shutdown: Shutdown,
    serve: F,
) where
    F: Fn(Stream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let open = Arc::new(Semaphore::new(config.max_connections));
    let label = Arc::new(Attributes::new(&[(names::KIND, "socket")]));
    let requested = shutdown.requested();
    tokio::pin!(requested);
    loop {
        let stream = tokio::select! {
            () = &mut requested => break,
            accepted = listener.next() => match accepted {
                Some(Ok(stream)) => stream,
                Some(Err(_)) => continue,
                None => break,
            },
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            tracing::debug!(address = %listener.address(), "too many connections, closing another one");
            continue;
        };
        let (acceptor, serve, label) = (acceptor.clone(), serve.clone(), Arc::clone(&label));
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            metrics().connections.add(1, &label);
            tokio::select! {
                () = connection(stream, acceptor, serve) => {}
                () = shutdown.grace_over() => {}
            }
            metrics().connections.add(-1, &label);
            drop(permit);
        });
    }
    drop(listener);
    let all = u32::try_from(config.max_connections).unwrap_or(u32::MAX);
    tokio::select! {
        _ = open.acquire_many(all) => {}
        () = shutdown.grace_over() => {}
    }
}

/// The handshake is part of the connection's own task: one that dawdles holds up nobody else.
async fn connection<F, Fut>(stream: Stream, acceptor: Option<Acceptor>, serve: F)
where
    F: Fn(Stream) -> Fut,
    Fut: Future<Output = ()>,
{
    let stream = match acceptor {
        None => stream,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
        },
    };
    serve(stream).await;
}
