//! Accepting connections, bounding them, and letting them finish.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, response::Response};
use futures::StreamExt as _;
use hero_runtime::{Listener, Shutdown, listen::Stream};
use hero_telemetry::{Attributes, metrics, names};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jsonrpsee::server::ServerHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::LimitsConfig, edge::too_many_connections, paced::Paced};

/// Connections over the limit that are told so at a time; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;

/// Serves connections until the shutdown is requested, then lets them finish, up to the grace.
pub(crate) async fn serve(
    mut listener: Listener,
    router: Router,
    limits: LimitsConfig,
    websockets: ServerHandle,
    shutdown: Shutdown,
) {
    let server = Server {
        http: http(&limits),
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
    http: http1::Builder,
    send_timeout: Duration,
    open: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    max_connections: usize,
    open_label: Arc<Attributes>,
    shutdown: Shutdown,
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
            let io = TokioIo::new(Paced::new(stream, self.send_timeout, open));
            self.spawn(io, TowerToHyperService::new(router.clone()));
        } else if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            let max = self.max_connections;
            let refuse = move |_: http::Request<Incoming>| async move {
                Ok::<Response, Infallible>(too_many_connections(max))
            };
            let io = TokioIo::new(Paced::new(stream, self.send_timeout, permit));
            self.spawn(io, hyper::service::service_fn(refuse));
        }
    }

    fn spawn<I, S>(&self, io: I, service: S)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
        S: hyper::service::Service<http::Request<Incoming>, Response = Response> + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connection = self.http.serve_connection(io, service).with_upgrades();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = shutdown.requested() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        served = connection => served,
                        () = shutdown.grace_over() => return,
                    }
                }
            };
            if let Err(error) = served {
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

fn http(limits: &LimitsConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        .max_header_size(limits.max_header_bytes)
        // Room to read on past a head that is too large, so that its sender gets to read the refusal.
        .max_buf_size(limits.max_header_bytes.saturating_mul(4));
    http
}
