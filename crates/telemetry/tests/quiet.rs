//! A process that exports nothing: spans are not made, yet a caller's trace travels on.

use hero_telemetry::{Error, Telemetry, TelemetryConfig, metrics, names, spans, trace_context};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn spans_are_not_made() {
    assert!(!trace_context::is_exporting());
    assert!(spans::rpc_server("grpc", "GetJob", Some(TRACEPARENT)).is_none());
    assert!(spans::rpc_client("grpc", "GetJob").is_none());
    assert!(spans::send("hero:q:work:type:osis", "id").is_none());
    assert!(spans::process("hero:q:work:type:osis", "id", "default", Some(TRACEPARENT)).is_none());
    spans::end(&tracing::Span::none(), "OK", None, false);
}

#[tokio::test]
async fn a_callers_trace_travels_on() {
    assert_eq!(trace_context::current_traceparent(), None);
    let inside = trace_context::carry(Some(TRACEPARENT.to_owned()), async {
        tokio::task::yield_now().await;
        (trace_context::current_traceparent(), trace_context::trace_id())
    });
    let (traceparent, trace_id) = inside.await;
    assert_eq!(traceparent.as_deref(), Some(TRACEPARENT));
    assert_eq!(trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace_context::carry(None, async { trace_context::current_traceparent() }).await, None);
    let step = trace_context::carried(Some(TRACEPARENT), trace_context::current_traceparent);
    assert_eq!(step.as_deref(), Some(TRACEPARENT));
}

#[test]
fn an_untraced_failure_still_has_an_id_to_report() {
    let (one, other) = (trace_context::trace_id(), trace_context::trace_id());
    assert_eq!(one.len(), 32);
    assert_ne!(one, other);
}

#[test]
fn a_malformed_traceparent_is_no_traceparent() {
    assert!(trace_context::is_traceparent(TRACEPARENT));
    assert!(trace_context::is_traceparent(
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes"
    ));
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
    ] {
        assert!(!trace_context::is_traceparent(text), "`{text}` is none");
    }
}

#[test]
fn metrics_work_without_a_setup() {
    metrics().waiters.add(3, &hero_telemetry::Attributes::none());
    let text = Telemetry::detached().prometheus_text().unwrap();
    assert!(text.contains("hero_job_waiters 3"), "{text}");
    assert!(!text.contains(names::OTHER));
}

#[test]
fn logs_that_are_not_there_cannot_be_changed() {
    assert!(matches!(Telemetry::detached().set_log_filter("debug"), Err(Error::NoLogs)));
}

#[test]
fn settings_that_cannot_work_are_refused_by_key() {
    use hero_config::Validate as _;
    let refused = |change: fn(&mut TelemetryConfig)| {
        let mut config = TelemetryConfig::default();
        change(&mut config);
        config.validate().unwrap_err().key
    };
    assert_eq!(refused(|c| c.sample_ratio = 1.5), "sample_ratio");
    assert_eq!(refused(|c| c.sample_ratio = f64::NAN), "sample_ratio");
    assert_eq!(refused(|c| c.log_level = "hero=loud".to_owned()), "log_level");
    assert_eq!(refused(|c| c.metric_interval_ms = 1), "metric_interval_ms");
    assert_eq!(refused(|c| c.otlp_endpoint = Some("https://x".to_owned())), "otlp_endpoint");
    assert!(TelemetryConfig::default().validate().is_ok());
}
