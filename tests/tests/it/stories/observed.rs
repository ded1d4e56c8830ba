//! What an operator sees: health, metrics, one trace from the edge to the runner.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    client::{get, request},
    cluster::{Cluster, Member, PATIENCE},
    process::Start,
};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

async fn channel(member: &Member) -> Channel {
    let address = format!("http://{}", member.address("grpc"));
    Channel::from_shared(address).unwrap().connect().await.unwrap()
}

async fn services(channel: Channel) -> Vec<String> {
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(ask)).await;
    let answer = answers.unwrap().into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    list.service.into_iter().map(|service| service.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grpc_port_answers_for_its_health_and_describes_itself() {
    let cluster = Cluster::start().await;
    let expected = [
        (&cluster.supervisors[0], vec!["hero.job.v1.JobService", "hero.runner.v1.RunnerService"]),
        (&cluster.runners[0], vec![]),
    ];
    for (member, own) in expected {
        let channel = channel(member).await;
        let ask = HealthCheckRequest { service: String::new() };
        let health = HealthClient::new(channel.clone()).check(ask).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving);
        let found = services(channel).await;
        for name in own.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(found.iter().any(|found| found == name), "{name} is not in {found:?}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_promised_names() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    assert_eq!(client.call("run_job", json!(["1", "OSIS"])).await, "1");
    client.failure("get_job", json!(["x"])).await;
    let pages = [&cluster.supervisors[0], &cluster.gateways[0], &cluster.runners[0]];
    let mut text = String::new();
    for member in pages {
        let page = get(&format!("{}/metrics", member.admin)).await.unwrap();
        assert_eq!(page.status, 200);
        text.push_str(&page.text);
        assert_eq!(get(&format!("{}/livez", member.admin)).await.unwrap().status, 200);
        assert_eq!(get(&format!("{}/readyz", member.admin)).await.unwrap().json()["ready"], true);
    }
    for name in [
        "rpc_server_call_duration_seconds_bucket",
        "messaging_process_duration_seconds_bucket",
        "messaging_client_sent_messages",
        "hero_job_queue_depth",
        "hero_connections",
        "hero_runner_slots",
        "process_memory_usage",
    ] {
        let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(text.contains(name), "{name} is not among {families:?}");
    }
    assert!(text.contains("rpc_method=\"run_job\""), "a method of the table has its own series");
    cluster.stop().await;
}

/// A collector of spans; where it listens, and what it gets.
pub(super) async fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (endpoint, spans)
}

/// The name and the trace of every span that comes, until there is one of each of these names.
pub(super) async fn traces(
    spans: &mut mpsc::UnboundedReceiver<Span>,
    names: &[&str],
) -> Vec<(String, String)> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut take = |span: Span| {
        let id = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        seen.push((span.name, id));
        names.iter().all(|name| seen.iter().any(|(found, _)| found == name))
    };
    let gather = async { while !take(spans.recv().await.expect("the collector lives")) {} };
    let gathered = tokio::time::timeout(PATIENCE, gather).await;
    // Whoever has ended has told everything.
    while let Ok(span) = spans.try_recv() {
        take(span);
    }
    assert!(gathered.is_ok(), "only {seen:?}");
    seen
}

/// A collector that hands on what it gets.
struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    self.0.send(span).map_err(|_| Status::unavailable("the test is over"))?;
                }
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_the_gateway_through_redis_to_the_runner() {
    let (endpoint, mut spans) = collector().await;
    let redis = hero_testing::RedisServer::start().unwrap();
    let url = redis.url();
    let otlp = ("TELEMETRY__OTLP_ENDPOINT", endpoint.as_str());
    let free = ("LISTEN", "tcp://127.0.0.1:0");
    let mut supervisor = Start::service("supervisor", &[otlp, free, ("REDIS__URL", &url)]).run();
    let grpc = format!("tcp://{}", supervisor.address("grpc").await);
    let mut gateway = Start::service("gateway", &[otlp, free, ("SUPERVISOR", &grpc)]).run();
    let mut runner = Start::service("runner", &[otlp, free, ("REDIS__URL", &url)]).run();
    let http = gateway.address("http").await;
    runner.says("\"serving\"").await;

    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "run_job", "params": ["40 + 2", "OSIS"] }).to_string();
    let traceparent = format!("00-{TRACE_ID}-b7ad6b7169203331-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    let answer = request("POST", &format!("http://{http}"), &headers, body).await.unwrap();
    assert_eq!(answer.json()["result"], "42");
    // Stopping flushes what is not exported yet.
    for process in [&mut gateway, &mut runner, &mut supervisor] {
        process.signal(rustix::process::Signal::TERM);
        assert!(process.exit().await.success(), "{}", process.said());
    }

    let mut by_name: BTreeMap<String, Span> = BTreeMap::new();
    let gather = async {
        while !["run_job", "hero.job.v1.JobService/RunJob", "process "]
            .iter()
            .all(|name| by_name.keys().any(|found| found.starts_with(name)))
        {
            let span = spans.recv().await.expect("the collector lives");
            by_name.insert(span.name.clone(), span);
        }
    };
    let gathered = tokio::time::timeout(PATIENCE, gather).await;
    assert!(gathered.is_ok(), "only {:?}", by_name.keys());
    for (name, span) in &by_name {
        let ids = std::iter::once(&span.trace_id).chain(span.links.iter().map(|link| &link.trace_id));
        let ids: Vec<String> = ids.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        // A runner's own span may begin a trace that links to the submitter's.
        let is_ours = ids.iter().any(|id| id == TRACE_ID);
        let is_about_the_job = ["run_job", "hero.job.v1.JobService/RunJob", "process "];
        if is_about_the_job.iter().any(|about| name.starts_with(about)) {
            assert!(is_ours, "{name} is in {ids:?}");
        }
    }
}
