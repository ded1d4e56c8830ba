//! Calls that are passed on as they are.

use hero_domain::{Caller, JobId, NodeAnswer, NodeCall, NodeTarget, Scope, ports::Nodes as _};
use hero_proto::GrpcNodes;
use hero_runtime::{ChannelConfig, grpc};
use hero_testing::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use crate::setup::{Signer, World, reason};

/// A node that answers a call with the call itself, or with an error of its own.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
                    let call: Value = serde_json::from_str(&line).unwrap();
                    let answer = match call["method"].as_str() {
                        Some("vm_fail") => {
                            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 77, "message": "no vm", "data": {"a": 1}}})
                        }
                        Some("vm_null") => json!({"jsonrpc": "2.0", "id": 1, "result": null}),
                        _ => json!({"jsonrpc": "2.0", "id": 1, "result": call}),
                    };
                    stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                    line.clear();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn any_method_goes_to_the_node_and_its_own_answer_comes_back() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| {
        config.calls.secret = Some("for nodes".into());
        config.calls.deny = vec!["rm_*".to_owned()];
    })
    .await;
    let node = Signer::new("kitchen", 1);
    world.send(&world.tcp, &node.line(json!({"addresses": ["tcp://127.0.0.1:1", echo().await]}))).await;
    let call =
        |method: &str, params: Value| json!({"node_id": "kitchen", "method": method, "params": params});
    let passed = world.ok(&world.tcp, "call_node", call("vm_start", json!({"deep": [1, {"a": null}]}))).await;
    assert_eq!(passed["params"], json!({"deep": [1, {"a": null}]}));
    assert_eq!((&passed["method"], &passed["secret"]), (&json!("vm_start"), &json!("for nodes")));
    assert_eq!(world.ok(&world.tcp, "call_node", call("vm_null", json!([]))).await, Value::Null);
    let failed = world.call(&world.tcp, "call_node", call("vm_fail", json!([]))).await;
    assert_eq!(failed["error"], json!({"code": 77, "message": "no vm", "data": {"a": 1}}));
    assert_eq!(world.fault(&world.tcp, "call_node", call("rm_all", json!([]))).await, "METHOD_NOT_PASSED_ON");
    let any = json!({"node_id": {"script_type": "Python", "free_slots": 1}, "method": "vm_list"});
    assert_eq!(world.ok(&world.tcp, "call_node", any).await["method"], "vm_list");
    for (node, wanted) in
        [(json!({"script_type": "V"}), "NODE_NOT_FOUND"), (json!("cellar"), "NODE_NOT_FOUND")]
    {
        let call = json!({"node_id": node, "method": "vm_list"});
        assert_eq!(world.fault(&world.tcp, "call_node", call).await, wanted, "{node}");
    }
    let typo = json!({"node_id": {"slots": 1}, "method": "vm_list"});
    assert_eq!(world.fault(&world.tcp, "call_node", typo).await, "UNKNOWN_FIELD");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_found_where_it_was_given_to() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |_| {}).await;
    let heard =
        world.send(&world.tcp, &Signer::new("kitchen", 1).line(json!({"addresses": [echo().await]}))).await;
    assert_eq!(reason(&heard), "none");
    let nodes = GrpcNodes::new(grpc::channel(&world.grpc, &ChannelConfig::default()));
    let job_id = JobId::mint();
    let call = |method: &str, places| NodeCall {
        method: method.to_owned(),
        params: Some("[]".to_owned()),
        timeout_ms: None,
        places,
    };
    let user = Caller { name: "u".into(), scope: Scope::User, circle: None };
    let target = NodeTarget::Fitting(hero_domain::NodeSelector::default());
    nodes.call(&user, target, call("submit_job", Some(job_id))).await.unwrap();
    let found = nodes.call(&user, NodeTarget::OfJob { job_id }, call("get_job", None)).await.unwrap();
    assert!(matches!(&found, NodeAnswer::Result(text) if text.contains("get_job")), "{found:?}");
    let lost = nodes.call(&user, NodeTarget::OfJob { job_id: JobId::mint() }, call("get_job", None)).await;
    assert_eq!(lost.unwrap_err().reason().as_str(), "NODE_NOT_FOUND");
    // Whoever may use jobs may not do more by way of a node.
    for method in ["vm_start", "ban_node", "remove_runner"] {
        let id = NodeTarget::Id("kitchen".parse().unwrap());
        let refused = nodes.call(&user, id, call(method, None)).await.unwrap_err();
        assert_eq!(refused.reason().as_str(), "SCOPE_INSUFFICIENT", "{method}");
    }
    world.stop().await;
}
