//! The HTTP client: other relays over HTTP, the look-up of twins over HTTP or HTTPS.

use std::{error::Error, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// Less than servers keep an idle connection, so that none is used that is being closed.
const IDLE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of the answer to a delivery that are read: a refusal of each message of the largest one.
const MAX_ANSWER: usize = 128 << 10;

/// Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Plain(legacy::Client<HttpConnector, Full<Bytes>>),
    Tls(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Client {
    /// For relays: they speak HTTP, and sign what they say.
    pub(crate) fn plain(max_idle: usize) -> Self {
        Self(Kind::Plain(builder(max_idle).build(tcp())))
    }

    /// For HTTPS too.
    pub(crate) fn tls() -> anyhow::Result<Self> {
        const MAX_IDLE: usize = 8;
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("the certificates of this system cannot be read")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp());
        Ok(Self(Kind::Tls(builder(MAX_IDLE).build(connector))))
    }

    /// Delivers a message; what went wrong, in words with the URL in them.
    pub(crate) async fn post(
        &self,
        url: &str,
        body: String,
        timeout: Duration,
    ) -> Result<Response<Bytes>, String> {
        let request =
            Request::builder().method(Method::POST).uri(url).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body)).map_err(|error| format!("Post \"{url}\": {error}"))?;
        let answer = tokio::time::timeout(timeout, self.send(request, MAX_ANSWER)).await;
        let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        answer.map_err(|error| format!("Post \"{url}\": {error}"))
    }

    pub(crate) async fn get(
        &self,
        url: &str,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, String> {
        let request =
            Request::get(url).body(Full::default()).map_err(|error| format!("GET {url}: {error}"))?;
        let answer = tokio::time::timeout(timeout, self.send(request, max_bytes)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        answer.map_err(|error| format!("GET {url}: {error}"))
    }

    async fn send(&self, request: Request<Full<Bytes>>, max: usize) -> Result<Response<Bytes>, String> {
        let answer = match &self.0 {
            Kind::Plain(client) => client.request(request).await,
            Kind::Tls(client) => client.request(request).await,
        };
        let answer = answer.map_err(|error| chain(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, max).collect().await.map_err(|error| chain(&*error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp
}

fn builder(max_idle: usize) -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(max_idle);
    builder
}

/// The last of the causes says most: `connection refused`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
