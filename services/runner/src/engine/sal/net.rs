//! The module `net`: whether something answers, and what a URL has. The names are those of the crate sal-net, which
//! brings an HTTP and TLS stack of its own and runs `ssh` without looking at whom it talks to; these are over the
//! stack that is here, and each call has a bound.

use std::{
    error::Error,
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy, rt::TokioExecutor};
use rhai::{Engine, EvalAltResult};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a whole request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// Bytes of a body.
const MOST_BYTES: usize = 8 << 20;

type Answer<T> = Result<T, Box<EvalAltResult>>;

/// Adds the functions; without a network they say so, lest "false" be taken for an answer.
pub(super) fn register(engine: &mut Engine, has_network: bool) {
    let allowed = move || -> Answer<()> {
        if has_network {
            return Ok(());
        }
        Err("this script has no network; the runner's setting sal.network gives it one".into())
    };
    engine
        .register_fn("tcp_check", move |host: &str, port: i64| allowed().map(|()| is_open(host, port)))
        .register_fn("http_check", move |url: &str| {
            allowed()?;
            Ok::<_, Box<EvalAltResult>>(
                request(Method::HEAD, url).is_ok_and(|(status, _)| status.is_success()),
            )
        })
        .register_fn("http_status", move |url: &str| {
            allowed()?;
            Ok::<_, Box<EvalAltResult>>(
                request(Method::HEAD, url).map_or(-1_i64, |(status, _)| status.as_u16().into()),
            )
        })
        .register_fn("http_get", move |url: &str| {
            allowed()?;
            get(url)
        });
}

fn is_open(host: &str, port: i64) -> bool {
    let Ok(port) = u16::try_from(port) else { return false };
    let addresses = (host, port).to_socket_addrs();
    addresses.is_ok_and(|mut all| all.any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok()))
}

fn get(url: &str) -> Answer<String> {
    let (status, body) = request(Method::GET, url).map_err(|error| format!("GET {url}: {error}"))?;
    if !status.is_success() {
        return Err(format!("GET {url}: {status}").into());
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn request(method: Method, url: &str) -> Result<(StatusCode, Bytes), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no client can be made: {error}"))?;
    let answer = runtime.block_on(async {
        let sent = tokio::time::timeout(REQUEST, send(method, url)).await;
        sent.unwrap_or_else(|_| Err(format!("no answer within {} s", REQUEST.as_secs())))
    });
    // A look-up of a name that hangs must not hold up the script.
    runtime.shutdown_background();
    answer
}

async fn send(method: Method, url: &str) -> Result<(StatusCode, Bytes), String> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("the certificates of this system cannot be read: {error}"))?
        .https_or_http()
        .enable_http1()
        .build();
    let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let request =
        Request::builder().method(method).uri(url).body(Empty::new()).map_err(|error| chain(&error))?;
    let answer = client.request(request).await.map_err(|error| chain(&error))?;
    let status = answer.status();
    let body =
        Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(|error| chain(&*error))?;
    Ok((status, body.to_bytes()))
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
