//! The span and the measurement of every gRPC call that is answered.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use hero_telemetry::{
    Attributes, metrics, names, spans,
    trace_context::{self, TRACEPARENT},
};
use pin_project_lite::pin_project;
use tonic::Code;
use tower::{Layer, Service};
use tracing::Span;

const CODES: usize = 17;

/// Observes calls of the known methods; anything else is counted as [`names::OTHER`].
#[derive(Debug, Clone)]
pub(crate) struct ObserveLayer(Arc<Methods>);

/// The known methods by path, and what stands for all others.
#[derive(Debug)]
struct Methods {
    known: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

/// The attributes of one method, made when a status is first seen.
#[derive(Debug)]
struct Method {
    name: String,
    by_code: [OnceLock<Attributes>; CODES],
}

impl ObserveLayer {
    /// Methods by path without the slash at its front: `hero.job.v1.JobService/GetJob`.
    pub(crate) fn new(methods: impl IntoIterator<Item = String>) -> Self {
        let known = methods.into_iter().map(|name| (name.clone(), Arc::new(Method::new(name)))).collect();
        Self(Arc::new(Methods { known, other: Arc::new(Method::new(names::OTHER.to_owned())) }))
    }
}

impl Methods {
    fn of(&self, path: &str) -> Arc<Method> {
        Arc::clone(path.strip_prefix('/').and_then(|name| self.known.get(name)).unwrap_or(&self.other))
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
    methods: Arc<Methods>,
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
        let method = self.methods.of(request.uri().path());
        let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let span = spans::rpc_server("grpc", &method.name, traceparent);
        let carried = traceparent.filter(|text| trace_context::is_traceparent(text)).map(str::to_owned);
        let inner = self.inner.call(request);
        Observed { inner, span, carried, method, began: Instant::now() }
    }
}

pin_project! {
    /// See [`ObserveLayer`].
    pub(crate) struct Observed<F> {
        #[pin]
        inner: F,
        span: Span,
        carried: Option<String>,
        method: Arc<Method>,
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
        let inner = this.inner;
        let poll = || this.span.in_scope(|| inner.poll(cx));
        let answer = std::task::ready!(trace_context::carried(this.carried.as_deref(), poll));
        let code = match &answer {
            Ok(response) => status(response.headers()),
            Err(_) => Code::Internal,
        };
        metrics().rpc_server_duration.record(this.began.elapsed(), this.method.attributes(code));
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
