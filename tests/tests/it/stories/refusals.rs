//! What is refused, by name, with the parameter at fault, the same over HTTP and over WebSocket.

use serde_json::{Value, json};

use crate::{
    client::{Client, Failure, get, post, request},
    cluster::{Cluster, Shape},
};

const NOBODY: &str = "0193e2d0-7c7a-7b0e-8f8e-0123456789ab";

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_reason_and_names_its_field() {
    let cluster = Cluster::start().await;
    let job = |changes: Value| {
        let mut job = json!({ "script": "1", "script_type": "OSIS" });
        for (name, value) in changes.as_object().unwrap() {
            job[name] = value.clone();
        }
        json!({ "job": job })
    };
    let cases: Vec<(&str, Value, i32, &str, Option<&str>)> = vec![
        ("no_such_method", json!([]), -32601, "METHOD_NOT_FOUND", Some("method")),
        ("run_job", json!({ "script": "1" }), -32602, "INVALID_PARAMS", Some("script_type")),
        ("run_job", json!(["1"]), -32602, "INVALID_PARAMS", Some("script_type")),
        ("run_job", json!([1, "OSIS"]), -32602, "INVALID_PARAMS", Some("script")),
        (
            "run_job",
            json!(["1", "OSIS", [], 1, "a", "b", {}, "k", "any", "more"]),
            -32602,
            "INVALID_PARAMS",
            None,
        ),
        (
            "run_job",
            json!({ "script": "1", "script_type": "OSIS", "time_out": 5 }),
            -32602,
            "UNKNOWN_FIELD",
            Some("time_out"),
        ),
        ("run_job", json!(["1", "perl"]), -32602, "SCRIPT_TYPE_UNKNOWN", Some("script_type")),
        ("run_job", json!(["  \n", "OSIS"]), -32602, "SCRIPT_EMPTY", Some("script")),
        ("submit_job", job(json!({ "scripts": [] })), -32602, "UNKNOWN_FIELD", Some("job.scripts")),
        ("submit_job", job(json!({ "timeout": "soon" })), -32602, "INVALID_PARAMS", Some("job.timeout")),
        ("submit_job", job(json!({ "timeout": 0 })), -32602, "INVALID_PARAMS", None),
        ("submit_job", job(json!({ "timeout": 86_401 })), -32602, "INVALID_PARAMS", None),
        ("submit_job", job(json!({ "script": "x".repeat((1 << 20) + 1) })), -32602, "SCRIPT_TOO_LARGE", None),
        ("submit_job", job(json!({ "env_vars": { "A": "x".repeat(65_536) } })), -32602, "ENV_INVALID", None),
        ("submit_job", job(json!({ "env_vars": { "1A": "x" } })), -32602, "ENV_INVALID", None),
        ("submit_job", job(json!({ "prerequisites": [NOBODY] })), -32602, "PREREQUISITE_NOT_FOUND", None),
        (
            "submit_job",
            job(json!({ "prerequisites": ["x"] })),
            -32602,
            "ID_MALFORMED",
            Some("job.prerequisites[0]"),
        ),
        (
            "submit_job",
            job(json!({ "prerequisites": vec![NOBODY; 1_001] })),
            -32602,
            "TOO_MANY_PREREQUISITES",
            None,
        ),
        (
            "submit_jobs",
            json!({ "jobs": [job(json!({}))["job"], job(json!({ "script": "" }))["job"]] }),
            -32602,
            "SCRIPT_EMPTY",
            None,
        ),
        (
            "submit_jobs",
            json!({ "jobs": vec![&job(json!({}))["job"]; 1_001] }),
            -32602,
            "BATCH_TOO_LARGE",
            None,
        ),
        ("get_job", json!(["42"]), -32602, "ID_MALFORMED", Some("job_id")),
        ("get_job", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        ("start_job", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        ("stop_job", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        ("get_job_output", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        ("get_job_logs", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        ("wait_job", json!([NOBODY]), -32020, "JOB_NOT_FOUND", None),
        (
            "list_jobs",
            json!({ "filter": { "state": "Error" } }),
            -32602,
            "UNKNOWN_FIELD",
            Some("filter.state"),
        ),
        (
            "list_jobs",
            json!({ "filter": { "status": "Lost" } }),
            -32602,
            "INVALID_PARAMS",
            Some("filter.status"),
        ),
        ("list_jobs", json!({ "filter": { "limit": 100_000 } }), -32602, "INVALID_PARAMS", None),
    ];
    for client in cluster.clients().await {
        for (method, params, code, reason, field) in &cases {
            let failure = client.failure(method, params.clone()).await;
            let words = params.to_string();
            let case = format!(
                "{method} {} over {client}: {failure:?}",
                words.chars().take(200).collect::<String>()
            );
            assert_eq!((failure.code, failure.told().1), (*code, *reason), "{case}");
            if field.is_some() {
                assert_eq!(failure.told().2, *field, "{case}");
            }
            assert!(failure.message.len() > 5, "{case}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_rpc_is_refused_as_such() {
    let cluster = Cluster::start().await;
    let address = cluster.address();
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("[]", -32600),
        ("42", -32700),
        (r#"{"method":"whoami","id":1}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"whoami"}"#, -32600),
    ] {
        let answer = post(&address, body).await.unwrap();
        let failure = Failure::of(&answer.json()["error"]);
        assert_eq!(failure.code, code, "{body}: {answer:?}");
    }
    // A path that is no circle of this node, another verb, another content type.
    let headers = [("content-type", "application/json")];
    let answer = request("POST", &format!("http://{address}/nowhere"), &headers, "{}").await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(request("DELETE", &format!("http://{address}/"), &[], "").await.unwrap().status, 405);
    let greeting = get(&format!("http://{address}/")).await.unwrap();
    assert!(greeting.status == 200 || greeting.status == 426, "{greeting:?}");
    let answer = request("POST", &format!("http://{address}/"), &[("content-type", "text/plain")], "{}")
        .await
        .unwrap();
    assert_eq!(answer.status, 415, "{answer:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_and_batches_are_refused_and_the_next_call_works() {
    let cluster = Cluster::start().await;
    let address = cluster.address();
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "run_job", "params": ["x".repeat(3 << 20), "OSIS"] });
    let answer = post(&address, body.to_string()).await.unwrap();
    assert!(
        answer.status == 413 || answer.json()["error"]["code"].is_i64(),
        "{} {:.200}",
        answer.status,
        answer.text
    );

    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "whoami" });
    let answer = post(&address, Value::from(vec![call; 101]).to_string()).await.unwrap();
    let failure = Failure::of(&answer.json()["error"]);
    assert_eq!(failure.told().1, "BATCH_TOO_LARGE", "{answer:?}");

    for client in cluster.clients().await {
        assert_eq!(client.call("run_job", json!(["1", "OSIS"])).await, "1");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_over_names_the_job_and_whom_it_waits_for() {
    let cluster =
        Cluster::with(Shape { supervisor: |config| config.wait.queue_allowance_ms = 0, ..Shape::default() })
            .await;
    for client in cluster.clients().await {
        let params = json!({ "script": "1", "script_type": "V", "timeout": 1 });
        let failure = client.failure("run_job", params).await;
        assert_eq!((failure.code, failure.told().1), (-32002, "WAIT_TIMEOUT"));
        assert!(failure.message.contains("no runner of this node serves V"), "{failure:?}");
        let id = failure.data["job_id"].as_str().expect("the job is named").to_owned();
        assert_eq!(client.call("get_job_status", json!([id])).await, "Dispatched");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_secrets_a_call_needs_one_of_the_right_scope() {
    let cluster = Cluster::with(Shape {
        supervisor: |config| {
            config.secrets.admin = vec!["all".into()];
            config.secrets.user = vec!["jobs".into()];
            config.secrets.register = vec!["fleet".into()];
        },
        ..Shape::default()
    })
    .await;
    let url = format!("http://{}", cluster.address());
    let call = async |secret: Option<&str>, method: &str, params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let bearer = secret.map(|secret| format!("Bearer {secret}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        request("POST", &url, &headers, body).await.unwrap()
    };
    for secret in [None, Some("wrong"), Some("")] {
        let answer = call(secret, "whoami", json!([])).await;
        let told = answer.status == 401 || answer.json()["error"]["code"] == -32030;
        assert!(told, "{secret:?}: {answer:?}");
    }
    let run = json!(["40 + 2", "OSIS"]);
    assert_eq!(call(Some("jobs"), "run_job", run.clone()).await.json()["result"], "42");
    assert_eq!(call(Some("all"), "run_job", run.clone()).await.json()["result"], "42");
    let answer = call(Some("fleet"), "run_job", run).await.json();
    assert_eq!(Failure::of(&answer["error"]).told(), (-32031, "SCOPE_INSUFFICIENT", None));
    assert!(call(Some("fleet"), "list_runners", json!([])).await.json()["result"].is_array());
    let answer = call(Some("jobs"), "list_runners", json!([])).await.json();
    assert_eq!(answer["error"]["code"], -32031);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_nobody_up() {
    use tokio::io::AsyncWriteExt as _;

    let cluster = Cluster::start().await;
    let address = cluster.address();
    // Clients that begin a request and never end it, and one that asks much and reads nothing.
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
            .await
            .unwrap();
        slow.push(stream);
    }
    let big = json!(["\"x\".pad(400000, \"y\"); let s = \"\"; s.pad(400000, \"y\"); s", "OSIS"]);
    let mut deaf = tokio::net::TcpStream::connect(&address).await.unwrap();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "run_job", "params": big }).to_string();
    for _ in 0..20 {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        deaf.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
    for client in cluster.clients().await {
        assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    }
    let fresh = Client::ws(&address).await;
    assert_eq!(fresh.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    drop((slow, deaf));
    cluster.stop().await;
}
