//! Calls: HTTP and WebSocket agree, batches, malformed input, an outage, a drain.

use std::time::Duration;

use hero_domain::{Caller, JobId, Scope};
use hero_runtime::Address;
use hero_testing::FakeNode;
use jsonrpsee::{
    core::{
        client::{ClientT, Error},
        params::BatchRequestBuilder,
    },
    rpc_params,
};
use serde_json::{Value, json};

use crate::node::{Node, PATIENCE, Supervisor};

async fn story(client: &impl ClientT) {
    let who: String = client.request("whoami", rpc_params![]).await.unwrap();
    assert_eq!(who, "anonymous (admin)");
    let output: String = client.request("run_job", rpc_params!["40 + 2", "OSIS"]).await.unwrap();
    assert_eq!(output, "40 + 2");
    let job = json!({"script": "1", "script_type": "python", "env_vars": {"A": "ü\n"}});
    let id: String = client.request("create_job", rpc_params![&job]).await.unwrap();
    let started: Value = client.request("start_job", rpc_params![&id]).await.unwrap();
    assert_eq!(started, json!({"success": true}));
    let view: Value = client.request("get_job", rpc_params![&id]).await.unwrap();
    assert_eq!((&view["env_vars"]["A"], &view["status"]), (&json!("ü\n"), &json!("Finished")));
    let ids: Vec<JobId> = client.request("submit_jobs", rpc_params![vec![&job; 50]]).await.unwrap();
    assert_eq!(ids.len(), 50);
    let error = client.request::<String, _>("run_job", rpc_params!["fail no", "OSIS"]).await.unwrap_err();
    let Error::Call(error) = error else { panic!("{error}") };
    assert_eq!((error.code(), error.message()), (-32050, "the script failed: no"));
    assert!(error.data().unwrap().get().contains(r#""output":"so far""#));
    let error = client.request::<Value, _>("get_job", rpc_params![JobId::mint()]).await.unwrap_err();
    let Error::Call(error) = error else { panic!("{error}") };
    assert_eq!(error.code(), -32020);
    let error = client.request::<Value, _>("no_such", rpc_params![]).await.unwrap_err();
    let Error::Call(error) = error else { panic!("{error}") };
    assert_eq!((error.code(), error.message()), (-32601, "there is no method `no_such`"));
    let (): () = client.request("clear_all_jobs", rpc_params![]).await.unwrap();
}

#[tokio::test]
async fn http_websocket_and_curl_agree() {
    let node = Node::start().await;
    story(&node.http()).await;
    story(&node.ws().await).await;
    let answer = node.post(r#"{"jsonrpc":"2.0","id":7,"method":"run_job","params":["1 + 1","OSIS"]}"#).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json(), json!({"jsonrpc": "2.0", "id": 7, "result": "1 + 1"}));
}

#[tokio::test]
async fn a_notification_has_no_answer() {
    let node = Node::start().await;
    let one = r#"{"jsonrpc":"2.0","method":"whoami","params":[]}"#;
    for text in [one.to_owned(), format!("[{one},{one}]")] {
        let answer = node.post(&text).await;
        assert_eq!((answer.status(), answer.text.as_str()), (204, ""));
    }
    let text = format!(r#"[{one},{{"jsonrpc":"2.0","id":1,"method":"whoami"}}]"#);
    let answer = node.post(&text).await;
    assert_eq!(answer.json(), json!([{"jsonrpc": "2.0", "id": 1, "result": "anonymous (admin)"}]));
}

async fn batch(client: &impl ClientT) {
    let mut batch = BatchRequestBuilder::new();
    for index in 0..100 {
        let script = if index == 50 { " ".to_owned() } else { index.to_string() };
        batch.insert("submit_job", rpc_params![json!({"script": script, "script_type": "OSIS"})]).unwrap();
    }
    let answers = client.batch_request::<JobId>(batch).await.unwrap();
    assert_eq!((answers.num_successful_calls(), answers.num_failed_calls()), (99, 1));
    for (index, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(id) => {
                let job: Value = client.request("get_job", rpc_params![id]).await.unwrap();
                assert_eq!(job["script"], json!(index.to_string()), "in the order of the calls");
            }
            Err(error) => {
                assert_eq!((index, error.code()), (50, -32602));
                assert!(error.data().unwrap().get().contains(r#""field":"job.script""#), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_fails_leaves_the_rest_of_its_batch_alone() {
    let node = Node::start().await;
    batch(&node.http()).await;
    batch(&node.ws().await).await;
}

#[tokio::test]
async fn a_batch_runs_at_once_and_travels_together() {
    let node = Node::start().await;
    let before = node.ports.calls().len();
    node.ports.set_delay(Duration::from_millis(100));
    let mut batch = BatchRequestBuilder::new();
    for _ in 0..100 {
        batch.insert("submit_job", rpc_params![json!({"script": "x", "script_type": "OSIS"})]).unwrap();
    }
    let client = node.http();
    let began = std::time::Instant::now();
    client.batch_request::<JobId>(batch).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "one after the other they take 10 s");
    let submits = node.ports.calls()[before..].iter().filter(|call| *call == "submit").count();
    assert!(submits <= 10, "{submits} calls for 100 members");
}

#[tokio::test]
async fn what_is_malformed_is_told_and_does_no_harm() {
    let node = Node::start().await;
    let cases = [
        ("{", -32700),
        ("[", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"whoami","params":[}"#, -32700),
        (r#"{"jsonrpc":"1.0","id":1,"method":"whoami"}"#, -32600),
        (r#"{"id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"whoami","params":5}"#, -32602),
        ("[]", -32600),
    ];
    for (text, code) in cases {
        let answer = node.post(text).await;
        assert_eq!(answer.json()["error"]["code"], json!(code), "{text}: {answer:?}");
    }
    for text in ["", "hello", "5"] {
        let answer = node.post(text).await;
        assert_eq!((answer.status(), answer.json()["error"]["code"].clone()), (400, json!(-32700)), "{text}");
    }
    let answer = node.post(r#"[1, {"jsonrpc":"2.0","id":2,"method":"whoami"}, {"id":3}]"#).await.json();
    let codes: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(-32600), Value::Null, json!(-32600)]);
    let answer = node.post(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).await;
    assert_eq!(answer.json()[0]["error"]["code"], json!(-32600), "nested beyond reason");
}

#[tokio::test]
async fn a_trace_goes_from_the_header_into_the_job() {
    let node = Node::start().await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body =
        r#"{"jsonrpc":"2.0","id":1,"method":"submit_job","params":[{"script":"x","script_type":"V"}]}"#;
    for (sent, kept) in [(traceparent, Some(traceparent)), ("nonsense", None)] {
        let request = node.request(body).header("traceparent", sent).body(body.to_owned()).unwrap();
        assert_eq!(node.send(request).await.status(), 200);
        assert_eq!(node.ports.submitted().pop().unwrap().traceparent.as_deref(), kept);
    }
    let failing = r#"{"jsonrpc":"2.0","id":1,"method":"start_job","params":["x"]}"#;
    let request = node.request(failing).header("traceparent", traceparent).body(failing.to_owned()).unwrap();
    let error = node.send(request).await.json()["error"]["data"].clone();
    assert_eq!(error["trace_id"], json!("4bf92f3577b34da6a3ce929d0e0e4736"));
}

#[tokio::test]
async fn an_outage_is_told_at_once_and_ends_by_itself() {
    let mut node = Node::start().await;
    let supervisor = node.supervisor.take().unwrap();
    let address = supervisor.address.clone();
    let ws = node.ws().await;
    supervisor.stop().await;
    let began = std::time::Instant::now();
    let error = ws.request::<Vec<JobId>, _>("list_jobs", rpc_params![]).await.unwrap_err();
    let Error::Call(error) = error else { panic!("{error}") };
    assert_eq!(error.code(), -32041);
    assert!(error.data().unwrap().get().contains("UPSTREAM_UNAVAILABLE"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
    let job = json!({"script": "x", "script_type": "OSIS"});
    let error = ws.request::<JobId, _>("submit_job", rpc_params![&job]).await.unwrap_err();
    let Error::Call(error) = error else { panic!("{error}") };
    assert_eq!(error.code(), -32041);
    let unready = tokio::time::timeout(PATIENCE, node.health.wait(false)).await;
    assert!(unready.is_ok(), "readiness follows the supervisor");
    node.supervisor = Some(Supervisor::start(&node.ports, &address).await);
    node.ready().await;
    let _: JobId = ws.request("submit_job", rpc_params![&job]).await.unwrap();
}

#[tokio::test]
async fn a_gateway_without_its_supervisor_is_not_ready_and_says_why() {
    let node = Node::unready(|config| config.supervisor = Address::loopback(1)).await;
    let report = async {
        loop {
            let report = node.health.report();
            if report.conditions["supervisor"] != "starting" {
                return report;
            }
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::time::timeout(PATIENCE, report).await.unwrap();
    assert!(!report.ready);
    assert!(report.conditions["supervisor"].contains("does not answer"), "{report:?}");
    let answer = node.post(r#"{"jsonrpc":"2.0","id":7,"method":"whoami"}"#).await;
    assert_eq!(answer.refusal(), (503, -32041, "UPSTREAM_UNAVAILABLE".to_owned()));
}

#[tokio::test]
async fn a_drain_lets_the_calls_in_flight_end() {
    let node = Node::start().await;
    node.ports.set_delay(Duration::from_millis(300));
    let (http, ws) = (node.http(), node.ws().await);
    let before = node.ports.calls().len();
    let calls = tokio::spawn(async move {
        let run = |client: &jsonrpsee::http_client::HttpClient| {
            let client = client.clone();
            async move { client.request::<String, _>("run_job", rpc_params!["http", "OSIS"]).await }
        };
        tokio::join!(run(&http), ws.request::<String, _>("run_job", rpc_params!["ws", "OSIS"]))
    });
    let both = async {
        while node.ports.calls()[before..].iter().filter(|call| *call == "run").count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("both calls reach the supervisor");
    let address = node.address();
    node.trigger.drain().await;
    let (over_http, over_ws) = tokio::time::timeout(PATIENCE, calls).await.unwrap().unwrap();
    assert_eq!((over_http.unwrap(), over_ws.unwrap()), ("http".to_owned(), "ws".to_owned()));
    tokio::time::timeout(PATIENCE, node.gateway).await.expect("it ends").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_grace_that_is_over_ends_what_still_runs() {
    let node = Node::with(|config| config.drain.grace_ms = 200).await;
    let ws = node.ws().await;
    node.ports.set_delay(Duration::from_secs(600));
    let before = node.ports.calls().len();
    let call =
        tokio::spawn(async move { ws.request::<String, _>("run_job", rpc_params!["x", "OSIS"]).await });
    let begun = async {
        while node.ports.calls().len() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    node.trigger.drain().await;
    tokio::time::timeout(PATIENCE, node.gateway).await.expect("it ends").unwrap().unwrap();
    call.abort();
}

#[tokio::test]
async fn keys_tell_callers_apart() {
    let node = Node::start().await;
    node.ports.add_key("s3cret", Caller { name: "ops".to_owned(), scope: Scope::User, circle: None });
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#;
    let with =
        |key: &str| node.request(body).header("authorization", format!("Bearer {key}")).body(body.to_owned());
    assert_eq!(node.send(with("s3cret").unwrap()).await.json()["result"], json!("ops (user)"));
    let refused = node.send(with("wrong").unwrap()).await;
    assert_eq!(refused.refusal(), (401, -32030, "AUTHENTICATION_REQUIRED".to_owned()));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let runners = body.replace("whoami", "list_runners");
    let request =
        node.request(&runners).header("authorization", "Bearer s3cret").body(runners.clone()).unwrap();
    assert_eq!(node.send(request).await.refusal(), (200, -32031, "SCOPE_INSUFFICIENT".to_owned()));
}

#[tokio::test]
async fn nobody_is_served_without_a_secret_where_others_can_reach() {
    let everywhere: Address = "tcp://0.0.0.0:0".parse().unwrap();
    let open = Node::unready(|config| config.listen = everywhere.clone()).await;
    let ended = tokio::time::timeout(PATIENCE, open.gateway).await.expect("it ends by itself").unwrap();
    let words = format!("{:#}", ended.unwrap_err());
    assert!(words.contains("no secret configured") && words.contains("--insecure-no-auth"), "{words}");

    let told = Node::with(|config| {
        config.listen = everywhere.clone();
        config.insecure_no_auth = true;
    })
    .await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#;
    assert_eq!(told.post(body).await.json()["result"], json!("anonymous (admin)"));
    let ports: FakeNode = told.ports.clone();
    assert!(ports.calls().contains(&"identify".to_owned()));
}
