//! The instruments, typed and made once.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    metrics::{self as otel, Meter, MeterProvider},
};
use opentelemetry_sdk::{
    Resource,
    metrics::{MeterProviderBuilder, SdkMeterProvider},
};
use prometheus::{Registry, TextEncoder};

use crate::{Error, Result, names, process};

/// As the conventions give them, 5 ms to 10 s, and three more for calls that wait for a job.
const SECONDS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0];

/// The attributes of a measurement. Make them once and keep them: on a hot path nothing should be allocated.
#[derive(Debug, Clone, Default)]
pub struct Attributes(Box<[KeyValue]>);

impl Attributes {
    /// Attributes by name (see [`names`]) and value.
    #[must_use]
    pub fn new(pairs: &[(&'static str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect())
    }

    /// No attributes.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

/// A number that only grows.
#[derive(Debug, Clone)]
pub struct Counter(otel::Counter<u64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64, attributes: &Attributes) {
        self.0.add(amount, &attributes.0);
    }
}

/// A number that grows and shrinks by steps.
#[derive(Debug, Clone)]
pub struct UpDownCounter(otel::UpDownCounter<i64>);

impl UpDownCounter {
    /// Adds to it, or takes from it.
    pub fn add(&self, amount: i64, attributes: &Attributes) {
        self.0.add(amount, &attributes.0);
    }
}

/// A number as it is now.
#[derive(Debug, Clone)]
pub struct Gauge(otel::Gauge<f64>);

impl Gauge {
    /// States it.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is read to a few digits")]
    pub fn set(&self, value: u64, attributes: &Attributes) {
        self.0.record(value as f64, &attributes.0);
    }
}

/// How measurements are distributed.
#[derive(Debug, Clone)]
pub struct Histogram(otel::Histogram<f64>);

impl Histogram {
    /// Records a time.
    pub fn record(&self, elapsed: std::time::Duration, attributes: &Attributes) {
        self.0.record(elapsed.as_secs_f64(), &attributes.0);
    }
}

/// Every instrument of the project. What a service does not use does not show up in its `/metrics`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// See [`names::RPC_SERVER_DURATION`].
    pub rpc_server_duration: Histogram,
    /// See [`names::MESSAGES_SENT`].
    pub messages_sent: Counter,
    /// See [`names::PROCESS_DURATION`].
    pub process_duration: Histogram,
    /// See [`names::QUEUE_DEPTH`].
    pub queue_depth: Gauge,
    /// See [`names::JOBS_PARKED`].
    pub jobs_parked: Gauge,
    /// See [`names::RUNNER_BUSY`].
    pub runner_busy: UpDownCounter,
    /// See [`names::RUNNER_SLOTS`].
    pub runner_slots: Gauge,
    /// See [`names::NODES`].
    pub nodes: Gauge,
    /// See [`names::CONNECTIONS`].
    pub connections: UpDownCounter,
    /// See [`names::WAITERS`].
    pub waiters: UpDownCounter,
    /// See [`names::LIMIT_REFUSED`].
    pub limit_refused: Counter,
    /// See [`names::SWEPT`].
    pub swept: Counter,
    /// See [`names::BUS_MESSAGES`].
    pub bus_messages: Counter,
    /// See [`names::BUS_ANSWER_AGE`].
    pub bus_answer_age: Histogram,
    /// See [`names::BUS_IN_FLIGHT`].
    pub bus_in_flight: UpDownCounter,
    /// See [`names::BUS_DEPTH`].
    pub bus_depth: Gauge,
    /// See [`names::TASK_RESTARTS`].
    pub task_restarts: Counter,
    /// See [`names::OVERLAY_REQUESTS`].
    pub overlay_requests: Counter,
    /// See [`names::OVERLAY_REPLIES`].
    pub overlay_replies: Counter,
    /// See [`names::OVERLAY_CALLS`].
    pub overlay_calls: Counter,
}

impl Metrics {
    fn new(meter: &Meter) -> Self {
        let counter = |name, unit, about| {
            Counter(meter.u64_counter(name).with_unit(unit).with_description(about).build())
        };
        let up_down = |name, unit, about| {
            UpDownCounter(meter.i64_up_down_counter(name).with_unit(unit).with_description(about).build())
        };
        let gauge =
            |name, unit, about| Gauge(meter.f64_gauge(name).with_unit(unit).with_description(about).build());
        let seconds = |name, about| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(about);
            Histogram(histogram.with_boundaries(SECONDS.to_vec()).build())
        };
        Self {
            rpc_server_duration: seconds(names::RPC_SERVER_DURATION, "How long a call took to answer"),
            messages_sent: counter(names::MESSAGES_SENT, "{message}", "Jobs put into a queue"),
            process_duration: seconds(names::PROCESS_DURATION, "How long a runner worked on a job"),
            queue_depth: gauge(names::QUEUE_DEPTH, "{job}", "Jobs that wait in a queue"),
            jobs_parked: gauge(
                names::JOBS_PARKED,
                "{job}",
                "Jobs beyond the limit of their context, outside of the queues",
            ),
            runner_busy: up_down(names::RUNNER_BUSY, "{job}", "Jobs that a runner works on now"),
            runner_slots: gauge(names::RUNNER_SLOTS, "{job}", "Jobs that a runner can work on at once"),
            nodes: gauge(names::NODES, "{node}", "Nodes that an explorer knows, by their state"),
            connections: up_down(names::CONNECTIONS, "{connection}", "Connections that are open"),
            waiters: up_down(names::WAITERS, "{caller}", "Callers that wait for a job to end"),
            limit_refused: counter(names::LIMIT_REFUSED, "{call}", "Calls refused by a limit"),
            swept: counter(names::SWEPT, "{job}", "What upkeep of the job store has done"),
            bus_messages: counter(names::BUS_MESSAGES, "{message}", "Messages of the bus"),
            bus_answer_age: seconds(names::BUS_ANSWER_AGE, "How long askers on the bus waited"),
            bus_in_flight: up_down(names::BUS_IN_FLIGHT, "{message}", "Deliveries that are under way"),
            bus_depth: gauge(names::BUS_DEPTH, "{message}", "Messages that the bus holds"),
            task_restarts: counter(names::TASK_RESTARTS, "{restart}", "Background tasks started again"),
            overlay_requests: counter(names::OVERLAY_REQUESTS, "{message}", "Messages of the overlay"),
            overlay_replies: counter(names::OVERLAY_REPLIES, "{message}", "Answers over the overlay"),
            overlay_calls: counter(names::OVERLAY_CALLS, "{call}", "Calls over the overlay"),
        }
    }
}

/// The instruments of this process and where they are read.
pub(crate) struct Readout {
    pub(crate) provider: SdkMeterProvider,
    registry: Registry,
    metrics: Metrics,
}

static READOUT: OnceLock<Readout> = OnceLock::new();

impl Readout {
    fn build(resource: Resource, further: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder) -> Self {
        let registry = Registry::new();
        let builder = SdkMeterProvider::builder().with_resource(resource);
        let builder = match opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
        {
            Ok(exporter) => builder.with_reader(exporter),
            // A fresh registry takes its only collector; were it ever refused, /metrics would be empty, no worse.
            Err(error) => {
                tracing::warn!(%error, "metrics cannot be read by prometheus");
                builder
            }
        };
        let provider = further(builder).build();
        let meter = provider.meter(names::SCOPE);
        process::register(&meter);
        Self { metrics: Metrics::new(&meter), provider, registry }
    }

    /// The metrics as Prometheus reads them.
    pub(crate) fn prometheus_text(&self) -> Result<String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| Error::Metrics(error.to_string()))
    }
}

/// Sets up the instruments with a resource and further readers.
pub(crate) fn set_up(
    resource: Resource,
    further: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
) -> Result<&'static Readout> {
    READOUT.set(Readout::build(resource, further)).map_err(|_| Error::AlreadySetUp)?;
    Ok(readout())
}

/// The readout of this process; without a set-up (tests, tools) it has no resource and no exporter.
pub(crate) fn readout() -> &'static Readout {
    READOUT.get_or_init(|| Readout::build(Resource::builder_empty().build(), |builder| builder))
}

/// The instruments of this process.
#[must_use]
pub fn metrics() -> &'static Metrics {
    &readout().metrics
}
