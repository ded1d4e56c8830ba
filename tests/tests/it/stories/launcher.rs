//! A whole node as the process that a person starts.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    client::{Client, get, post},
    cluster::until,
    process::{Process, Start},
};

const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// A launcher on free ports.
fn start() -> Start {
    Start::service("launcher", &[("PORT", "0")])
}

/// A launcher with a Redis of its own in this folder, on free ports.
fn node(folder: &Path, args: &[&str]) -> Process {
    let folder = folder.to_str().expect("a folder's name is text");
    start().args(&["--private-redis", "--data-dir", folder]).args(args).run()
}

/// Where it serves, once it says that it is ready.
async fn address(node: &mut Process) -> String {
    node.says("is ready").await;
    let line = node.says("JSON-RPC").await;
    let (_, address) = line.split_once("http://").unwrap_or_else(|| panic!("{line}"));
    address.split(' ').next().expect("an address").to_owned()
}

async fn stop(mut node: Process, signal: Signal) {
    node.signal(signal);
    let status = node.exit().await;
    assert_eq!(status.code(), Some(0), "{}", node.said());
}

/// How a launcher ends that cannot start.
async fn refusal(args: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), args);
    let status = node.exit().await;
    (status.code(), node.said())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_soon_and_the_line_that_it_prints_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &[]);
    let address = address(&mut node).await;
    node.says("Ctrl-C stops the node").await;
    let text = node.said();
    let line: String = text.split_once("Try it:").unwrap().1.split_once("Ctrl-C").unwrap().0.to_owned();
    let output = Command::new("sh").args(["-c", line.trim()]).output().await.unwrap();
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"));
    assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 1, "result": "42" }));
    for client in [Client::http(&address), Client::ws(&address).await] {
        assert_eq!(client.call("run_job", json!(["print(6 * 7)", "Python"])).await, "42\n");
    }
    stop(node, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_are_there_after_a_restart_and_queued_ones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = node(folder.path(), &[]);
    let client = Client::http(&address(&mut first).await);
    let finished = client.submit(json!({ "script": "print(\"kept\"); 42", "script_type": "OSIS" })).await;
    client.wait(&finished).await;
    let created = client.text("create_job", json!([{ "script": "43", "script_type": "OSIS" }])).await;
    stop(first, Signal::TERM).await;

    let mut second = node(folder.path(), &[]);
    let client = Client::http(&address(&mut second).await);
    assert_eq!(client.call("list_jobs", json!([])).await, json!([created, finished]));
    assert_eq!(client.call("get_job_output", json!([finished])).await, "42");
    assert_eq!(client.call("get_job_logs", json!([finished])).await, json!({ "logs": "kept\n" }));
    client.call("start_job", json!([created])).await;
    assert_eq!(client.wait(&created).await["output"], "43");
    stop(second, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_its_redis_goes_and_the_next_start_has_the_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = node(folder.path(), &[]);
    let client = Client::http(&address(&mut first).await);
    let id = client.submit(json!({ "script": "42", "script_type": "OSIS" })).await;
    client.wait(&id).await;
    first.signal(Signal::KILL);
    first.exit().await;

    let mut second = node(folder.path(), &[]);
    let client = Client::http(&address(&mut second).await);
    assert_eq!(client.call("get_job_output", json!([id])).await, "42");
    stop(second, Signal::INT).await;
    let lock = std::fs::File::open(folder.path().join("redis.lock")).unwrap();
    lock.try_lock().expect("no redis-server is left on the folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_redis_is_killed_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &[]);
    let client = Client::http(&address(&mut node).await);
    assert_eq!(client.call("run_job", json!(["1", "OSIS"])).await, "1");
    let socket = format!("unix://{}/redis.sock", folder.path().canonicalize().unwrap().display());
    let info: String = {
        let mut redis = redis::Client::open(socket).unwrap().get_connection().unwrap();
        redis::cmd("INFO").arg("server").query(&mut redis).unwrap()
    };
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    node.says("starting it again").await;
    let output =
        until("jobs run again", async || client.try_call("run_job", json!(["40 + 2", "OSIS"])).await.ok())
            .await;
    assert_eq!(output, "42");
    stop(node, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_it_now() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &[]);
    let client = Client::http(&address(&mut node).await);
    let id =
        client.submit(json!({ "script": "import time\ntime.sleep(1000)", "script_type": "Python" })).await;
    until("the job runs", async || {
        (client.call("get_job_status", json!([id])).await == "Started").then_some(())
    })
    .await;
    node.signal(Signal::INT);
    until("it drains", async || post(&client_address(&node), "{}").await.is_err().then_some(())).await;
    node.signal(Signal::INT);
    assert_eq!(node.exit().await.code(), Some(130), "{}", node.said());
}

/// Where it said that it serves.
fn client_address(node: &Process) -> String {
    let said = node.said();
    let (_, address) = said.split_once("http://").expect("it has said where");
    address.split(' ').next().expect("an address").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, said) = refusal(&["--port", &port]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_data_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = node(folder.path(), &[]);
    address(&mut first).await;
    let mut second = node(folder.path(), &[]);
    assert_eq!(second.exit().await.code(), Some(1));
    let said = second.said();
    assert!(said.contains("another launcher") && said.contains("--data-dir"), "{said}");
    stop(first, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_server_it_says_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let mut node = start()
        .args(&["--private-redis", "--data-dir", empty.path().to_str().unwrap()])
        .env("PATH", empty.path().to_str().unwrap())
        .run();
    assert_eq!(node.exit().await.code(), Some(1));
    let said = node.said();
    assert!(
        said.contains("redis-server is not installed") && said.contains("apt-get install redis-server"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn circle_keys_are_checked_and_refused_with_words() {
    let (code, said) = refusal(&["-k", "no-key"]).await;
    assert_eq!(code, Some(64));
    assert!(said.contains("no-key") && said.contains("secp256k1"), "{said}");
    let not_on_curve = format!("02{}5", "0".repeat(63));
    let (code, said) = refusal(&["-k", KEY, "--public-keys", &format!("{KEY},{not_on_curve}")]).await;
    assert!(code == Some(64) && said.contains("not on secp256k1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_named() {
    for (args, words) in [
        (["--enable-auth"].as_slice(), "--admin-secret"),
        (&["--host", "0.0.0.0"], "--insecure-no-auth"),
        (&["--port", "70000"], "70000"),
        (&["--prot", "1"], "--prot"),
    ] {
        let (code, said) = refusal(args).await;
        assert_eq!(code, Some(64), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let mut node = Start::service("launcher", &[("RUNNER__LEASE", "1")]).run();
    assert_eq!(node.exit().await.code(), Some(64));
    assert!(node.said().contains("runner.lease") && node.said().contains("lease_ms"), "{}", node.said());
    let mut node = Start::service("launcher", &[("GATEWAY__DRAIN__GRACE_MS", "1")]).run();
    assert_eq!(node.exit().await.code(), Some(64));
    assert!(node.said().contains("gateway.drain") && node.said().contains("[drain]"), "{}", node.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_redis_is_used_and_waited_for() {
    let redis = hero_testing::RedisServer::start().unwrap();
    let mut node = start().args(&["--redis-url", &redis.url(), "-v"]).run();
    let client = Client::http(&address(&mut node).await);
    assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    stop(node, Signal::INT).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connection().unwrap()).unwrap();
    assert!(!keys.is_empty());

    let nothing = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/redis.sock", nothing.path().display());
    let mut node = start().args(&["--redis-url", &url]).run();
    let line = node.says("not ready yet").await;
    assert!(line.contains("redis"), "{line}");
    stop(node, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_secret_the_line_to_try_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &["--enable-auth", "--admin-secret", "open sesame"]);
    let address = address(&mut node).await;
    node.says("Ctrl-C").await;
    let said = node.said();
    assert!(said.contains("authorization: Bearer") && !said.contains("sesame"), "{said}");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "whoami" }).to_string();
    let answer = post(&address, body).await.unwrap();
    assert!(answer.status == 401 || answer.json()["error"]["code"] == -32030, "{answer:?}");
    stop(node, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_admin_port_tells_of_every_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &[]);
    address(&mut node).await;
    let line = node.says("Admin").await;
    let (_, admin) = line.split_once("http://").unwrap();
    let report = get(&format!("http://{admin}/readyz")).await.unwrap();
    assert_eq!(report.status, 200, "{report:?}");
    for service in ["supervisor/", "gateway/", "runner/"] {
        assert!(report.text.contains(service), "{report:?}");
    }
    stop(node, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_readme_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &[]);
    let address = address(&mut node).await;
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let lines = readme
        .split_once("## Try it")
        .unwrap()
        .1
        .split_once("```sh\n")
        .unwrap()
        .1
        .split_once("```")
        .unwrap()
        .0;
    let script = lines.replace("127.0.0.1:8080", &address);
    let output =
        Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut rest = said.as_str();
    let promised: Vec<&str> =
        lines.lines().filter_map(|line| line.split_once("#=> ")).map(|(_, words)| words).collect();
    assert!(promised.len() >= 10);
    for words in promised {
        let at = rest.find(words).unwrap_or_else(|| panic!("no `{words}` in its place:\n{said}"));
        rest = &rest[at + words.len()..];
    }
    stop(node, Signal::INT).await;
}
