//! Two nodes and an explorer, each a process of its own: they find each other, and jobs go from one to the other.

use std::path::Path;

use hero_testing::RedisServer;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    client::Client,
    cluster::until,
    process::{Process, Start},
};

/// An explorer over the network, at this port (0: any free one).
pub(super) fn explorer(redis: &RedisServer, folder: &Path, port: &str) -> Process {
    let socket = format!("unix://{}", folder.join("explorer.sock").display());
    let settings = [
        ("SOCKET", socket.as_str()),
        ("LISTEN", "tcp://127.0.0.1:0"),
        ("REDIS__URL", &redis.url()),
        ("HEARTBEATS__JUDGE_INTERVAL_MS", "50"),
        ("HEARTBEATS__SAVE_INTERVAL_MS", "50"),
    ];
    Start::service("explorer", &settings).env("EXPLORER_TCP_ADDR", &format!("127.0.0.1:{port}")).run()
}

/// A whole node that tells this explorer that it lives.
fn node(folder: &Path, id: &str, explorer: &str) -> Process {
    let folder = folder.join(id);
    let settings = [
        ("PORT", "0"),
        ("SUPERVISOR__NODE__ID", id),
        ("SUPERVISOR__NODE__INTERVAL_MS", "200"),
        ("SUPERVISOR__NODE__LINES__BREAKER_PAUSE_MS", "200"),
    ];
    Start::service("launcher", &settings)
        .env("EXPLORER_ADDRESSES", &format!("nonsense,tcp://{explorer}"))
        .env("NODE_TCP_ADDR", "127.0.0.1:0")
        .args(&["--private-redis", "--data-dir", folder.to_str().expect("a folder's name is text")])
        .run()
}

pub(super) async fn client(node: &mut Process) -> Client {
    node.says("is ready").await;
    let line = node.says("JSON-RPC").await;
    let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("{line}"));
    Client::http(address.split(' ').next().expect("an address"))
}

/// Waits until a node is known in this state, and serves Python.
async fn is_in_state(client: &Client, id: &str, state: &str) {
    until(&format!("{id} is {state}"), || async {
        let page =
            client.try_call("list_nodes", json!([{"script_type": "Python"}])).await.unwrap_or_default();
        let nodes = page["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["node_id"] == id && node["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_another_node_runs_there_and_is_followed_from_here() {
    let (redis, folder) = (RedisServer::start().unwrap(), tempfile::tempdir().unwrap());
    let mut explorer_process = explorer(&redis, folder.path(), "0");
    let address = explorer_process.address("tcp").await;
    let (mut kitchen, mut cellar) =
        (node(folder.path(), "kitchen", &address), node(folder.path(), "cellar", &address));
    let (here, there) = (client(&mut kitchen).await, client(&mut cellar).await);
    kitchen.says("`nonsense` is not an address").await;
    for id in ["kitchen", "cellar"] {
        is_in_state(&here, id, "alive").await;
    }
    assert_eq!(here.call("node_info", json!([])).await["node_id"], "kitchen");

    // From either gateway to the other node, and to any.
    for (from, other) in [(&here, "cellar"), (&there, "kitchen")] {
        let script = "print(6 * 7)";
        let itself = if other == "cellar" { "kitchen" } else { "cellar" };
        let job = json!([{"script": script, "script_type": "Python", "node": {"except": [itself]}}]);
        let id = from.call("submit_job", job).await;
        let ended = from.call("wait_job", json!([id])).await;
        assert_eq!(ended["output"], "42\n", "{ended}");
        assert_eq!(from.call("get_job_status", json!([id])).await, "Finished");
        assert_eq!(from.call("get_job_logs", json!([id])).await["logs"], "42\n");
        assert_eq!(from.call("get_job_output", json!([id])).await, "42\n");
        let params = json!({"node_id": other, "method": "list_jobs"});
        let jobs = from.call("call_node", params).await;
        assert!(jobs.as_array().unwrap().contains(&id), "{jobs}");
    }
    let any = json!({"script": "print(1)", "script_type": "Python", "node": "any"});
    assert_eq!(here.call("run_job", any).await, "1\n");
    let failed = here
        .try_call("run_job", json!({"script": "let x = ;", "script_type": "OSIS", "node": "cellar"}))
        .await;
    assert_eq!(failed.unwrap_err().told().1, "SCRIPT_FAILED", "the node's own error comes back");
    let lost = here.try_call("get_job", json!(["0193e2d0-7c7a-7b0e-8f8e-0123456789ab"])).await;
    assert_eq!(lost.unwrap_err().told().1, "JOB_NOT_FOUND");
    for process in [kitchen, cellar, explorer_process] {
        stop(process).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_explorers_may_go_and_come_back() {
    let (redis, folder) = (RedisServer::start().unwrap(), tempfile::tempdir().unwrap());
    let mut first = explorer(&redis, folder.path(), "0");
    let address = first.address("tcp").await;
    let (mut kitchen, mut cellar) =
        (node(folder.path(), "kitchen", &address), node(folder.path(), "cellar", &address));
    let here = client(&mut kitchen).await;
    client(&mut cellar).await;
    is_in_state(&here, "cellar", "alive").await;

    // A node that falls silent is not called any more by a selector; it comes back at another address with its key.
    cellar.signal(Signal::KILL);
    cellar.exit().await;
    is_in_state(&here, "cellar", "dead").await;
    let only_there = json!({"node_id": {"except": ["kitchen"]}, "method": "whoami"});
    let none = here.try_call("call_node", only_there.clone()).await.unwrap_err();
    assert_eq!(none.told().1, "NODE_NOT_FOUND");
    let mut cellar = node(folder.path(), "cellar", &address);
    client(&mut cellar).await;
    is_in_state(&here, "cellar", "alive").await;
    assert_eq!(here.call("call_node", only_there.clone()).await, "anonymous (admin)");

    // Without an explorer a node works on, and says what is missing; the next one knows what the first knew.
    first.signal(Signal::KILL);
    first.exit().await;
    assert_eq!(here.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    let away = here.try_call("list_nodes", json!([])).await.unwrap_err();
    assert_eq!(away.told().1, "UPSTREAM_UNAVAILABLE");
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let second = explorer(&redis, folder.path(), &port);
    is_in_state(&here, "cellar", "alive").await;
    let history = here.call("get_node", json!(["cellar"])).await["history"].clone();
    let why: Vec<&str> =
        history.as_array().unwrap().iter().filter_map(|it: &Value| it["why"].as_str()).collect();
    assert!(why.contains(&"started again") && why.contains(&"first heard of"), "{why:?}");
    for process in [kitchen, cellar, second] {
        stop(process).await;
    }
}

async fn stop(mut process: Process) {
    process.signal(Signal::INT);
    let status = process.exit().await;
    assert_eq!(status.code(), Some(0), "{}", process.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn explorers_that_know_nothing_of_each_other_are_one_to_their_nodes() {
    let redises = [RedisServer::start().unwrap(), RedisServer::start().unwrap()];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (mut first, mut second) =
        (explorer(&redises[0], folders[0].path(), "0"), explorer(&redises[1], folders[1].path(), "0"));
    let (one, other) = (first.address("tcp").await, second.address("tcp").await);
    let (mut kitchen, mut cellar) = (
        node(folders[0].path(), "kitchen", &format!("{one},tcp://{other}")),
        node(folders[0].path(), "cellar", &other),
    );
    let here = client(&mut kitchen).await;
    client(&mut cellar).await;
    // The first explorer has never heard of the cellar.
    for id in ["kitchen", "cellar"] {
        is_in_state(&here, id, "alive").await;
    }
    assert_eq!(here.call("get_node", json!(["cellar"])).await["node_id"], "cellar");
    let call = json!({"node_id": "cellar", "method": "node_info"});
    assert_eq!(here.call("call_node", call.clone()).await["node_id"], "cellar");
    let job = json!({"script": "print(7)", "script_type": "Python", "node": "cellar"});
    assert_eq!(here.call("run_job", job).await, "7\n");
    // One of them is enough.
    first.signal(Signal::KILL);
    first.exit().await;
    let page = here.call("list_nodes", json!([{"limit": 1}])).await;
    assert_eq!((&page["total"], &page["next_cursor"]), (&json!(2), &json!("cellar")));
    assert_eq!(here.call("call_node", call).await["node_id"], "cellar");
    for process in [kitchen, cellar, second] {
        stop(process).await;
    }
}
