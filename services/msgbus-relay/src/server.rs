//! The HTTP face that other relays and clients know: four paths, any method, the old daemon's answers; and two more for
//! several messages at once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use hero_runtime::{Listener, Shutdown};
use hero_telemetry::{Attributes, metrics, names, spans};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use uuid::{Uuid, Version};

use crate::{
    admission::Refusal,
    batch::{self, Outcome},
    ledger::{Delivery, Held, Kind, Memory, Parcel},
    message::Message,
    relay::{Relay, Shared, now_s},
    stats::{self, Event},
};

/// How long a head may take, and how long an idle connection is kept: longer than peers keep theirs.
const HEAD: Duration = Duration::from_secs(90);
const BODY: Duration = Duration::from_secs(30);

type Answer = Response<Full<Bytes>>;

/// Serves until the shutdown is requested, then lets connections finish, up to the grace.
pub(crate) async fn serve(relay: Shared, mut listener: Listener, shutdown: Shutdown) -> anyhow::Result<()> {
    let most = relay.config.accept.max_connections;
    let open = Arc::new(Semaphore::new(most));
    let label = Arc::new(Attributes::new(&[(names::KIND, "msgbus")]));
    loop {
        let place = Arc::clone(&open).acquire_owned().await?;
        let stream = tokio::select! {
            accepted = listener.next() => match accepted {
                Some(stream) => stream?,
                None => break,
            },
            () = shutdown.requested() => break,
        };
        let (relay, shutdown, label) = (Arc::clone(&relay), shutdown.clone(), Arc::clone(&label));
        tokio::spawn(async move {
            metrics().connections.add(1, &label);
            let service = service_fn(move |request| {
                let relay = Arc::clone(&relay);
                async move { Ok::<_, Infallible>(respond(&relay, request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = shutdown.requested() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        _ = connection => {}
                        () = shutdown.grace_over() => {}
                    }
                }
            }
            metrics().connections.add(-1, &label);
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        _ = open.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)) => {}
        () = shutdown.grace_over() => {}
    }
    Ok(())
}

/// What a path is for.
#[derive(Debug, Clone, Copy)]
enum Door {
    One(Kind),
    Several(Kind),
    Proxied,
    Results,
}

impl Door {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/zbus-remote" => Self::One(Kind::Request),
            "/zbus-reply" => Self::One(Kind::Reply),
            batch::REQUESTS => Self::Several(Kind::Request),
            batch::REPLIES => Self::Several(Kind::Reply),
            "/zbus-cmd" => Self::Proxied,
            "/zbus-result" => Self::Results,
            _ => return None,
        })
    }
}

async fn respond(relay: &Relay, request: Request<Incoming>) -> Answer {
    let Some(door) = Door::at(request.uri().path()) else {
        return plain(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let answer = match body_of(relay, request).await {
        Ok(body) => match door {
            Door::One(kind) => take(relay, kind, &body).await.map(|()| accepted(relay)),
            Door::Several(kind) => several(relay, kind, &body).await,
            Door::Proxied => proxied(relay, &body).await,
            Door::Results => results(relay, &body).await,
        },
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| {
        relay.refused(&refusal);
        refuse(&refusal)
    })
}

async fn body_of(relay: &Relay, request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let most = relay.config.accept.max_body_bytes;
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the message is larger than {most} bytes"),
        )),
        Ok(Err(error)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, format!("couldn't read the body: {error}")))
        }
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

async fn take(relay: &Relay, kind: Kind, body: &[u8]) -> Result<(), Refusal> {
    match kind {
        Kind::Request => remote(relay, body).await,
        Kind::Reply => reply(relay, body).await,
    }
}

/// Several messages, each on its line and each as if it had come alone.
async fn several(relay: &Relay, kind: Kind, body: &[u8]) -> Result<Answer, Refusal> {
    let most = batch::most(relay.config.accept.max_body_bytes);
    let bodies: Vec<&[u8]> = batch::messages(body).take(most + 1).collect();
    if bodies.len() > most {
        let words = format!("more than {most} messages at once");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words));
    }
    let taken = join_all(bodies.into_iter().map(|body| take(relay, kind, body))).await;
    let outcome = |taken: Result<(), Refusal>| {
        taken.as_ref().err().into_iter().for_each(|refusal| relay.refused(refusal));
        Outcome::of(taken.as_ref().err())
    };
    let outcomes: Vec<Outcome> = taken.into_iter().map(outcome).collect();
    let mut answer = plain(StatusCode::OK, json(&outcomes));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// A request of another twin goes to its service.
async fn remote(relay: &Relay, body: &[u8]) -> Result<(), Refusal> {
    let message = relay.authentic(body).await?;
    relay.check_request(&message, false)?;
    if message.uid.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "received invalid message: missing uid"));
    }
    let trace = || stats::trace(message.src, &message.uid);
    let span = spans::bus("receive", &message.cmd, &message.uid, trace);
    deliver(relay, &message, &message.uid, "", None).instrument(span).await?;
    Ok(())
}

/// Hands a request to its service; what was remembered of it, if it came before.
async fn deliver(
    relay: &Relay,
    message: &Message,
    id: &str,
    what: &str,
    proxy: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let accept = &relay.config.accept;
    let text = message.to_json();
    let parcel = Parcel {
        cmd: &message.cmd,
        message: &text,
        memory: Some(Memory { of: format!("{}.{id}", message.src), what, seconds: accept.memory_s }),
        proxy,
        max_queued: accept.max_queued,
        newest_first: accept.newest_first,
    };
    match relay.ledger.deliver(Held::default(), &parcel).await {
        Ok(Delivery::Done) => {
            stats::count(Event::Received);
            Ok(None)
        }
        Ok(Delivery::Repeated(remembered)) => {
            stats::count(Event::Repeated);
            Ok(Some(remembered))
        }
        Ok(Delivery::Full) => {
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "the queue of the command is full"))
        }
        Err(error) => {
            tracing::warn!(error = format!("{:#}", anyhow::Error::new(error)), "a request was not queued");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "couldn't queue message for processing"))
        }
    }
}

/// A reply goes to whoever asked. One that comes late or twice is accepted and nothing more.
async fn reply(relay: &Relay, body: &[u8]) -> Result<(), Refusal> {
    let message = relay.authentic(body).await?;
    relay.check_reply(&message)?;
    let trace = || stats::trace(relay.me, &message.uid);
    let span = spans::bus("answer", &message.cmd, &message.uid, trace);
    let answer = relay.answer(Held::default(), &message.uid, &message, Event::Answered);
    match answer.instrument(span).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            stats::count(Event::Repeated);
            Ok(())
        }
        Err(error) => {
            let words = format!("couldn't push entry to reply queue: {error}");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, words))
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Identifier {
    retqueue: String,
    /// Leaves the payload as it is, base64, for what is no text.
    #[serde(default, skip_serializing)]
    raw: bool,
}

/// A request whose answer is fetched over HTTP.
async fn proxied(relay: &Relay, body: &[u8]) -> Result<Answer, Refusal> {
    let mut message = relay.authentic(body).await?;
    relay.check_request(&message, true)?;
    let id = format!("cmd.{}", hex::encode(message.challenge()));
    let ret = Uuid::new_v4().to_string();
    message.pxy = true;
    message.ret.clone_from(&ret);
    // The same bytes again are the same request: they get the queue that was given out.
    let before = deliver(relay, &message, &id, &ret, Some(&ret)).await?;
    let identifier = Identifier { retqueue: before.unwrap_or(ret), raw: false };
    Ok(plain(StatusCode::OK, format!("{}\n", json(&identifier))))
}

/// What is in a return queue that was given out.
async fn results(relay: &Relay, body: &[u8]) -> Result<Answer, Refusal> {
    let identifier: Identifier = Deserialize::deserialize(&mut serde_json::Deserializer::from_slice(body))
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "couldn't parse json"))?;
    let is_v4 = |id: Uuid| id.get_version() == Some(Version::Random);
    if !identifier.retqueue.parse().is_ok_and(is_v4) {
        let words = "Invalid Retqueue, it should be a valid UUID";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, words));
    }
    let items = relay.ledger.proxy_results(&identifier.retqueue).await.map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("couldn't read the return queue: {error}"))
    })?;
    let results: Vec<String> =
        items.iter().filter_map(|item| result_of(relay, item, identifier.raw)).collect();
    let mut answer = Response::new(Full::from(format!("[{}]", results.join(","))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// A reply as /zbus-result tells it: its payload decoded to text, dated and signed here.
fn result_of(relay: &Relay, item: &[u8], raw: bool) -> Option<String> {
    let mut message = Message::from_json(item).ok()?;
    if !raw {
        let payload = BASE64_STANDARD.decode(&message.dat).ok()?;
        message.dat = String::from_utf8_lossy(&payload).into_owned();
    }
    message.now = now_s();
    relay.key.sign(&mut message);
    Some(message.to_json())
}

fn accepted(relay: &Relay) -> Answer {
    let mut answer = plain(StatusCode::OK, r#"{"status": "accepted"}"#);
    answer.headers_mut().insert(batch::HEADER, batch::offer(relay.config.accept.max_body_bytes));
    answer
}

/// The names of its members are the old daemon's, which clients read.
fn refuse(refusal: &Refusal) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        status: &'a str,
        message: &'a str,
    }
    let body = format!("{}\n", json(&Body { status: "error", message: &refusal.words }));
    let mut answer = plain(refusal.status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
