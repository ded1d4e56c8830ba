//! Two nodes with a twin each: their relays find each other in the node registry, and a job of one runs on the other.

use std::path::Path;

use hero_testing::{RedisServer, free_port};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    nodes::{client, explorer},
    observed::{collector, traces},
};
use crate::{client::Client, process::Process, process::Start};

/// A node whose relay is that of a twin; it looks others up where it is itself told of.
fn node(folder: &Path, twin: u32, explorer: &str, otlp: &str) -> Process {
    let (id, folder) = (format!("node-{twin}"), folder.join(twin.to_string()));
    let listen = format!("tcp://127.0.0.1:{}", free_port().unwrap());
    let settings = [
        ("PORT", "0"),
        ("TELEMETRY__LOG_LEVEL", "info"),
        ("TELEMETRY__OTLP_ENDPOINT", otlp),
        ("SUPERVISOR__NODE__ID", &id),
        ("SUPERVISOR__NODE__INTERVAL_MS", "200"),
        ("MSGBUS_RELAY__MNEMONICS", &format!("{twin:02x}").repeat(32)),
        ("MSGBUS_RELAY__TWIN", &twin.to_string()),
        ("MSGBUS_RELAY__SUBSTRATE", &format!("explorer:tcp://127.0.0.1:1,tcp://{explorer}")),
        ("MSGBUS_RELAY__LISTEN", &listen),
        ("MSGBUS_RELAY__RPC__USER", "[7]"),
    ];
    Start::service("launcher", &settings)
        .env("EXPLORER_ADDRESSES", &format!("tcp://{explorer}"))
        .env("NODE_TCP_ADDR", "127.0.0.1:0")
        .args(&["--private-redis", "--data-dir", folder.to_str().expect("a folder's name is text")])
        .run()
}

/// Runs a job on the node of a twin, over the bus; the bus' answer.
async fn run_there(client: &Client, twin: u32, script: &str) -> Value {
    let rpc = json!({"jsonrpc": "2.0", "id": 1, "method": "run_job", "params": [script, "OSIS"]});
    let params = json!({"twins": [twin], "command": "hero.rpc", "data": rpc.to_string(), "expires": 60});
    let mut answers = client.call("bus_call", params).await;
    assert_eq!(answers.as_array().map(Vec::len), Some(1), "{answers}");
    answers[0].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_find_each_other_in_the_registry_and_run_jobs_over_the_bus_in_one_trace() {
    let (redis, folder) = (RedisServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (otlp, mut spans) = collector().await;
    let mut registry = explorer(&redis, folder.path(), "0");
    let address = registry.address("tcp").await;
    let mut nodes = [7, 8].map(|twin| node(folder.path(), twin, &address, &otlp));
    let here = client(&mut nodes[0]).await;
    let there = client(&mut nodes[1]).await;
    for node in &mut nodes {
        node.says("the node registry knows this twin").await;
    }
    let answer = run_there(&here, 8, "40 + 2").await;
    assert_eq!((&answer["twin"], &answer["error"]), (&json!(8), &Value::Null), "{answer}");
    let response: Value = serde_json::from_str(answer["data"].as_str().unwrap()).unwrap();
    assert_eq!(response["result"], "42", "{response}");
    assert_eq!(there.call("list_jobs", json!([])).await.as_array().map(Vec::len), Some(1));
    assert_eq!(here.call("list_jobs", json!([])).await, json!([]));
    // Twin 8 is none that twin 7 named, and nobody is twin 9.
    assert_eq!(run_there(&there, 7, "1").await["error"], "twin 8 may not call hero.rpc here");
    let nobody = run_there(&here, 9, "1").await;
    assert_eq!(nobody["error"], "all retries done: twin not found: object not found");

    for process in nodes.iter_mut().chain([&mut registry]) {
        process.signal(Signal::TERM);
        assert!(process.exit().await.success(), "{}", process.said());
    }
    // Nothing on the wire carries a trace, and yet both sides tell of the same one; another request has another.
    let steps = [
        "send hero.rpc",
        "receive hero.rpc",
        "hero.job.v1.JobService/RunJob",
        "process osis",
        "answer hero.rpc",
    ];
    let traces = traces(&mut spans, &steps).await;
    let of =
        |name: &str| traces.iter().filter(|(found, _)| found == name).map(|(_, id)| id).collect::<Vec<_>>();
    let sent = of("send hero.rpc");
    assert!(sent.len() >= 2 && sent.iter().any(|id| *id != sent[0]), "{traces:?}");
    let whole = |id: &&String| steps.iter().all(|name| of(name).contains(id));
    assert_eq!(
        sent.iter().filter(|id| whole(id)).collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "{traces:?}"
    );
}
