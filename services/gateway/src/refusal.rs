//! What is answered to a request that never becomes a call: always JSON, always with the way out.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use hero_domain::{ApiError, ErrorCode};
use hero_jsonrpc::{error_object, http_status};
use http::{HeaderValue, StatusCode, header};
use jsonrpsee::types::{ErrorObjectOwned, error::OVERSIZED_REQUEST_CODE};
use serde_json::json;

/// A refusal in the shape of a JSON-RPC response, for whoever wanted to make a call.
pub(crate) fn call(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(http_status(error.code())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = envelope(status, &error_object(error, None));
    let headers = response.headers_mut();
    if error.code() == ErrorCode::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(pause_ms) = error.retry_after_ms() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(pause_ms.div_ceil(1_000).max(1)));
    }
    response
}

/// A body over the limit. The code is the one that jsonrpsee answers with on a WebSocket.
pub(crate) fn too_large(max_bytes: u32) -> Response {
    let words = format!("the request is too large; at most {max_bytes} bytes are taken, so send it in parts");
    let data = json!({"reason": "REQUEST_TOO_LARGE"});
    envelope(
        StatusCode::PAYLOAD_TOO_LARGE,
        &ErrorObjectOwned::owned(OVERSIZED_REQUEST_CODE, words, Some(data)),
    )
}

fn envelope(status: StatusCode, error: &ErrorObjectOwned) -> Response {
    (status, axum::Json(json!({"jsonrpc": "2.0", "id": null, "error": error}))).into_response()
}

/// A refusal of the request itself.
pub(crate) fn request(status: StatusCode, error: &str, message: &str) -> Response {
    (status, axum::Json(json!({"error": error, "message": message}))).into_response()
}

/// A circle that is not served here.
pub(crate) fn circle_not_found(path: &str) -> Response {
    let path: String = path.chars().take(200).collect();
    let words = format!("Circle '{path}' is not available on this server");
    request(StatusCode::NOT_FOUND, "Circle not found", &words)
}

/// A refusal after which the connection is of no use.
pub(crate) fn closing(mut response: Response<Body>) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
