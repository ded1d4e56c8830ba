//! Nodes that meet over Mycelium: bridges and launchers as processes of their own, before the daemons of a made-up overlay.

use std::{path::Path, time::Duration};

use hero_client::{Client, Destination, NodeFilter, NodeTarget, RunJob, ScriptType};
use hero_testing::{
    eventually, free_port,
    mycelium::{FakeDaemon, FakeOverlay},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, PATIENCE},
    process::{Process, Start},
};

/// A bridge of this node that lets the caller in by its key.
fn bridge(cluster: &Cluster, folder: &Path, there: &FakeDaemon, here: &FakeDaemon) -> Process {
    let file = folder.join("bridge.toml");
    let peers = format!("peers = [{{ pk = \"{}\", scope = \"user\" }}]\n", here.pk());
    std::fs::write(&file, peers).expect("a file can be written");
    let supervisor = cluster.supervisors[0].addresses.get("grpc").expect("it serves gRPC").to_string();
    let settings = [
        ("MYCELIUM_URL", there.url()),
        ("LISTEN", "tcp://127.0.0.1:0".to_owned()),
        ("SUPERVISOR", supervisor),
        ("REDIS__URL", cluster.redis.url()),
        ("DAEMON__CHECK_INTERVAL_MS", "100".to_owned()),
    ];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Start::service("mycelium-bridge", &settings)
        .args(&["--config", file.to_str().expect("a name is text")])
        .run()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_killed_under_load_runs_each_request_once_and_answers_it() {
    const CALLERS: usize = 8;
    const CALLS: usize = 20;
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let overlay = FakeOverlay::new();
    let (here, there) = (overlay.daemon().await.unwrap(), overlay.daemon().await.unwrap());
    let mut process = bridge(&cluster, folder.path(), &there, &here);
    let to = Destination::Pk(there.pk().parse().unwrap());
    let client = Client::over_mycelium(here.url(), to).build().unwrap();
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (client, answered) = (client.clone(), answered.clone());
            tokio::spawn(async move {
                for number in 0..CALLS {
                    let script = format!("hero.counter(\"calls\").add(); \"{caller}.{number}\"");
                    let output = client.run_job(&RunJob::new(ScriptType::Osis, script)).await.unwrap();
                    assert_eq!(output, format!("{caller}.{number}"));
                    answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    for kill in 1..=4 {
        let enough = CALLERS * CALLS * kill / 5;
        eventually("calls go on", PATIENCE, async || {
            answered.load(std::sync::atomic::Ordering::Relaxed) >= enough
        })
        .await;
        process.signal(Signal::KILL);
        process.exit().await;
        process = bridge(&cluster, folder.path(), &there, &here);
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let count = RunJob::new(ScriptType::Osis, "hero.counter(\"calls\").get()");
    assert_eq!(client.run_job(&count).await.unwrap(), (CALLERS * CALLS).to_string(), "each ran once");
    process.signal(Signal::TERM);
    assert!(process.exit().await.success(), "{}", process.said());
    cluster.stop().await;
}

/// A whole node behind a daemon.
fn node(folder: &Path, id: &str, daemon: &FakeDaemon, explorer: &str, more: &[&str]) -> Process {
    let data = folder.join(id);
    let socket = format!("unix://{}", folder.join(format!("{id}-explorer.sock")).display());
    let settings = [
        ("PORT", "0"),
        ("SUPERVISOR__NODE__ID", id),
        ("SUPERVISOR__NODE__INTERVAL_MS", "200"),
        ("EXPLORER__SOCKET", &socket),
        ("MYCELIUM_BRIDGE__DAEMON__CHECK_INTERVAL_MS", "100"),
    ];
    let (name, address) = match more.contains(&"--explorer") {
        true => ("EXPLORER_TCP_ADDR", explorer.to_owned()),
        false => ("EXPLORER_ADDRESSES", format!("tcp://{explorer}")),
    };
    let data = data.to_str().expect("a name is text");
    Start::service("launcher", &settings)
        .env(name, &address)
        .args(&[
            "--private-redis",
            "--data-dir",
            data,
            "--admin-secret",
            "s3cret",
            "--mycelium-url",
            &daemon.url(),
        ])
        .args(more)
        .run()
}

async fn client(node: &mut Process) -> Client {
    node.says("is ready").await;
    let line = node.says("JSON-RPC").await;
    let address = line.split_once("http://").unwrap_or_else(|| panic!("{line}")).1;
    let address = format!("http://{}", address.split(' ').next().expect("an address"));
    Client::builder(address).secret("s3cret").build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_no_address_leads_to_is_called_over_mycelium() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = FakeOverlay::new();
    let (here, there) = (overlay.daemon().await.unwrap(), overlay.daemon().await.unwrap());
    let explorer = format!("127.0.0.1:{}", free_port().unwrap());
    // Neither serves the network: the explorer is reached over TCP, the other node over Mycelium alone.
    let mut kitchen = node(folder.path(), "kitchen", &here, &explorer, &["--explorer"]);
    let mut cellar = node(folder.path(), "cellar", &there, &explorer, &[]);
    let (from_kitchen, from_cellar) = (client(&mut kitchen).await, client(&mut cellar).await);
    let known = async |client: &Client| {
        let page = client.list_nodes(&NodeFilter::default()).await.unwrap_or_default();
        page.nodes.into_iter().find(|node| node.beat.node_id.as_str() == "cellar")
    };
    eventually("cellar is known with its place in the overlay", PATIENCE, async || {
        known(&from_kitchen).await.is_some_and(|node| node.beat.overlay_key == there.pk())
    })
    .await;
    let beat = known(&from_cellar).await.expect("the cellar sees it too").beat;
    assert_eq!(beat.overlay_ip, there.ip().to_string());
    assert_eq!(beat.addresses, [format!("mycelium://{}", there.pk())]);

    let cellar_id = NodeTarget::Id("cellar".parse().unwrap());
    let info: Value = from_kitchen.call_node(&cellar_id, "node_info", Value::Null).await.unwrap();
    assert_eq!(info["node_id"], "cellar");
    let job = RunJob { node: Some(cellar_id), ..RunJob::new(ScriptType::Osis, "6 * 7") };
    assert_eq!(from_kitchen.run_job(&job).await.unwrap(), "42");

    // Beside the explorer: any node by its key, with a secret of its own.
    let to: Destination = there.pk().parse().unwrap();
    let info: Value =
        from_kitchen.mycelium_call(&to, "node_info", json!({"secret": "s3cret"})).await.unwrap();
    assert_eq!(info["node_id"], "cellar");
    let stranger = from_kitchen.mycelium_call::<Value>(&to, "node_info", Value::Null).await.unwrap_err();
    assert_eq!(stranger.reason(), Some(hero_client::Reason::AuthenticationRequired));
    let id = from_kitchen.mycelium_send(&to, "whoami", json!({"secret": "s3cret"})).await.unwrap();
    eventually("the answer has come", PATIENCE, async || {
        let status = from_kitchen.mycelium_status(Some(&id)).await.unwrap();
        status.message.is_some_and(|message| message.result.is_string())
    })
    .await;
    let own: Destination = here.pk().parse().unwrap();
    let who: String = from_kitchen.mycelium_call(&own, "whoami", Value::Null).await.unwrap();
    assert_eq!(who, "admin (admin)", "a call to the own node stays there");
    for mut process in [cellar, kitchen] {
        process.signal(Signal::INT);
        let ended = tokio::time::timeout(Duration::from_secs(60), process.exit()).await;
        assert_eq!(ended.unwrap().code(), Some(0), "{}", process.said());
    }
}
