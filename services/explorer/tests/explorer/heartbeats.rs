//! What nodes say, whom it is believed of, and what their silence means.

use hero_testing::{RedisServer, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{PATIENCE, Signer, World, now_ms, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lives_as_long_as_it_is_heard_of() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |_| {}).await;
    let node = Signer::new("kitchen", 1);
    let heard = world
        .send(&world.tcp, &node.line(json!({"name": "Kitchen", "addresses": ["tcp://10.0.0.1:1"]})))
        .await;
    assert_eq!(heard["result"], Value::Null, "{heard}");
    assert!(heard.get("error").is_none(), "{heard}");
    let page = world.ok(&world.tcp, "list_nodes", json!([{"state": "alive"}])).await;
    assert_eq!((&page["total"], &page["nodes"][0]["name"]), (&json!(1), &json!("Kitchen")));

    eventually("it is dead", PATIENCE, || async { world.state_of("kitchen").await == "dead" }).await;
    // What is left empty stays as it is known.
    world.send(&world.tcp, &node.line(json!({}))).await;
    eventually("its changes are told in order", PATIENCE, || async {
        let told = world.ok(&world.unix, "get_node", json!(["kitchen"])).await;
        assert_eq!((&told["state"], &told["name"]), (&json!("alive"), &json!("Kitchen")));
        let states: Vec<_> =
            told["history"].as_array().into_iter().flatten().map(|it| it["state"].clone()).collect();
        states == ["alive", "dead", "suspect", "alive"]
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_and_the_history_of_it_are_told_together() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    // Nothing is saved by itself while this runs.
    let world = World::over(&redis, &folder, |config| config.heartbeats.save_interval_ms = 60_000).await;
    let node = Signer::new("kitchen", 1);
    let starts = [
        (now_ms() - 2_000, json!(["first heard of"])),
        (now_ms() - 1_000, json!(["started again", "first heard of"])),
    ];
    for (started_at, whys) in starts {
        let beat = json!({"started_at_ms": started_at});
        let heard = world.send(&world.tcp, &node.line(beat)).await;
        assert_eq!(reason(&heard), "none", "{heard}");
        let told = world.ok(&world.unix, "get_node", json!(["kitchen"])).await;
        let told: Vec<_> =
            told["history"].as_array().into_iter().flatten().map(|it| it["why"].clone()).collect();
        assert_eq!(Value::from(told), whys);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unsigned_forged_replayed_or_out_of_time_is_refused() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |_| {}).await;
    let (node, thief) = (Signer::new("kitchen", 1), Signer::new("kitchen", 2));
    let first = node.line(json!({}));
    assert_eq!(reason(&world.send(&world.tcp, &first).await), "none");
    assert_eq!(reason(&world.send(&world.tcp, &first).await), "HEARTBEAT_REPLAYED");
    assert_eq!(reason(&world.send(&world.tcp, &thief.line(json!({"counter": 9}))).await), "NODE_ID_TAKEN");
    let forged = node.line(json!({})).replace("\"slots\":2", "\"slots\":9");
    assert_eq!(reason(&world.send(&world.tcp, &forged).await), "HEARTBEAT_UNSIGNED");
    let future = node.line(json!({"sent_at_ms": now_ms() + 3_600_000}));
    assert_eq!(reason(&world.send(&world.tcp, &future).await), "HEARTBEAT_OUT_OF_TIME");
    let large = node.line(json!({"labels": {"a": "x".repeat(70_000)}}));
    assert_eq!(reason(&world.send(&world.tcp, &large).await), "INVALID_PARAMS");
    for addresses in [
        json!(["nowhere"]),
        json!([world.tcp.to_string()]),
        json!([world.unix.to_string()]),
        json!(["mycelium://10.0.0.7"]),
    ] {
        let line = node.line(json!({"addresses": addresses}));
        assert_eq!(reason(&world.send(&world.tcp, &line).await), "INVALID_PARAMS", "{addresses}");
    }
    let bare = json!({"beat": Signer::new("cellar", 3).beat(json!({}))});
    assert_eq!(world.fault(&world.tcp, "heartbeat", bare.clone()).await, "HEARTBEAT_UNSIGNED");
    // As ever on the unix socket.
    world.ok(&world.unix, "heartbeat", bare).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_heartbeats_over_the_network_are_taken_where_that_is_said() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| config.allow_unsigned = true).await;
    world.ok(&world.tcp, "heartbeat", json!({"beat": Signer::new("old", 3).beat(json!({}))})).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_bans_allows_and_forgets_nodes() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |_| {}).await;
    let (old, new) = (Signer::new("kitchen", 1), Signer::new("kitchen", 2));
    world.send(&world.tcp, &old.line(json!({}))).await;
    world.ok(&world.unix, "ban_node", json!(["kitchen"])).await;
    assert_eq!(reason(&world.send(&world.tcp, &old.line(json!({}))).await), "NODE_BANNED");
    world.ok(&world.unix, "allow_node", json!(["kitchen"])).await;
    assert_eq!(reason(&world.send(&world.tcp, &new.line(json!({"counter": 20}))).await), "none");
    assert_eq!(reason(&world.send(&world.tcp, &old.line(json!({"counter": 21}))).await), "NODE_ID_TAKEN");
    world.ok(&world.unix, "remove_node", json!(["kitchen"])).await;
    assert_eq!(world.fault(&world.unix, "get_node", json!(["kitchen"])).await, "NODE_NOT_FOUND");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_know_the_same_and_a_restart_forgets_nothing() {
    let (redis, here, there) =
        (RedisServer::start().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let (first, second) =
        (World::over(&redis, &here, |_| {}).await, World::over(&redis, &there, |_| {}).await);
    let node = Signer::new("kitchen", 1);
    first.send(&first.tcp, &node.line(json!({"interval_ms": 60_000}))).await;
    eventually("the other one knows it", PATIENCE, || async { second.state_of("kitchen").await == "alive" })
        .await;
    let thief = Signer::new("kitchen", 2);
    let stolen = second.send(&second.tcp, &thief.line(json!({"counter": 9}))).await;
    assert_eq!(reason(&stolen), "NODE_ID_TAKEN");
    first.stop().await;
    second.stop().await;
    let again = World::over(&redis, &here, |_| {}).await;
    assert_eq!(again.state_of("kitchen").await, "alive");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_nodes_at_once_are_taken_and_told_of() {
    const NODES: usize = 10_000;
    const AT_ONCE: usize = 100;
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |_| {}).await;
    let batches = (0..NODES / AT_ONCE).map(|batch| {
        let calls = (batch * AT_ONCE..(batch + 1) * AT_ONCE).map(|number| {
            let beat = Signer::new(&format!("node-{number:05}"), 1).beat(json!({"interval_ms": 600_000}));
            json!({"jsonrpc": "2.0", "id": number, "method": "heartbeat", "params": {"beat": beat}})
        });
        Value::from(calls.collect::<Vec<_>>()).to_string()
    });
    let batches: Vec<String> = batches.collect();
    // As many at a time as one asker may have.
    for group in batches.chunks(50) {
        let answers = group.iter().map(|batch| world.send(&world.unix, batch));
        for answers in futures::future::join_all(answers).await {
            assert_eq!(answers.as_array().map(Vec::len), Some(AT_ONCE));
            assert!(!answers.to_string().contains("\"error\""), "{answers}");
        }
    }
    let (mut seen, mut cursor) = (0, Value::Null);
    loop {
        let filter = json!({"filter": {"limit": 1_000, "cursor": cursor, "state": "alive"}});
        let page = world.ok(&world.tcp, "list_nodes", filter).await;
        assert_eq!(page["total"], NODES);
        seen += page["nodes"].as_array().unwrap().len();
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, NODES);
    world.stop().await;
}
