//! gRPC over real sockets: health, reflection, reconnection, the end.

use std::time::Duration;

use hero_runtime::{
    Address, ChannelConfig, DrainConfig, GrpcConfig, Health, Listener, Shutdown, ShutdownTrigger, Telemetry,
    grpc,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_stream::{StreamExt as _, once};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    address: Address,
    trigger: ShutdownTrigger,
    end: JoinHandle<anyhow::Result<()>>,
}

async fn serve(address: &Address, health: &Health) -> Served {
    let listener = Listener::bind(address).await.unwrap();
    let address = listener.address().clone();
    let (trigger, shutdown) = Shutdown::new(DrainConfig { drain_delay_ms: 0, grace_ms: 20 });
    let server = grpc::Server::new(&GrpcConfig::default(), health);
    Served { address, trigger, end: tokio::spawn(server.serve(listener, shutdown)) }
}

fn loopback() -> Address {
    Address::loopback(0)
}

fn unix() -> (TempDir, Address) {
    let dir = tempfile::tempdir().unwrap();
    let address = Address::Unix(dir.path().join("grpc.sock"));
    (dir, address)
}

fn channel(address: &Address) -> Channel {
    grpc::channel(address, &ChannelConfig::default())
}

async fn check(channel: &Channel) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel.clone()).check(request).await.map(|answer| answer.into_inner().status())
}

#[tokio::test]
async fn health_follows_the_conditions_over_tcp_and_unix() {
    let (_dir, socket) = unix();
    for address in [loopback(), socket] {
        let health = Health::new();
        let redis = health.condition("redis");
        let served = serve(&address, &health).await;
        let mut client = HealthClient::new(channel(&served.address));
        let request = HealthCheckRequest { service: String::new() };
        let mut changes = client.watch(request).await.unwrap().into_inner();
        let mut next = async || {
            let change = tokio::time::timeout(PATIENCE, changes.next()).await.expect("health did not change");
            change.unwrap().unwrap().status()
        };
        assert_eq!(next().await, ServingStatus::NotServing);
        redis.ready();
        assert_eq!(next().await, ServingStatus::Serving);
        redis.unready("connection refused");
        assert_eq!(next().await, ServingStatus::NotServing);
        redis.ready();
        assert_eq!(next().await, ServingStatus::Serving);
        served.trigger.begin();
        assert_eq!(next().await, ServingStatus::NotServing, "a server that drains wants no new calls");
    }
}

#[tokio::test]
async fn the_health_of_one_service_is_its_own() {
    let process = Health::new();
    let gateway = process.scope("gateway");
    process.scope("runner").condition("redis").unready("away");
    let served = serve(&loopback(), &gateway).await;
    assert_eq!(check(&channel(&served.address)).await.unwrap(), ServingStatus::Serving);
    assert!(!process.is_ready());
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let served = serve(&loopback(), &Health::new()).await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(&served.address));
    let mut answers = client.server_reflection_info(once(request)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("it answered {answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.iter().any(|name| name == "grpc.health.v1.Health"), "{names:?}");
    assert!(names.iter().any(|name| name == "grpc.reflection.v1.ServerReflection"), "{names:?}");
}

#[tokio::test]
async fn a_channel_finds_its_server_again() {
    let (_dir, address) = unix();
    let channel = channel(&address);
    let error = check(&channel).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "no server yet: {error}");

    for round in 0..2 {
        let served = serve(&address, &Health::new()).await;
        let answered = async {
            // The first call after a loss may still find the old connection.
            while check(&channel).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| panic!("not connected in round {round}"));
        served.trigger.stop();
        served.end.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_ends_when_told_to_even_with_a_stream_open() {
    let served = serve(&loopback(), &Health::new()).await;
    let mut client = HealthClient::new(channel(&served.address));
    let mut watch = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    served.trigger.drain().await;
    let ended = tokio::time::timeout(PATIENCE, served.end).await;
    ended.expect("the grace bounds what is in flight").unwrap().unwrap();
}

#[tokio::test]
async fn calls_are_measured_by_method_and_status() {
    let served = serve(&loopback(), &Health::new()).await;
    let channel = channel(&served.address);
    check(&channel).await.unwrap();
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    HealthClient::new(channel.clone()).check(unknown).await.unwrap_err();
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let nowhere = http::uri::PathAndQuery::from_static("/no.such.Service/Method");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    let error = raw.unary(request, nowhere, codec).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unimplemented);

    let text = Telemetry::detached().prometheus_text().unwrap();
    for labels in [
        r#"rpc_method="grpc.health.v1.Health/Check",rpc_status_code="OK",rpc_system_name="grpc""#,
        r#"rpc_method="grpc.health.v1.Health/Check",rpc_status_code="NOT_FOUND",rpc_system_name="grpc""#,
        r#"rpc_method="_OTHER",rpc_status_code="UNIMPLEMENTED",rpc_system_name="grpc""#,
    ] {
        assert!(
            text.contains(&format!("rpc_server_call_duration_seconds_count{{{labels}}}")),
            "{labels}\n{text}"
        );
    }
    assert!(!text.contains("no.such"), "a caller must not be able to make series");
}
