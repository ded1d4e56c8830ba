//! What a process exports: the span of a call as part of its caller's trace, and its metrics, over real OTLP.

mod running;

use hero_runtime::{ChannelConfig, grpc};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    trace::v1::{Span, span::SpanKind},
};
use running::{PATIENCE, Running};
use rustix::process::Signal;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// A collector that hands on what it gets.
#[derive(Clone)]
struct Collector {
    traces: mpsc::UnboundedSender<ExportTraceServiceRequest>,
    metrics: mpsc::UnboundedSender<ExportMetricsServiceRequest>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Default::default()))
    }
}

struct Collected {
    endpoint: String,
    traces: mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
    metrics: mpsc::UnboundedReceiver<ExportMetricsServiceRequest>,
}

async fn collect() -> Collected {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (trace_sender, traces) = mpsc::unbounded_channel();
    let (metric_sender, metrics) = mpsc::unbounded_channel();
    let collector = Collector { traces: trace_sender, metrics: metric_sender };
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    Collected { endpoint, traces, metrics }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    format!("{:?}", found.unwrap_or_else(|| panic!("no {key} in {span:?}")).value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_joins_its_callers_trace_and_is_exported_by_the_end() {
    let mut collected = collect().await;
    let running = Running::start(&[("TELEMETRY__OTLP_ENDPOINT", &collected.endpoint)]);
    let channel = grpc::channel(&running.grpc(), &ChannelConfig::default());
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    HealthClient::new(channel).check(request).await.unwrap();

    running.signal(Signal::TERM);
    let export =
        tokio::time::timeout(PATIENCE, collected.traces.recv()).await.expect("no span came").unwrap();
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert!(format!("{resource:?}").contains("hero-smallest"));
    let span = &export.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.name, "grpc.health.v1.Health/Check");
    assert_eq!(span.kind(), SpanKind::Server);
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert!(attribute(span, "rpc.system.name").contains("grpc"));
    assert!(attribute(span, "rpc.status_code").contains("OK"));

    let export =
        tokio::time::timeout(PATIENCE, collected.metrics.recv()).await.expect("no metric came").unwrap();
    assert!(format!("{export:?}").contains("rpc.server.call.duration"));
    assert_eq!(running.end(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_up_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let running = Running::start(&[("TELEMETRY__OTLP_ENDPOINT", &endpoint)]);
    let channel = grpc::channel(&running.grpc(), &ChannelConfig::default());
    HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await.unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.end(), Some(0));
}
