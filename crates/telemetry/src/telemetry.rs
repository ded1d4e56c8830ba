//! Setting telemetry up, reading it, and flushing it at the end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    metrics::{MeterProviderBuilder, PeriodicReader},
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{Error, Result, TelemetryConfig, logs, metrics, names, trace_context};

/// How long a flush at the end may take.
const FLUSH: Duration = Duration::from_secs(5);

/// The handle on this process's telemetry. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    logs: Option<logs::LogFilter>,
    log_filter: Mutex<String>,
    tracer_provider: Option<SdkTracerProvider>,
    exports_metrics: bool,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").field("log_filter", &self.log_filter()).finish_non_exhaustive()
    }
}

/// Sets up logs, metrics and traces for this process: once, inside the tokio runtime that will run to the end.
///
/// # Errors
/// When it was done before, or an exporter cannot be made.
pub fn init(config: &TelemetryConfig, service: &str, version: &str) -> Result<Telemetry> {
    let resource = resource(config, service, version);
    let (log_layer, filter) = logs::layer(&config.log_level, config.log_format)?;
    let tracer_provider = match &config.otlp_endpoint {
        Some(endpoint) => Some(tracer_provider(endpoint, config.sample_ratio, resource.clone())?),
        None => None,
    };
    let reader = match &config.otlp_endpoint {
        Some(endpoint) => Some(metric_reader(endpoint, config.metric_interval_ms)?),
        None => None,
    };
    let exports_metrics = reader.is_some();
    metrics::set_up(resource, |builder: MeterProviderBuilder| match reader {
        Some(reader) => builder.with_reader(reader),
        None => builder,
    })?;

    let trace_layer = tracer_provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(names::SCOPE))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(Targets::new().with_target("hero", tracing::Level::INFO))
    });
    tracing_subscriber::registry()
        .with(log_layer)
        .with(trace_layer)
        .try_init()
        .map_err(|_| Error::AlreadySetUp)?;
    if tracer_provider.is_some() {
        trace_context::start_exporting();
    }
    Ok(Telemetry(Arc::new(Inner {
        logs: Some(filter),
        log_filter: Mutex::new(config.log_level.clone()),
        tracer_provider,
        exports_metrics,
    })))
}

impl Telemetry {
    /// Telemetry that sets up no logs and exports nothing; its metrics can be read. For tests and tools, as often
    /// as they like.
    #[must_use]
    pub fn detached() -> Self {
        Self(Arc::new(Inner {
            logs: None,
            log_filter: Mutex::new(String::new()),
            tracer_provider: None,
            exports_metrics: false,
        }))
    }

    /// The metrics as Prometheus reads them.
    ///
    /// # Errors
    /// When they cannot be written as text.
    pub fn prometheus_text(&self) -> Result<String> {
        metrics::readout().prometheus_text()
    }

    /// What is logged now.
    #[must_use]
    pub fn log_filter(&self) -> String {
        self.0.log_filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is logged, from now on.
    ///
    /// # Errors
    /// When the filter cannot be read, or there are no logs.
    pub fn set_log_filter(&self, filter: &str) -> Result<()> {
        self.0.logs.as_ref().ok_or(Error::NoLogs)?.set(filter)?;
        filter.clone_into(&mut self.0.log_filter.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Sends what has not been sent yet. Blocks for a few seconds at most: call it at the end, off the runtime.
    pub fn flush(&self) {
        if let Some(provider) = &self.0.tracer_provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
        if self.0.exports_metrics
            && let Err(error) = metrics::readout().provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "the last metrics were not exported");
        }
    }
}

fn resource(config: &TelemetryConfig, service: &str, version: &str) -> Resource {
    let own = [
        KeyValue::new("service.namespace", "hero"),
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("service.instance.id", format!("{:032x}", rand::random::<u128>())),
    ];
    let environment =
        config.environment.clone().map(|name| KeyValue::new("deployment.environment.name", name));
    let further =
        config.resource_attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_service_name(format!("hero-{service}"))
        .with_attributes(own.into_iter().chain(environment).chain(further))
        .build()
}

fn tracer_provider(endpoint: &str, sample_ratio: f64, resource: Resource) -> Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| refused(endpoint, &error))?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}

fn metric_reader(
    endpoint: &str,
    interval_ms: u64,
) -> Result<PeriodicReader<opentelemetry_otlp::MetricExporter>> {
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| refused(endpoint, &error))?;
    Ok(PeriodicReader::builder(exporter).with_interval(Duration::from_millis(interval_ms)).build())
}

fn refused(endpoint: &str, error: &impl ToString) -> Error {
    Error::Exporter { endpoint: endpoint.to_owned(), message: error.to_string() }
}
