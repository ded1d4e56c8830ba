//! The span and the measurement of every gRPC call that is answered.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use hero_telemetry::{Attributes, metrics, names, spans, trace_context};
use pin_project_lite::pin_project;
use tonic::Code;
use tower::{Layer, Service};
use tracing::Span;

const CODES: usize = 17;

/// Observes calls of the known methods; anything else is counted as [`names::OTHER`].
#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer(Arc<HashMap<String, Method>>);

/// The attributes of one method, made when a status is first seen.
#[derive(Debug)]
struct Method {
    name: String,
    by_code: [OnceLock<Attributes>; CODES],
}

impl ObserveLayer {
    /// Methods by path without the slash at its front: `hero.job.v1.JobService/GetJob`.
    pub(crate) fn new(methods: impl IntoIterator<Item = String>) -> Self {
        let other = std::iter::once(names::OTHER.to_owned());
        let known = methods.into_iter().chain(other);
        Self(Arc::new(known.map(|name| (name.clone(), Method::new(name))).collect()))
    }
}

impl Method {
    fn new(name: String) -> Self {
        Self { name, by_code: [const { OnceLock::new() }; CODES] }
    }

    fn attributes(&self, code: Code) -> &Attributes {
        self.by_code[code as usize].get_or_init(|| {
            Attributes::new(&[
                (names::RPC_SYSTEM, "grpc"),
                (names::RPC_METHOD, &self.name),
                (names::RPC_STATUS_CODE, code_name(code)),
            ])
        })
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, methods: Arc::clone(&self.0) }
    }
}

/// See [`ObserveLayer`].
#[derive(Debug, Clone)]
pub(crate) struct Observe<S> {
    inner: S,
    methods: Arc<HashMap<String, Method>>,
}

impl<S, In, Out> Service<http::Request<In>> for Observe<S>
where
    S: Service<http::Request<In>, Response = http::Response<Out>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<In>) -> Self::Future {
        let path = request.uri().path().trim_start_matches('/');
        let method = if self.methods.contains_key(path) { path } else { names::OTHER };
        let span = if trace_context::is_exporting() {
            let traceparent = request.headers().get(trace_context::TRACEPARENT);
            spans::rpc_server("grpc", method, traceparent.and_then(|value| value.to_str().ok()))
        } else {
            Span::none()
        };
        let method = method.to_owned();
        let inner = span.in_scope(|| self.inner.call(request));
        Observed { inner, span, method, methods: Arc::clone(&self.methods), began: Instant::now() }
    }
}

pin_project! {
    /// See [`ObserveLayer`].
    pub(crate) struct Observed<F> {
        #[pin]
        inner: F,
        span: Span,
        method: String,
        methods: Arc<HashMap<String, Method>>,
        began: Instant,
    }
}

impl<F, Out, E> Future for Observed<F>
where
    F: Future<Output = Result<http::Response<Out>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = this.span.enter();
        let answer = std::task::ready!(this.inner.poll(cx));
        drop(entered);
        let code = match &answer {
            Ok(response) => status(response.headers()),
            Err(_) => Code::Internal,
        };
        if let Some(method) = this.methods.get(this.method.as_str()) {
            metrics().rpc_server_duration.record(this.began.elapsed(), method.attributes(code));
        }
        let is_fault = matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable);
        spans::end(this.span, code_name(code), (code != Code::Ok).then(|| code_name(code)), is_fault);
        Poll::Ready(answer)
    }
}

/// A failed unary call says so in its headers; what a stream says at its end is not waited for.
fn status(headers: &http::HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
