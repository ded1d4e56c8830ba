//! JSON-RPC over the bus.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_msgbus_relay::message::Message;
use hero_proto::{job_server, runner_server, schedule_server};
use hero_runtime::{Address, DrainConfig, GrpcConfig, Health, Listener, Shutdown, ShutdownTrigger, grpc};
use hero_testing::FakeNode;

use crate::bus::{Bus, Twin, request_to, soon};

/// The ports of a node over gRPC; a job's output is its script.
async fn node() -> (Address, ShutdownTrigger) {
    let (trigger, shutdown) = Shutdown::new(DrainConfig::default());
    let listener = Listener::bind(&Address::loopback(0)).await.unwrap();
    let (address, node) = (listener.address().clone(), FakeNode::new());
    let server = grpc::Server::new(&GrpcConfig::default(), &Health::new())
        .add_service(job_server(node.clone()))
        .add_service(schedule_server(node.clone()))
        .add_service(runner_server(node));
    tokio::spawn(server.serve(listener, shutdown));
    (address, trigger)
}

fn call(twin: &Twin, request: &str) -> Message {
    let dat = BASE64_STANDARD.encode(request);
    twin.ask(&Message { dat, ..request_to(&[2], "hero.rpc", "rpc") });
    twin.answer("rpc")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_on_another_twins_node() {
    let (supervisor, node) = node().await;
    let bus = Bus::start_with(3, |config| {
        config.rpc.supervisor = supervisor.clone();
        (config.rpc.user, config.rpc.admin) = (vec![1], vec![2]);
    })
    .await;
    let (one, three) = (bus.twin(1), bus.twin(3));
    let run = r#"{"jsonrpc":"2.0","id":7,"method":"run_job","params":["40 + 2","OSIS"]}"#;
    let answer = call(one, run);
    assert_eq!((answer.err.as_str(), answer.src), ("", 2));
    let response = String::from_utf8(BASE64_STANDARD.decode(answer.dat).unwrap()).unwrap();
    assert_eq!(response, r#"{"jsonrpc":"2.0","id":7,"result":"40 + 2"}"#);
    let whoami = call(one, r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#);
    let whoami = String::from_utf8(BASE64_STANDARD.decode(whoami.dat).unwrap()).unwrap();
    assert!(whoami.contains("twin:1 (user)"), "{whoami}");
    // Its scope is what the configuration says, and no more.
    let runners = call(one, r#"{"jsonrpc":"2.0","id":1,"method":"list_runners"}"#);
    let runners = String::from_utf8(BASE64_STANDARD.decode(runners.dat).unwrap()).unwrap();
    assert!(runners.contains("SCOPE_INSUFFICIENT"), "{runners}");
    assert_eq!(call(three, run).err, "twin 3 may not call hero.rpc here");
    assert!(call(one, "no json").err.starts_with("the payload is no JSON-RPC request"));
    one.ask(&Message { dat: "***".into(), ..request_to(&[2], "hero.rpc", "rpc") });
    assert!(one.answer("rpc").err.starts_with("the payload is no base64"));
    soon("nothing is left", || bus.twins.iter().all(Twin::is_empty)).await;
    node.stop();
    bus.stop().await;
}
