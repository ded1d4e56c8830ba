//! The W3C trace context on its way through calls, jobs and logs.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of the header, metadata key and job field.
pub const TRACEPARENT: &str = "traceparent";

static EXPORTING: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    static CARRIED: String;
}

pub(crate) fn start_exporting() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// Whether traces are exported, and so spans worth making.
#[must_use]
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// The traceparent to send along with a call or job: that of the current span, else what the caller sent (see
/// [`carry`]), else none. Without an exporter and a caller's traceparent it costs a look at a thread-local.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let own = is_exporting().then(|| format_traceparent(&span_context(&Span::current()))).flatten();
    own.or_else(|| CARRIED.try_with(Clone::clone).ok())
}

/// The id of the current trace, for an error that a caller may report and for the log line beside it; a fresh one
/// when nothing is traced.
#[must_use]
pub fn trace_id() -> String {
    match current_traceparent() {
        Some(traceparent) if traceparent.len() >= 35 => traceparent[3..35].to_owned(),
        _ => TraceId::from(rand::random::<u128>()).to_string(),
    }
}

/// Makes a span the child of a caller's; a malformed traceparent is ignored, as the W3C says.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = parse_traceparent(traceparent).filter(|_| is_exporting()) {
        // It fails only for a span that has begun to be exported or is disabled; then there is nothing to tell.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Links a span to another trace without joining it.
pub fn link(span: &Span, traceparent: &str) {
    if let Some(other) = parse_traceparent(traceparent).filter(|_| is_exporting()) {
        span.add_link(other);
    }
}

/// Runs a call with the traceparent that its caller sent, so that it travels on even when nothing is exported
/// here.
pub async fn carry<F: Future>(traceparent: Option<String>, call: F) -> F::Output {
    match traceparent {
        Some(traceparent) => CARRIED.scope(traceparent, call).await,
        None => call.await,
    }
}

/// Runs one step of a call with the traceparent that its caller sent: [`carry`] for whoever polls a future by hand.
pub fn carried<T>(traceparent: Option<&str>, step: impl FnOnce() -> T) -> T {
    match traceparent {
        Some(traceparent) => CARRIED.sync_scope(traceparent.to_owned(), step),
        None => step(),
    }
}

/// Whether a text is a traceparent that may be passed on.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    parse_traceparent(text).is_some()
}

fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

fn format_traceparent(context: &SpanContext) -> Option<String> {
    context.is_valid().then(|| {
        let mut text = String::with_capacity(55);
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        // Writing to a String cannot fail.
        let _ = write!(text, "00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags.to_u8());
        text
    })
}

fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex(version, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    if !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}
