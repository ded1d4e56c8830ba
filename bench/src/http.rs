//! An HTTP client that costs as little as it can: keep-alive connections, one request at a time on each.

use std::{net::SocketAddr, time::Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{latency::Latencies, load::Load, ws::Reply};

/// One keep-alive connection.
struct HttpConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl HttpConnection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // Ends when the sender is dropped; a failure shows at the sender.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    async fn call(&mut self, body: String) -> anyhow::Result<Bytes> {
        let request = Request::post("/")
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.send(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "status {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// One page, or what is on it.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let mut connection = HttpConnection::open(address).await?;
    let request = Request::get(path).header(header::HOST, &connection.host).body(Full::default())?;
    connection.send(request).await
}

/// Sends every request over `in_flight` connections, and returns when all are answered.
pub(crate) async fn load(address: SocketAddr, load: Load) -> anyhow::Result<Latencies> {
    let mut connections = Vec::with_capacity(load.in_flight);
    for _ in 0..load.in_flight.min(load.requests) {
        connections.push(HttpConnection::open(address).await?);
    }
    let step = connections.len();
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for (first, mut connection) in connections.into_iter().enumerate() {
        workers.spawn(async move {
            let mut seen = Latencies::with_capacity(load.requests / step + 1);
            for index in (first..load.requests).step_by(step) {
                let sent = Instant::now();
                let body = connection.call(load.text(index)).await?;
                seen.add(sent.elapsed());
                if let Some(failure) = Reply::parse(&body, false)?.failure {
                    seen.add_failure(&failure);
                }
            }
            anyhow::Ok(seen)
        });
    }
    let mut seen = Latencies::with_capacity(load.requests);
    while let Some(worker) = workers.join_next().await {
        seen.merge(worker??);
    }
    seen.elapsed = begin.elapsed();
    Ok(seen)
}
