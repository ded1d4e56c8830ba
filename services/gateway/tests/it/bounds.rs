//! Every bound, and what it answers with.

use std::time::Duration;

use futures::future::join_all;
use jsonrpsee::{
    core::client::{ClientT, Error},
    rpc_params,
};
use serde_json::{Value, json};

use crate::node::{Node, PATIENCE};

fn call_error(error: Error) -> (i32, Value) {
    let Error::Call(error) = error else { panic!("{error}") };
    (error.code(), error.data().map_or(Value::Null, |data| serde_json::from_str(data.get()).unwrap()))
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let node = Node::with(|config| config.limits.max_request_bytes = 10_000).await;
    let large =
        json!({"jsonrpc": "2.0", "id": 1, "method": "play", "params": ["x".repeat(20_000)]}).to_string();
    let answer = node.post(&large).await;
    assert_eq!(answer.refusal(), (413, -32007, "REQUEST_TOO_LARGE".to_owned()));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("10000 bytes"));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        node.address()
    );
    let chunk = format!("4e20\r\n{}\r\n0\r\n\r\n", "x".repeat(20_000));
    let answer = node.raw(format!("{head}{chunk}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut socket = node.socket().await;
    socket.send(&large).await;
    let answer = socket.receive().await;
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32007), &Value::Null));
    socket.send(r#"{"jsonrpc":"2.0","id":2,"method":"whoami"}"#).await;
    assert_eq!(socket.receive().await["result"], json!("anonymous (admin)"), "the WebSocket goes on");
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused_whole() {
    let node = Node::with(|config| config.limits.max_batch_calls = 3).await;
    let before = node.ports.calls().len();
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "list_jobs"});
    let answer = node.post(&json!(vec![&one; 4]).to_string()).await;
    assert_eq!(answer.refusal(), (200, -32602, "BATCH_TOO_LARGE".to_owned()));
    let answer = node.post(&json!(vec![&one; 400]).to_string()).await;
    assert_eq!(answer.json()["error"]["code"], json!(-32010), "too large to look at");
    assert!(!node.ports.calls()[before..].contains(&"list".to_owned()));
    let answer = node.post(&json!(vec![&one; 3]).to_string()).await;
    assert_eq!(answer.json().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_response_over_the_limit_says_so() {
    let node = Node::with(|config| config.limits.max_response_bytes = 10_000).await;
    for script in ["large 20000", "large 9900"] {
        let error = node.http().request::<String, _>("run_job", rpc_params![script, "OSIS"]).await;
        if script == "large 9900" {
            assert_eq!(error.unwrap().len(), 9_900);
            continue;
        }
        let (code, data) = call_error(error.unwrap_err());
        assert_eq!((code, data["reason"].as_str()), (-32040, Some("RESPONSE_TOO_LARGE")));
    }
    let one = json!({"jsonrpc": "2.0", "id": 1, "method": "run_job", "params": ["large 6000", "OSIS"]});
    let answer = node.post(&json!([one, one]).to_string()).await;
    assert_eq!(answer.refusal(), (200, -32040, "RESPONSE_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn calls_over_the_limit_of_a_connection_are_refused_and_the_others_go_on() {
    let node = Node::with(|config| config.limits.max_calls_per_connection = 4).await;
    node.ports.set_delay(Duration::from_millis(300));
    let ws = node.ws().await;
    let calls = (0..8).map(|_| ws.request::<Vec<String>, _>("list_jobs", rpc_params![]));
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
    for answer in answers {
        if let Err(error) = answer {
            let (code, data) = call_error(error);
            assert_eq!((code, data["reason"].as_str()), (-32040, Some("TOO_MANY_REQUESTS")));
            assert_eq!(data["retry_after_ms"], json!(100));
        }
    }
    let _: Vec<String> = ws.request("list_jobs", rpc_params![]).await.unwrap();
}

#[tokio::test]
async fn calls_over_the_limit_of_all_connections_are_refused() {
    let node = Node::with(|config| config.limits.max_calls = 2).await;
    node.ports.set_delay(Duration::from_millis(300));
    let clients = [node.http(), node.http(), node.http()];
    let answers =
        join_all(clients.iter().map(|client| client.request::<Vec<String>, _>("list_jobs", rpc_params![])));
    assert_eq!(answers.await.iter().filter(|answer| answer.is_ok()).count(), 2);
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_and_closed() {
    let node = Node::with(|config| config.limits.max_connections = 2).await;
    let (first, _second) = (node.ws().await, node.ws().await);
    let answer = node.post(r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#).await;
    assert_eq!(answer.refusal(), (429, -32040, "TOO_MANY_REQUESTS".to_owned()));
    assert_eq!((answer.header("connection"), answer.header("retry-after")), (Some("close"), Some("1")));
    drop(first);
    let freed =
        async { while node.post(r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#).await.status() != 200 {} };
    tokio::time::timeout(PATIENCE, freed).await.expect("a closed connection makes room");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_told_so() {
    let node = Node::with(|config| config.limits.call_timeout_ms = 200).await;
    let client = node.ws().await;
    node.ports.set_delay(Duration::from_millis(1_000));
    let answer = client.request::<Vec<String>, _>("list_jobs", rpc_params![]).await;
    let (code, data) = call_error(answer.unwrap_err());
    assert_eq!((code, data["reason"].as_str()), (-32002, Some("DEADLINE_EXCEEDED")));
    let output: String = client.request("run_job", rpc_params!["waits longer", "OSIS"]).await.unwrap();
    assert_eq!(output, "waits longer");
}

#[tokio::test]
async fn who_dawdles_is_cut_off() {
    let node = Node::with(|config| {
        config.limits.header_timeout_ms = 200;
        config.limits.body_timeout_ms = 200;
    })
    .await;
    let answer = node.raw(b"POST / HTTP/1.1\r\nhost: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        node.address()
    );
    let answer = node.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("within 200 ms"), "{answer}");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let node = Node::with(|config| config.limits.max_header_bytes = 8_192).await;
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    let answer = node.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// Asks for more than fits into the sockets and never reads.
#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let node = Node::with(|config| config.limits.send_timeout_ms = 500).await;
    let mut socket = node.socket().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"run_job","params":["large 500000","OSIS"]}"#;
    for _ in 0..32 {
        socket.send(call).await;
    }
    let hung_up = async {
        while socket.try_send(r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, hung_up).await.expect("the server hangs up");
    let _: Vec<String> = node.http().request("list_jobs", rpc_params![]).await.unwrap();
}

#[tokio::test]
async fn calls_over_the_pace_of_a_caller_are_refused_and_say_when_to_come_back() {
    let node = Node::with(|config| {
        config.limits.max_calls_per_second = 1;
        config.limits.max_calls_burst = 3;
    })
    .await;
    let (ws, http) = (node.ws().await, node.http());
    let mut refused = Vec::new();
    // The bucket is the address's, whichever way the calls come; a slow machine gets some tokens more in between.
    for _ in 0..200 {
        for answer in [
            ws.request::<String, _>("whoami", rpc_params![]).await,
            http.request::<String, _>("whoami", rpc_params![]).await,
        ] {
            refused.extend(answer.err());
        }
    }
    assert!(refused.len() > 200, "{}", refused.len());
    let (code, data) = call_error(refused.swap_remove(0));
    assert_eq!((code, data["reason"].as_str()), (-32040, Some("TOO_MANY_REQUESTS")));
    assert!((1..=1_000).contains(&data["retry_after_ms"].as_u64().unwrap()), "{data}");
}
