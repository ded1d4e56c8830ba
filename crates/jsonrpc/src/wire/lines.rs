//! Raw JSON-RPC: a request to a line, an answer to a line, in order.

use futures::future::BoxFuture;
use hero_domain::{ApiError, Reason};
use http_body_util::{BodyExt as _, Full};
use jsonrpsee::types::{ErrorObjectOwned, error::OVERSIZED_REQUEST_CODE};
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tower::Service as _;

use super::{Door, Inner, secret};
use crate::{Session, error_object};

/// What came in.
enum Line {
    Text(String),
    /// More bytes than are taken, or no text: nothing after it can be understood.
    Broken(ErrorObjectOwned),
    /// Nothing more.
    End,
}

/// Answers lines until the client hangs up, says nothing for too long, or `stop` is there.
pub(super) async fn serve<I>(
    wire: &Inner,
    mut stream: BufReader<I>,
    door: &Door,
    mut stop: BoxFuture<'static, ()>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        let line = tokio::select! {
            biased;
            line = next(wire, &mut stream) => line,
            () = &mut stop => return,
        };
        let (answer, is_last) = match line {
            Line::End => return,
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => (answer(wire, door, &text).await, false),
            Line::Broken(error) => (Some(envelope(&error)), true),
        };
        if let Some(mut answer) = answer {
            answer.push('\n');
            let send = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await
            };
            if !matches!(tokio::time::timeout(wire.config.send_timeout(), send).await, Ok(Ok(()))) {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

async fn next<I: AsyncRead + Unpin>(wire: &Inner, stream: &mut BufReader<I>) -> Line {
    match tokio::time::timeout(wire.config.idle_timeout(), stream.fill_buf()).await {
        Ok(Ok(bytes)) if !bytes.is_empty() => {}
        _ => return Line::End,
    }
    let most = wire.config.max_request_bytes as usize;
    let mut bytes = Vec::new();
    let mut bounded = stream.take(most as u64 + 1);
    let read = bounded.read_until(b'\n', &mut bytes);
    match tokio::time::timeout(wire.config.request_timeout(), read).await {
        Ok(Ok(_)) if bytes.len() > most => {
            let words =
                format!("the request is too large; at most {most} bytes are taken, so send it in parts");
            let data = json!({"reason": "REQUEST_TOO_LARGE"});
            Line::Broken(ErrorObjectOwned::owned(OVERSIZED_REQUEST_CODE, words, Some(data)))
        }
        Ok(Ok(_)) => match String::from_utf8(bytes) {
            Ok(text) => Line::Text(text),
            Err(_) => {
                let error = ApiError::new(Reason::InvalidParams, "the request is not UTF-8");
                Line::Broken(error_object(&error, None))
            }
        },
        Ok(Err(_)) | Err(_) => Line::End,
    }
}

/// The answer to a line; a notification has none.
async fn answer(wire: &Inner, door: &Door, text: &str) -> Option<String> {
    let (text, secret) = secret::take(text);
    let caller = match door(secret.as_deref()) {
        Ok(caller) => caller,
        Err(error) => return Some(envelope(&error_object(&error, None))),
    };
    let body = Full::new(bytes::Bytes::from(text.into_owned()));
    let mut request = http::Request::new(body);
    *request.method_mut() = http::Method::POST;
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    request.extensions_mut().insert(Session::new(caller, None));
    let mut service = wire.rpc.clone().build(wire.methods.clone(), wire.stop.clone());
    let response = service.call(request).await.ok()?;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let text = String::from_utf8(body.to_vec()).ok()?;
    (!text.is_empty()).then_some(text)
}

fn envelope(error: &ErrorObjectOwned) -> String {
    json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string()
}
