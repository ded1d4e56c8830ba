//! The client library, against a real node.

use std::{collections::BTreeSet, time::Duration};

use hero_client::{
    BusRequest, CircleLimits, Client, ErrorKind, Filter, JobStatus, METHODS, NewJob, NewSchedule, NodeFilter,
    Options, Reason, RunJob, Scope, ScriptType,
};
use hero_runtime::Address;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Shape};

fn client(address: &str) -> Client {
    Client::builder(address).secret("user123").build().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_finds_its_way_over_http_websocket_and_sockets() {
    let secrets: Shape =
        Shape { supervisor: |config| config.secrets.user = vec!["user123".into()], ..Shape::default() };
    let cluster = Cluster::with(secrets).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hero.sock");
    let supervisor = cluster.supervisors[0].addresses.get("grpc").expect("it serves gRPC").clone();
    let on_unix = cluster.gateway_at(Address::Unix(path.clone()), &supervisor).await;
    on_unix.ready().await;

    let tcp = cluster.address();
    let ways = [
        format!("http://{tcp}"),
        format!("ws://{tcp}"),
        format!("tcp://{tcp}"),
        format!("unix://{}", path.display()),
    ];
    for way in &ways {
        let client = client(way);
        assert_eq!(client.whoami().await.expect(way), "user (user)", "{way}");
        let output = client.run_job(&RunJob::new(ScriptType::Osis, "40 + 2")).await.expect(way);
        assert_eq!(output, "42", "{way}");
        let wrong = Client::builder(way).secret("wrong").build().expect("an address");
        let error = wrong.whoami().await.expect_err("a wrong secret is let in");
        if way.starts_with("http") {
            assert_eq!(error.reason(), Some(hero_domain::Reason::AuthenticationRequired), "{error}");
        }
    }
    on_unix.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_knows_what_the_node_answers() {
    let cluster = Cluster::start().await;
    let client = Client::builder(format!("ws://{}", cluster.address())).build().expect("an address");

    let created =
        client.create_job(&NewJob::new(ScriptType::Osis, "print(\"told\"); 1")).await.expect("created");
    assert!(client.start_job(created).await.expect("started"));
    let job = client.wait_job(created, Some(Duration::from_secs(30))).await.expect("ended");
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("1")));
    assert_eq!(client.get_job(created).await.expect("there"), job);
    assert_eq!(client.get_job_status(created).await.expect("there"), JobStatus::Finished);
    assert_eq!(client.get_job_output(created).await.expect("there"), "1");
    assert_eq!(client.get_job_logs(created).await.expect("there").as_deref(), Some("told\n"));
    assert_eq!(client.explain_job(created).await.expect("there").reasons, ["it has finished"]);
    assert_eq!(client.list_jobs(&Filter::default()).await.expect("a page"), [created]);

    let two = [NewJob::new(ScriptType::Osis, "throw \"no\""), NewJob::new(ScriptType::Osis, "2")];
    let ids = client.submit_jobs(&two).await.expect("submitted");
    let failed = client.wait_job(ids[0], None).await.expect("ended");
    assert_eq!(failed.error_kind, Some(ErrorKind::ScriptFailed));
    let told = client.get_job_output(ids[0]).await.expect_err("it failed");
    assert_eq!(told.call().map(|error| (error.code, error.job_id())), Some((-32050, Some(ids[0]))));
    client.retry_job(ids[0]).await.expect("again");
    client.wait_job(ids[0], None).await.expect("ended");
    let of_errors = Filter { status: Some(JobStatus::Error), ..Filter::default() };
    assert_eq!(client.retry_jobs(&of_errors).await.expect("again"), [ids[0]]);
    client.wait_job(ids[0], None).await.expect("ended");
    client.stop_job(ids[1]).await.expect("an ended one is left as it is");

    let runners = client.list_runners().await.expect("runners");
    assert_eq!(client.get_runner(&runners[0].id).await.expect("there").id, runners[0].id);
    client.drain_runner(&runners[0].id, true).await.expect("told");
    client.drain_runner(&runners[0].id, false).await.expect("told");
    let alive = client.remove_runner(&runners[0].id).await.expect_err("it lives");
    assert_eq!(alive.reason(), Some(Reason::RunnerAlive));

    let nightly = NewSchedule::new("0 4 * * *", NewJob::new(ScriptType::Osis, "3"));
    let schedule = client.create_schedule(&nightly).await.expect("stored");
    assert!(client.pause_schedule(schedule.id, true).await.expect("paused").paused);
    assert_eq!(client.get_schedule(schedule.id).await.expect("there").id, schedule.id);
    assert_eq!(client.list_schedules().await.expect("one").len(), 1);
    let started = client.run_schedule(schedule.id).await.expect("started");
    client.wait_job(started, None).await.expect("ended");
    client.delete_schedule(schedule.id).await.expect("gone");

    let circle = format!("02{}", "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let limits = CircleLimits { max_timeout_s: Some(60), max_running: Some(8) };
    assert_eq!(client.add_circle(&circle, &[], limits).await.expect("served").limits, limits);
    assert_eq!(client.list_circles().await.expect("one").len(), 1);
    let key = client.create_key("ci", Scope::User, Some(&circle)).await.expect("made");
    assert_eq!(client.list_keys().await.expect("one"), std::slice::from_ref(&key.key));
    let other = client.rotate_key("ci").await.expect("another");
    assert!(other.key.circle == key.key.circle && other.secret.expose() != key.secret.expose());
    client.remove_key("ci").await.expect("gone");
    let audit = client.list_audit(Some(10)).await.expect("a record");
    assert!(audit.iter().any(|entry| entry.action == "rotate_key" && entry.subject == "ci"), "{audit:?}");
    client.remove_circle(&circle).await.expect("gone");
    let away = client.list_nodes(&NodeFilter::default()).await.expect_err("there is no explorer");
    assert_eq!(away.reason(), Some(Reason::UpstreamUnavailable));
    let away = client.bus_send(&BusRequest::new(vec![7], "echo", "x")).await.expect_err("there is no relay");
    assert_eq!(away.reason(), Some(Reason::UpstreamUnavailable));
    let away = client.mycelium_status(None).await.expect_err("there is no bridge");
    assert!(away.to_string().contains("mycelium_bridge"), "{away}");
    assert_eq!(client.discover().await.expect("a document")["info"]["title"], "Hero");
    assert_eq!(client.get_job_output_part(started, 0, 1).await.expect("there"), "3");
    assert_eq!(client.get_job_output_part(started, 1, 1).await.expect("there"), "");

    client.delete_job(created).await.expect("gone");
    let gone = client.get_job(created).await.expect_err("gone");
    assert_eq!(gone.reason(), Some(Reason::JobNotFound));
    client.clear_all_jobs().await.expect("cleared");
    assert!(client.list_jobs(&Filter::default()).await.expect("a page").is_empty());

    let options = Options { wait_timeout: Duration::from_millis(200), ..Options::default() };
    let hasty = Client::builder(format!("http://{}", cluster.address())).options(options).build();
    let late = hasty.expect("an address").play("1").await.expect_err("nobody serves SAL here");
    assert!(matches!(late, hero_client::Error::Timeout { .. }), "{late}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_shows_of_a_job_is_all_that_the_node_tells() {
    let cluster = Cluster::start().await;
    let client = Client::builder(format!("http://{}", cluster.address())).build().expect("an address");
    let id = client.submit_job(&NewJob::new(ScriptType::Osis, "1")).await.expect("submitted");
    client.wait_job(id, None).await.expect("ended");
    let told: Value = client.call("get_job", json!({ "job_id": id })).await.expect("there");
    let shown = serde_json::to_value(client.get_job(id).await.expect("there")).expect("JSON");
    assert_eq!(told, shown);
    let told: Value = client.call("list_runners", json!({})).await.expect("there");
    let names: BTreeSet<&String> = told[0].as_object().expect("a runner").keys().collect();
    let shown = serde_json::to_value(client.list_runners().await.expect("there")).expect("JSON");
    assert_eq!(names, shown[0].as_object().expect("a runner").keys().collect());
    for name in METHODS {
        assert!(hero_jsonrpc::method(name).is_some(), "{name} is no method of the table");
    }
    cluster.stop().await;
}
