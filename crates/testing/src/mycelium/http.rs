//! The daemon's HTTP face.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::{FakeOverlay, Mood, api};

/// Bytes of a request's and a response's body.
const MAX_BYTES: usize = 10 << 20;
/// Requests in flight.
const MAX_REQUESTS: usize = 100;

pub(super) async fn serve(listener: TcpListener, overlay: FakeOverlay, node: usize) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let too_many = connections.len() >= MAX_REQUESTS;
        let overlay = overlay.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let overlay = overlay.clone();
                async move {
                    if too_many {
                        let words = "Too many connections. Please try again later.";
                        return Ok::<_, Infallible>(text(StatusCode::TOO_MANY_REQUESTS, words));
                    }
                    Ok(handle(request, &overlay, node).await)
                }
            });
            // A client that hangs up is no matter.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(request: Request<Incoming>, overlay: &FakeOverlay, node: usize) -> Response<Full<Bytes>> {
    let mood = {
        let mut network = overlay.lock();
        network.nodes[node].calls += 1;
        network.nodes[node].mood
    };
    match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Garbage => return text(StatusCode::OK, "<html>"),
        Mood::Well | Mood::Old => {}
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Used HTTP Method is not allowed. POST is required");
    }
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.to_str().is_ok_and(|value| value.starts_with("application/json")));
    if !is_json {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Supplied content type is not allowed.");
    }
    let Ok(body) = request.into_body().collect().await else {
        return text(StatusCode::BAD_REQUEST, "no body");
    };
    let body = body.to_bytes();
    if body.len() > MAX_BYTES {
        let error = json!({"code": -32007, "message": "Request is too big", "data": "Exceeded max limit of 10485760"});
        let answer = json!({"jsonrpc": "2.0", "id": null, "error": error});
        return as_json(StatusCode::PAYLOAD_TOO_LARGE, &answer);
    }
    as_json(StatusCode::OK, &answer(&body, overlay, node).await)
}

async fn answer(body: &[u8], overlay: &FakeOverlay, node: usize) -> Value {
    let invalid =
        || json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid request"}});
    match serde_json::from_slice::<Value>(body) {
        Err(_) => json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Parse error"}}),
        Ok(Value::Array(calls)) if calls.is_empty() => invalid(),
        Ok(Value::Array(calls)) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.extend(one(&call, overlay, node).await);
            }
            Value::Array(answers)
        }
        Ok(call) => one(&call, overlay, node).await.unwrap_or(Value::Null),
    }
}

async fn one(call: &Value, overlay: &FakeOverlay, node: usize) -> Option<Value> {
    let is_call = call["jsonrpc"] == "2.0" && call["method"].is_string();
    if !is_call {
        let error = json!({"code": -32600, "message": "Invalid request"});
        return Some(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}));
    }
    let id = call.get("id")?.clone();
    let method = call["method"].as_str().unwrap_or_default();
    let outcome = api::call(overlay, node, method, &call["params"]).await;
    let answer = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(api::Failure { code, data }) => {
            let message = match code {
                -32601 => "Method not found",
                -32602 => "Invalid params",
                -32007 => "Request is too big",
                _ => "Server error",
            };
            let mut error = json!({"code": code, "message": message});
            if let Some(data) = data {
                error["data"] = data.into();
            }
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    };
    if answer.to_string().len() > MAX_BYTES {
        let error = json!({"code": -32008, "message": "Response is too big", "data": "Exceeded max limit of 10485760"});
        return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
    }
    Some(answer)
}

fn as_json(status: StatusCode, answer: &Value) -> Response<Full<Bytes>> {
    let mut response = text(status, &answer.to_string());
    let value = header::HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(words.as_bytes())));
    *response.status_mut() = status;
    response
}
