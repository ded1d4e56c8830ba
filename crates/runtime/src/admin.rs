//! The admin port: whether the process lives and is ready, its metrics, and what it logs.

use std::{io, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hero_config::{Invalid, Validate};
use serde::{Deserialize, Serialize};

use crate::{
    Address, Context, Listener,
    health::Report,
    listen::{BindError, connect},
};

/// A log filter is short.
const BODY_LIMIT: usize = 4096;
/// How long an answer of [`ask_ready`] may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the admin port is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdminConfig {
    /// `tcp://host:port` or `unix:///path`.
    pub listen: Address,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self::at(9080)
    }
}

impl AdminConfig {
    /// A port of this machine; for the default of a service's own configuration.
    #[must_use]
    pub fn at(port: u16) -> Self {
        Self { listen: Address::loopback(port) }
    }
}

impl Validate for AdminConfig {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// The bound admin port.
#[derive(Debug)]
pub struct AdminServer {
    listener: Listener,
    routes: Router,
}

impl AdminServer {
    /// Opens the port.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn bind(config: &AdminConfig, cx: &Context) -> Result<Self, BindError> {
        let listener = Listener::bind(&config.listen).await?;
        Ok(Self { listener, routes: routes(cx.clone()) })
    }

    /// The address that really got bound.
    #[must_use]
    pub const fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Answers until it is dropped: through the whole drain, so that `/readyz` says so.
    ///
    /// # Errors
    /// When the port cannot be served.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, self.routes).await
    }
}

fn routes(cx: Context) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", get(log_level).put(set_log_level))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(cx)
}

async fn alive(State(cx): State<Context>) -> (StatusCode, String) {
    match cx.health.stalls() {
        stalls if stalls.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        stalls => (StatusCode::SERVICE_UNAVAILABLE, stalls.join("\n") + "\n"),
    }
}

async fn ready(State(cx): State<Context>) -> (StatusCode, Json<Report>) {
    let report = cx.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn metrics(State(cx): State<Context>) -> Response {
    match cx.telemetry.prometheus_text() {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn log_level(State(cx): State<Context>) -> String {
    cx.telemetry.log_filter() + "\n"
}

async fn set_log_level(State(cx): State<Context>, filter: String) -> (StatusCode, String) {
    let filter = filter.trim();
    let before = cx.telemetry.log_filter();
    match cx.telemetry.set_log_filter(filter) {
        Ok(()) => {
            tracing::warn!(before, now = filter, "log level changed");
            (StatusCode::OK, format!("{filter}\n"))
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// Asks the admin port of a process whether it is ready; the answer is the status and the body.
///
/// # Errors
/// When it does not answer.
pub async fn ask_ready(address: &Address) -> anyhow::Result<(StatusCode, String)> {
    let address = address.reachable();
    tokio::time::timeout(ASK_TIMEOUT, ask(&address))
        .await
        .map_err(|_| anyhow::anyhow!("{address} did not answer within {} s", ASK_TIMEOUT.as_secs()))?
}

async fn ask(address: &Address) -> anyhow::Result<(StatusCode, String)> {
    use anyhow::Context as _;
    use http_body_util::{BodyExt as _, Empty, Limited};

    let stream = connect(address).await.with_context(|| format!("nobody answers on {address}"))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let request =
        http::Request::get("/readyz").header(header::HOST, "hero").body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), 1 << 20).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::select! {
        answer = exchange => answer,
        // The connection ends by itself only when the peer closes it.
        ended = connection => Err(anyhow::anyhow!("{address} closed the connection: {ended:?}")),
    }
}
