//! Accepting connections, bounding them, and letting them finish.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, response::Response};
use futures::StreamExt as _;
use hero_runtime::{
    Listener, Shutdown,
    listen::{Acceptor, Stream},
};
use hero_telemetry::{Attributes, metrics, names};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jsonrpsee::server::ServerHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use tower::util::MapRequest;

use crate::{config::LimitsConfig, edge::too_many_connections, paced::Paced};

/// Connections over the limit that are told so at a time; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;

/// Serves connections until the shutdown is requested, then lets them finish, up to the grace.
pub(crate) async fn serve(
    mut listener: Listener,
    tls: Option<Acceptor>,
    router: Router,
    limits: LimitsConfig,
    websockets: ServerHandle,
    shutdown: Shutdown,
) {
    let server = Server {
        protocols: Arc::new(Protocols::new(&limits)),
        tls,
        send_timeout: Duration::from_millis(limits.send_timeout_ms),
        open: Arc::new(Semaphore::new(limits.max_connections)),
        refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        max_connections: limits.max_connections,
        open_label: Arc::new(Attributes::new(&[(names::KIND, "http")])),
        shutdown,
    };
    let requested = server.shutdown.requested();
    tokio::pin!(requested);
    loop {
        tokio::select! {
            () = &mut requested => break,
            accepted = listener.next() => match accepted {
                Some(Ok(stream)) => server.accepted(stream, &router),
                Some(Err(error)) => tracing::warn!(%error, "a connection was not accepted"),
                None => break,
            },
        }
    }
    drop(listener);
    // Every WebSocket has closed already if this fails.
    let _ = websockets.stop();
    server.finish().await;
}

struct Server {
    protocols: Arc<Protocols>,
    tls: Option<Acceptor>,
    send_timeout: Duration,
    open: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    max_connections: usize,
    open_label: Arc<Attributes>,
    shutdown: Shutdown,
}

/// HTTP/1.1, and HTTP/2 for clients that choose it in a TLS handshake.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// Lives as long as a connection does, be it HTTP or a WebSocket by now.
struct Open {
    label: Arc<Attributes>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics().connections.add(-1, &self.label);
    }
}

impl Server {
    fn accepted(&self, stream: Stream, router: &Router) {
        if let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() {
            metrics().connections.add(1, &self.open_label);
            let open = Open { label: Arc::clone(&self.open_label), _permit: permit };
            let peer = stream.peer();
            let told = MapRequest::new(router.clone(), move |mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request
            });
            self.spawn(stream, open, TowerToHyperService::new(told));
        } else if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            let max = self.max_connections;
            let refuse = move |_: http::Request<Incoming>| async move {
                Ok::<Response, Infallible>(too_many_connections(max))
            };
            self.spawn(stream, permit, hyper::service::service_fn(refuse));
        }
    }

    /// The handshake is part of the connection's own task: one that dawdles holds up nobody else.
    fn spawn<G, S>(&self, stream: Stream, guard: G, service: S)
    where
        G: Send + Sync + 'static,
        S: hyper::service::Service<http::Request<Incoming>, Response = Response> + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (protocols, tls) = (Arc::clone(&self.protocols), self.tls.clone());
        let (shutdown, send_timeout) = (self.shutdown.clone(), self.send_timeout);
        tokio::spawn(async move {
            let stream = match tls {
                None => stream,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => stream,
                    Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
                },
            };
            let is_h2 = stream.speaks_h2();
            let io = TokioIo::new(Paced::new(stream, send_timeout, guard));
            let served = if is_h2 {
                let connection = protocols.http2.serve_connection(io, service);
                until_ended(connection, |it| it.graceful_shutdown(), &shutdown).await
            } else {
                let connection = protocols.http1.serve_connection(io, service).with_upgrades();
                until_ended(connection, |it| it.graceful_shutdown(), &shutdown).await
            };
            if let Some(Err(error)) = served {
                // A client that hangs up, dawdles or sends no HTTP: its affair.
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }

    async fn finish(&self) {
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        tokio::select! {
            _ = self.open.acquire_many(all) => {}
            () = self.shutdown.grace_over() => {
                let open = self.max_connections - self.open.available_permits();
                tracing::warn!(open, "the grace is over, cutting off the connections that are still open");
            }
        }
    }
}

/// Serves a connection, and after the shutdown was requested what it has begun; none: the grace is over.
async fn until_ended<C: Future>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    shutdown: &Shutdown,
) -> Option<C::Output> {
    tokio::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => Some(served),
        () = shutdown.requested() => {
            finish(connection.as_mut());
            tokio::select! {
                served = connection => Some(served),
                () = shutdown.grace_over() => None,
            }
        }
    }
}

impl Protocols {
    fn new(limits: &LimitsConfig) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
            .max_header_size(limits.max_header_bytes)
            // Room to read on past a head that is too large, so that its sender gets to read the refusal.
            .max_buf_size(limits.max_header_bytes.saturating_mul(4));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        let room = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(room(limits.max_header_bytes))
            .max_concurrent_streams(room(limits.max_calls_per_connection))
            .keep_alive_interval(Some(Duration::from_millis(limits.ping_interval_ms)))
            .keep_alive_timeout(Duration::from_millis(limits.idle_timeout_ms - limits.ping_interval_ms));
        Self { http1, http2 }
    }
}
