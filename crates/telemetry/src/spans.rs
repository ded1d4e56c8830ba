//! The spans of a job's way, with the attributes of the conventions. Without an exporter each is
//! [`Span::none`]: nothing is made, formatted or kept.

use std::fmt::Display;

use tracing::{Span, field::Empty, info_span};

use crate::{names, trace_context};

/// A call that this service answers, as a child of the caller's span if it sent one.
#[must_use]
pub fn rpc_server(system: &'static str, method: &str, traceparent: Option<&str>) -> Span {
    if !trace_context::is_exporting() {
        return Span::none();
    }
    let span = info_span!(
        target: "hero::span", names::SPAN_RPC_SERVER, otel.name = method, otel.kind = "server",
        { names::RPC_SYSTEM } = system, { names::RPC_METHOD } = method,
        { names::RPC_STATUS_CODE } = Empty, { names::ERROR_TYPE } = Empty, otel.status_code = Empty,
        { names::CIRCLE } = Empty, { names::JSONRPC_REQUEST_ID } = Empty,
    );
    if let Some(traceparent) = traceparent {
        trace_context::set_parent(&span, traceparent);
    }
    span
}

/// A call that this service makes.
#[must_use]
pub fn rpc_client(system: &'static str, method: &str) -> Span {
    if !trace_context::is_exporting() {
        return Span::none();
    }
    info_span!(
        target: "hero::span", names::SPAN_RPC_CLIENT, otel.name = method, otel.kind = "client",
        { names::RPC_SYSTEM } = system, { names::RPC_METHOD } = method,
        { names::RPC_STATUS_CODE } = Empty, { names::ERROR_TYPE } = Empty, otel.status_code = Empty,
    )
}

/// A job that is put into a queue.
#[must_use]
pub fn send(queue: &str, job_id: impl Display) -> Span {
    if !trace_context::is_exporting() {
        return Span::none();
    }
    info_span!(
        target: "hero::span", names::SPAN_SEND, otel.name = format!("send {queue}"), otel.kind = "producer",
        { names::MESSAGING_SYSTEM } = "redis", { names::MESSAGING_OPERATION } = "send",
        { names::MESSAGING_OPERATION_TYPE } = "send", { names::MESSAGING_DESTINATION } = queue,
        { names::MESSAGING_MESSAGE_ID } = %job_id, otel.status_code = Empty,
    )
}

/// A job that a runner works on, as part of the trace of whoever submitted it.
#[must_use]
pub fn process(
    queue: &str,
    job_id: impl Display,
    context_id: impl Display,
    traceparent: Option<&str>,
) -> Span {
    if !trace_context::is_exporting() {
        return Span::none();
    }
    let span = info_span!(
        target: "hero::span", parent: None, names::SPAN_PROCESS, otel.name = format!("process {queue}"),
        otel.kind = "consumer", { names::MESSAGING_SYSTEM } = "redis", { names::MESSAGING_OPERATION } = "process",
        { names::MESSAGING_OPERATION_TYPE } = "process", { names::MESSAGING_DESTINATION } = queue,
        { names::MESSAGING_MESSAGE_ID } = %job_id, { names::MESSAGING_CONVERSATION_ID } = %context_id,
        { names::ERROR_TYPE } = Empty, otel.status_code = Empty,
    );
    if let Some(traceparent) = traceparent {
        trace_context::set_parent(&span, traceparent);
    }
    span
}

/// A step of a message on the bus: `send`, `receive` or `answer`, as part of the trace that its uid stands for, which is
/// worked out when somebody collects it.
#[must_use]
pub fn bus(operation: &'static str, command: &str, uid: &str, traceparent: impl FnOnce() -> String) -> Span {
    if !trace_context::is_exporting() {
        return Span::none();
    }
    let span = info_span!(
        target: "hero::span", parent: None, names::SPAN_BUS, otel.name = format!("{operation} {command}"),
        otel.kind = if operation == "send" { "producer" } else { "consumer" },
        { names::MESSAGING_SYSTEM } = "msgbus", { names::MESSAGING_OPERATION } = operation,
        { names::MESSAGING_DESTINATION } = command, { names::MESSAGING_MESSAGE_ID } = uid,
        { names::ERROR_TYPE } = Empty, otel.status_code = Empty,
    );
    trace_context::set_parent(&span, &traceparent());
    span
}

/// Notes how a call ended. `is_fault` is for our faults and our dependencies' only: a caller's mistake is a
/// status code and no error of the span.
pub fn end(span: &Span, status_code: &str, error_type: Option<&str>, is_fault: bool) {
    if span.is_disabled() {
        return;
    }
    span.record(names::RPC_STATUS_CODE, status_code);
    if let Some(error_type) = error_type {
        span.record(names::ERROR_TYPE, error_type);
    }
    if is_fault {
        span.record("otel.status_code", "ERROR");
    }
}
