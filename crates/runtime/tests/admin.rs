//! The admin port over a real socket.

use hero_runtime::{AdminConfig, AdminServer, Context, listen::connect};
use hero_telemetry::{Attributes, metrics, names};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn serve(cx: &Context) -> hero_runtime::Address {
    let server = AdminServer::bind(&AdminConfig::at(0), cx).await.unwrap();
    let address = server.address().clone();
    tokio::spawn(server.serve());
    address
}

/// One request, raw: what a probe or a scraper sends.
async fn ask(address: &hero_runtime::Address, method: &str, path: &str, body: &str) -> String {
    let mut stream = connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn alive_whatever_else_is_missing() {
    let cx = Context::detached();
    cx.health.condition("redis").unready("connection refused");
    let address = serve(&cx).await;
    assert!(ask(&address, "GET", "/livez", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn ready_when_every_condition_holds() {
    let cx = Context::detached();
    let redis = cx.health.condition("redis");
    let address = serve(&cx).await;
    let answer = ask(&address, "GET", "/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(r#""redis":"starting""#), "{answer}");
    redis.unready("connection refused");
    assert!(ask(&address, "GET", "/readyz", "").await.contains("connection refused"));
    redis.ready();
    let answer = ask(&address, "GET", "/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""ready":true"#), "{answer}");
}

#[tokio::test]
async fn metrics_have_the_names_of_the_conventions() {
    let method = Attributes::new(&[(names::RPC_SYSTEM, "jsonrpc"), (names::RPC_METHOD, "run_job")]);
    metrics().rpc_server_duration.record(std::time::Duration::from_millis(3), &method);
    metrics().messages_sent.add(2, &Attributes::none());
    metrics().runner_busy.add(1, &Attributes::none());
    metrics().queue_depth.set(7, &Attributes::new(&[(names::SCRIPT_TYPE, "python")]));
    metrics().swept.add(1, &Attributes::new(&[(names::KIND, "promoted")]));
    let address = serve(&Context::detached()).await;
    let answer = ask(&address, "GET", "/metrics", "").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    for line in [
        r#"rpc_server_call_duration_seconds_bucket{rpc_method="run_job",rpc_system_name="jsonrpc",le="0.005"} 1"#,
        r#"rpc_server_call_duration_seconds_bucket{rpc_method="run_job",rpc_system_name="jsonrpc",le="300"} 1"#,
        "messaging_client_sent_messages_total 2",
        "hero_runner_busy 1",
        r#"hero_job_queue_depth{hero_script_type="python"} 7"#,
        r#"hero_store_swept_total{kind="promoted"} 1"#,
        "process_memory_usage_bytes ",
        "process_unix_file_descriptor_count ",
        "process_thread_count ",
        "process_cpu_time_seconds_total ",
    ] {
        assert!(answer.contains(line), "no `{line}` in\n{answer}");
    }
}

#[tokio::test]
async fn a_log_level_that_cannot_be_set_says_why() {
    let address = serve(&Context::detached()).await;
    let answer = ask(&address, "PUT", "/log-level", "hero=loud").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = ask(&address, "PUT", "/log-level", &"x".repeat(5_000)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(ask(&address, "GET", "/nothing", "").await.starts_with("HTTP/1.1 404"));
}
