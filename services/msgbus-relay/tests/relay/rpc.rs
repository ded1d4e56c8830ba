//! JSON-RPC over the bus, and the bus over gRPC.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_domain::{BusRequest, Caller, ErrorCode, Scope, ports::Bus as _};
use hero_msgbus_relay::message::Message;
use hero_proto::{Calls, GrpcBus, job_server, runner_server, schedule_server};
use hero_runtime::{
    Address, ChannelConfig, DrainConfig, GrpcConfig, Health, Listener, Shutdown, ShutdownTrigger, grpc,
};
use hero_testing::FakeNode;
use redis::Commands as _;

use crate::bus::{Bus, LOCAL, Twin, request_to, soon};

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

fn port(twin: &Twin) -> GrpcBus {
    let channel = grpc::channel(&twin.grpc, &ChannelConfig::default());
    GrpcBus::with_calls(Some(channel), Calls::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_own_callers_ask_over_grpc() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let _echoes = (one.echo("echo"), two.echo("echo"));
    let (port, caller) = (port(one), Caller::local());
    let asked = |twins: &[u32], command: &str| BusRequest {
        twins: twins.to_vec(),
        command: command.to_owned(),
        data: vec![0, 255],
        expires_s: 60,
        retries: 0,
    };
    let mut replies = port.call(&caller, asked(&[1, 2, 9], "echo"), None).await.unwrap();
    replies.sort_by_key(|reply| reply.twin);
    let told: Vec<_> = replies.iter().map(|it| (it.twin, &it.data[..], it.error.is_some())).collect();
    assert_eq!(told, [(1, &[0, 255][..], false), (2, &[0, 255], false), (9, &[], true)]);
    let id = port.send(&caller, asked(&[2], "echo")).await.unwrap();
    let arrived = async || !port.result(&caller, id.clone()).await.unwrap().is_empty();
    hero_testing::eventually("the answer is there", Duration::from_secs(10), arrived).await;

    let late = port.call(&caller, asked(&[2], "nobody"), Some(Duration::from_millis(50))).await.unwrap_err();
    assert_eq!((late.code(), late.reason().as_str()), (ErrorCode::Timeout, "WAIT_TIMEOUT"));
    for (request, field) in [(asked(&[], "c"), "twins"), (asked(&[1], "system.local"), "command")] {
        assert_eq!(port.send(&caller, request).await.unwrap_err().field(), Some(field));
    }
    assert_eq!(port.result(&caller, "7".into()).await.unwrap_err().field(), Some("id"));
    let runner = Caller { scope: Scope::Register, ..Caller::local() };
    assert_eq!(port.send(&runner, asked(&[1], "c")).await.unwrap_err().code(), ErrorCode::PermissionDenied);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_put_back() {
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    let (port, caller) = (port(one), Caller::local());
    let _: i64 = one.redis().rpush(LOCAL, "no json").unwrap();
    let listed = async || port.list_dead(&caller, 0).await.unwrap().len() == 1;
    hero_testing::eventually("it is listed", Duration::from_secs(10), listed).await;
    let letter = port.list_dead(&caller, 5).await.unwrap().remove(0);
    assert_eq!((letter.queue.as_str(), letter.message.as_str()), (LOCAL, "no json"));
    assert_eq!(port.requeue_dead(&caller, vec!["other".into()]).await.unwrap(), 0);
    assert_eq!(port.requeue_dead(&caller, vec![letter.id.clone()]).await.unwrap(), 1);
    // It is as dead as before, under another id.
    let again = async || port.list_dead(&caller, 0).await.unwrap().iter().any(|it| it.id != letter.id);
    hero_testing::eventually("it is back", Duration::from_secs(10), again).await;
    let user = Caller { scope: Scope::User, ..Caller::local() };
    assert_eq!(port.list_dead(&user, 0).await.unwrap_err().code(), ErrorCode::PermissionDenied);
    bus.stop().await;
}
