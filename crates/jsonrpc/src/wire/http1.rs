//! JSON-RPC over HTTP/1.1: POST, and an upgrade to WebSocket.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use hero_domain::ApiError;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::server::{HttpBody, HttpResponse, ws::is_upgrade_request};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service as _;

use super::{Door, Inner, secret};
use crate::{Session, error_object, http_status, over_http};

type Request = http::Request<Incoming>;

/// Serves one connection.
pub(super) async fn serve<I>(wire: Arc<Inner>, stream: I, door: Door, stop: BoxFuture<'static, ()>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(wire.config.idle_timeout());
    let service = service_fn(move |request: Request| {
        let (wire, door) = (Arc::clone(&wire), Arc::clone(&door));
        async move { Ok::<_, Infallible>(answer(&wire, &door, request).await) }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(wire: &Inner, door: &Door, request: Request) -> HttpResponse {
    // Whoever calls these sockets is a program; a page in somebody's browser must not.
    if request.headers().contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "web pages may not call here; call the gateway");
    }
    if is_upgrade_request(&request) {
        return upgrade(wire, door, request).await;
    }
    if *request.method() != Method::POST {
        let words = "JSON-RPC 2.0 is spoken here: POST makes a call, GET with an upgrade opens a WebSocket";
        return refuse(StatusCode::METHOD_NOT_ALLOWED, words);
    }
    let (mut parts, body) = request.into_parts();
    let text = match body_of(body, wire.config.max_request_bytes, wire.config.request_timeout()).await {
        Ok(text) => text,
        Err(refused) => return refused,
    };
    let (text, secret) = match std::str::from_utf8(&text) {
        Ok(text) => secret::take(text),
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the request's body is not UTF-8"),
    };
    let secret = secret.as_deref().or_else(|| bearer(&parts.headers));
    match door(secret) {
        Ok(caller) => {
            parts.extensions = http::Extensions::new();
            parts.extensions.insert(Session::new(caller, None));
        }
        Err(error) => return refuse_call(&error),
    }
    let body = Full::new(Bytes::from(text.into_owned()));
    dispatch(wire, http::Request::from_parts(parts, body)).await
}

async fn upgrade(wire: &Inner, door: &Door, request: Request) -> HttpResponse {
    let (mut parts, body) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    match door(bearer(&parts.headers)) {
        Ok(caller) => {
            parts.extensions = http::Extensions::new();
            parts.extensions.insert(Session::on_websocket(caller, None));
        }
        Err(error) => return refuse_call(&error),
    }
    if let Some(on_upgrade) = on_upgrade {
        parts.extensions.insert(on_upgrade);
    }
    dispatch(wire, http::Request::from_parts(parts, body)).await
}

async fn dispatch<B>(wire: &Inner, request: http::Request<B>) -> HttpResponse
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut service = wire.rpc.clone().build(wire.methods.clone(), wire.stop.clone());
    match service.call(request).await {
        Ok(response) => over_http(response),
        Err(error) => refuse_call(&ApiError::internal(error)),
    }
}

async fn body_of(body: Incoming, max_bytes: u32, timeout: Duration) -> Result<Bytes, HttpResponse> {
    match tokio::time::timeout(timeout, Limited::new(body, max_bytes as usize).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let words = format!("the request is too large; at most {max_bytes} bytes are taken");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &words))
        }
        Ok(Err(_)) => Err(refuse(StatusCode::BAD_REQUEST, "the request's body cannot be read")),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn refuse(status: StatusCode, words: &str) -> HttpResponse {
    respond(status, json!({"error": status.canonical_reason(), "message": words}))
}

fn refuse_call(error: &ApiError) -> HttpResponse {
    let status = StatusCode::from_u16(http_status(error.code())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, json!({"jsonrpc": "2.0", "id": null, "error": error_object(error, None)}))
}

fn respond(status: StatusCode, body: serde_json::Value) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
