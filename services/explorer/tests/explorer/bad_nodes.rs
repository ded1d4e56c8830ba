//! Nodes that hang, lie or talk too much harm their own callers only.

use std::time::Duration;

use hero_testing::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use crate::setup::{Signer, World, reason};

/// A node that answers every line with these bytes, and hangs up if that is said.
async fn node_that_says(bytes: Vec<u8>, hangs_up: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut heard = [0; 4_096];
                while stream.read(&mut heard).await.is_ok_and(|count| count > 0) {
                    if stream.write_all(&bytes).await.is_err() || hangs_up {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A node that answers each line with its method, after so long.
async fn node_that_is_late(pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
                    let call: Value = serde_json::from_str(&line).unwrap();
                    tokio::time::sleep(pause).await;
                    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": call["method"]});
                    if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_node_has_its_reason_and_is_then_left_alone() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| {
        config.calls.lines.max_answer_bytes = 1 << 20;
        config.calls.lines.breaker_failures = 3;
    })
    .await;
    let cases = [
        (
            "garbage",
            node_that_says(b"HTTP/1.1 400 Bad Request\r\n".to_vec(), false).await,
            "NODE_UNAVAILABLE",
        ),
        ("half", node_that_says(b"{\"jsonrpc\":\"2.0\",".to_vec(), true).await, "NODE_UNAVAILABLE"),
        ("endless", node_that_says(vec![b'x'; 2 << 20], false).await, "RESPONSE_TOO_LARGE"),
        ("silent", node_that_says(Vec::new(), false).await, "NODE_TIMEOUT"),
        ("away", "tcp://127.0.0.1:1".to_owned(), "NODE_UNAVAILABLE"),
    ];
    for (id, address, wanted) in &cases {
        let line = Signer::new(id, 1).line(json!({"addresses": [address], "interval_ms": 60_000}));
        assert_eq!(reason(&world.send(&world.tcp, &line).await), "none");
        let call = json!({"node_id": id, "method": "vm_list", "timeout_ms": 300});
        for _ in 0..3 {
            assert_eq!(world.fault(&world.tcp, "call_node", call.clone()).await, *wanted, "{id}");
        }
        let rested = world.call(&world.tcp, "call_node", call).await;
        let words = rested["error"]["message"].as_str().unwrap();
        assert!(words.contains("left alone"), "{id}: {rested}");
    }
    // Who answers after the deadline has answered nobody: the next call has an answer of its own.
    let late = node_that_is_late(Duration::from_millis(600)).await;
    let line = Signer::new("late", 1).line(json!({"addresses": [late], "interval_ms": 60_000}));
    world.send(&world.tcp, &line).await;
    let first = json!({"node_id": "late", "method": "vm_first", "timeout_ms": 200});
    assert_eq!(world.fault(&world.tcp, "call_node", first).await, "NODE_TIMEOUT");
    let second = json!({"node_id": "late", "method": "vm_second", "timeout_ms": 20_000});
    assert_eq!(world.ok(&world.tcp, "call_node", second).await, "vm_second");
    // Nobody is chosen twice whom nobody could reach, and nothing else was harmed.
    assert_eq!(world.ok(&world.tcp, "list_nodes", json!([])).await["total"], cases.len() + 1);
    world.stop().await;
}
