//! Setting up a process's telemetry, in a process of its own: it is done once.

use hero_telemetry::{Error, TelemetryConfig, init};
use tracing::Level;

#[tokio::test]
async fn it_is_set_up_once_and_its_log_filter_changes_while_it_runs() {
    let config = TelemetryConfig { log_level: "warn".to_owned(), ..TelemetryConfig::default() };
    let telemetry = init(&config, "test", "1.2.3").unwrap();
    assert!(matches!(init(&config, "test", "1.2.3"), Err(Error::AlreadySetUp)));

    assert!(!tracing::enabled!(Level::INFO) && tracing::enabled!(Level::WARN));
    telemetry.set_log_filter("debug").unwrap();
    assert!(tracing::enabled!(Level::DEBUG));
    assert_eq!(telemetry.log_filter(), "debug");

    let error = telemetry.set_log_filter("hero=loud").unwrap_err();
    assert!(matches!(error, Error::Filter { .. }), "{error}");
    assert_eq!(telemetry.log_filter(), "debug", "a refused filter changes nothing");

    let text = telemetry.prometheus_text().unwrap();
    assert!(
        text.contains(r#"service_name="hero-test""#) && text.contains(r#"service_version="1.2.3""#),
        "{text}"
    );
}
