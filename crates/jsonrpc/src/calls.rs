//! What surrounds every call, whichever way it came in: bounds, a deadline, a span and a measurement; and
//! batches whose members run side by side.
//!
//! jsonrpsee runs the members of a batch one after the other, so a hundred members would pay a hundred round
//! trips in a row. Here they run at once (a bounded number of them), and are answered in their order.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesOrdered};
use hero_domain::{ApiError, Reason};
use hero_telemetry::{metrics, spans, trace_context};
use http::StatusCode;
use hyper::body::Body as _;
use jsonrpsee::{
    BatchResponseBuilder, MethodResponse, ResponsePayload,
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT},
    server::{HttpBody, HttpResponse},
    types::{Id, error::TOO_MANY_SUBSCRIPTIONS_CODE},
};
use tokio::sync::Semaphore;
use tower::Layer;
use tracing::Instrument as _;

use crate::{
    Fallback, Pace, Session,
    error::{Failure, error_object, method_not_found},
    measure,
    method::{Method, method},
    nodes::passed_back,
    subscriptions,
};

/// How long a caller that hit a limit is asked to stay away.
const RETRY_AFTER_MS: u64 = 100;

/// The bounds of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// The most members that a batch may have.
    pub max_batch: usize,
    /// How many members of a batch run at a time.
    pub max_batch_concurrent: usize,
    /// How many calls of one connection run at a time.
    pub max_calls_per_connection: usize,
    /// How many calls run at a time, over all connections.
    pub max_calls: usize,
    /// How long a call may take that does not wait for a job.
    pub call_timeout: Duration,
    /// The most bytes that the response to a batch may have.
    pub max_response_bytes: usize,
}

/// Makes a [`Calls`] service for each connection.
#[derive(Clone)]
pub struct CallsLayer {
    limits: Arc<CallLimits>,
    all: Arc<Semaphore>,
    fallback: Option<Arc<dyn Fallback>>,
}

impl fmt::Debug for CallsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallsLayer").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl CallsLayer {
    /// A layer whose connections share one bound on the calls that run at a time.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        let all = Arc::new(Semaphore::new(limits.max_calls.min(Semaphore::MAX_PERMITS)));
        Self { limits: Arc::new(limits), all, fallback: None }
    }

    /// The same, with somebody who serves methods that the table does not have.
    #[must_use]
    pub fn with_fallback(self, fallback: Option<Arc<dyn Fallback>>) -> Self {
        Self { fallback, ..self }
    }
}

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        let own = self.limits.max_calls_per_connection.min(Semaphore::MAX_PERMITS);
        Calls(Arc::new(Connection {
            inner,
            limits: Arc::clone(&self.limits),
            all: Arc::clone(&self.all),
            own: Semaphore::new(own),
            fallback: self.fallback.clone(),
        }))
    }
}

/// The outermost service of a connection (over HTTP: of a request).
pub struct Calls<S>(Arc<Connection<S>>);

struct Connection<S> {
    inner: S,
    limits: Arc<CallLimits>,
    all: Arc<Semaphore>,
    own: Semaphore,
    fallback: Option<Arc<dyn Fallback>>,
}

impl<S> RpcServiceT for Calls<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let connection = Arc::clone(&self.0);
        async move { connection.call(request).await }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let connection = Arc::clone(&self.0);
        async move { connection.batch(batch).await }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let connection = Arc::clone(&self.0);
        async move { connection.inner.notification(notification).await }
    }
}

impl<S> Connection<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse> + Send + Sync,
{
    async fn call(&self, request: Request<'_>) -> MethodResponse {
        let began = Instant::now();
        let entry = method(&request.method);
        let response = match entry {
            Some(entry) => self.known(entry, request).await,
            None => self.unknown(request).await,
        };
        let attributes = measure::attributes(entry, response.as_error_code());
        metrics().rpc_server_duration.record(began.elapsed(), attributes);
        response
    }

    /// A method that the table does not have: somebody else's, or nobody's.
    async fn unknown(&self, request: Request<'_>) -> MethodResponse {
        let fallback = self.fallback.as_ref().filter(|fallback| fallback.takes(&request.method));
        let session = request.extensions.get::<Session>().cloned();
        let (Some(fallback), Some(session)) = (fallback, session) else {
            return MethodResponse::error(request.id.clone(), method_not_found(&request.method));
        };
        let (Ok(_all), Ok(_own)) = (self.all.try_acquire(), self.own.try_acquire()) else {
            return refuse(request.id.clone(), too_many_calls());
        };
        let params = request.params.as_ref().map(|params| params.get().to_owned());
        let id = request.id.clone().into_owned();
        match fallback.call(session, request.method.to_string(), params).await.map(passed_back) {
            Ok(Ok(result)) => {
                MethodResponse::response(id, ResponsePayload::success(result), self.limits.max_response_bytes)
            }
            Ok(Err(Failure::Remote(error))) => MethodResponse::error(id, error),
            Ok(Err(_)) => refuse(id, ApiError::internal("the answer of another service is no JSON")),
            Err(error) => refuse(id, error),
        }
    }

    async fn known(&self, entry: &'static Method, request: Request<'_>) -> MethodResponse {
        let pace = request.extensions.get::<Session>().and_then(Session::pace);
        if let Some(Err(error)) = pace.map(Pace::take) {
            return refuse(request.id, error);
        }
        let (Ok(_all), Ok(_own)) = (self.all.try_acquire(), self.own.try_acquire()) else {
            return refuse(request.id.clone(), too_many_calls());
        };
        let request = match subscriptions::prepare(entry, request) {
            Ok(request) => request,
            Err((request, error)) => return refuse(request.id, error),
        };
        let session = request.extensions.get::<Session>();
        let traceparent = session.and_then(Session::traceparent).map(str::to_owned);
        let span = spans::rpc_server("jsonrpc", entry.name, traceparent.as_deref());
        let id = request.id.clone();
        let call = trace_context::carry(traceparent, self.inner.call(request)).instrument(span.clone());
        let response = if entry.waits {
            call.await
        } else {
            match tokio::time::timeout(self.limits.call_timeout, call).await {
                Ok(response) => response,
                Err(_) => refuse(id.clone(), no_answer(entry, self.limits.call_timeout)),
            }
        };
        measure::end(&span, response.as_error_code());
        if response.as_error_code() == Some(TOO_MANY_SUBSCRIPTIONS_CODE) {
            return refuse(id, too_many_subscriptions());
        }
        response
    }

    async fn batch(&self, batch: Batch<'_>) -> MethodResponse {
        let CallLimits { max_batch, max_batch_concurrent, max_response_bytes, .. } = *self.limits;
        if batch.len() > max_batch {
            return refuse(Id::Null, batch_too_large(batch.len(), max_batch));
        }
        let mut response = BatchResponseBuilder::new_with_limit(max_response_bytes);
        let mut notified = false;
        let mut entries = batch.into_iter();
        let mut running = FuturesOrdered::new();
        loop {
            while running.len() < max_batch_concurrent.max(1) {
                let Some(entry) = entries.next() else { break };
                running.push_back(self.member(entry));
            }
            match running.next().await {
                None => break,
                Some(None) => notified = true,
                Some(Some(answer)) => {
                    if response.append(answer).is_err() {
                        return refuse(Id::Null, batch_response_too_large(max_response_bytes));
                    }
                }
            }
        }
        if response.is_empty() && notified {
            return MethodResponse::notification();
        }
        MethodResponse::from_batch(response.finish())
    }

    /// The answer to one member; a notification has none.
    async fn member(&self, entry: Result<BatchEntry<'_>, BatchEntryErr<'_>>) -> Option<MethodResponse> {
        match entry {
            Ok(BatchEntry::Call(request)) if method(&request.method).is_some_and(subscriptions::opens) => {
                Some(refuse(request.id, no_batch()))
            }
            Ok(BatchEntry::Call(request)) => Some(self.call(request).await),
            Ok(BatchEntry::Notification(notification)) => {
                self.inner.notification(notification).await;
                None
            }
            Err(error) => {
                let (error, id) = error.into_parts();
                Some(MethodResponse::error(id, error))
            }
        }
    }
}

/// What goes over HTTP for an answer of jsonrpsee. It says `null` to a notification, which gets no answer: 204 is the
/// status for that.
#[must_use]
pub fn over_http(response: HttpResponse) -> HttpResponse {
    // No other answer is as short.
    const NULL: u64 = 4;
    if response.status() != StatusCode::OK || response.body().size_hint().exact() != Some(NULL) {
        return response;
    }
    let mut silence = HttpResponse::new(HttpBody::empty());
    *silence.status_mut() = StatusCode::NO_CONTENT;
    silence
}

fn refuse(id: Id<'_>, error: ApiError) -> MethodResponse {
    measure::refused(error.reason());
    let traced = trace_context::current_traceparent().is_some().then(trace_context::trace_id);
    MethodResponse::error(id, error_object(&error, traced.as_deref()))
}

fn too_many_calls() -> ApiError {
    ApiError::new(Reason::TooManyRequests, "too many calls run at once; wait for some to end, then repeat")
        .with_retry_after_ms(RETRY_AFTER_MS)
}

fn too_many_subscriptions() -> ApiError {
    let words =
        "this connection has as many subscriptions as it may have; end one, or open another connection";
    ApiError::new(Reason::TooManyRequests, words)
}

/// What answers a subscription goes out at once, and not with the answers to the others.
fn no_batch() -> ApiError {
    ApiError::new(Reason::InvalidParams, "a subscription is opened by a call of its own, not in a batch")
        .with_field("method")
}

fn no_answer(entry: &Method, timeout: Duration) -> ApiError {
    ApiError::new(
        Reason::DeadlineExceeded,
        format!("{} had no answer within {} ms; it may still take effect", entry.name, timeout.as_millis()),
    )
}

fn batch_too_large(given: usize, max: usize) -> ApiError {
    ApiError::new(
        Reason::BatchTooLarge,
        format!("{given} members; at most {max} are taken, so split the batch"),
    )
}

fn batch_response_too_large(max: usize) -> ApiError {
    ApiError::new(
        Reason::ResponseTooLarge,
        format!(
            "the answers do not fit into a response of {max} bytes; they were made, so ask in smaller batches"
        ),
    )
}
