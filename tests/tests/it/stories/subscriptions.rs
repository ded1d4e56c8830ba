//! What is told without being asked again: what happens to jobs, and what comes into their logs.

use hero_runtime::Address;
use jsonrpsee::{
    core::client::{Error, Subscription, SubscriptionClientT as _},
    ws_client::{HeaderMap, HeaderValue, WsClient, WsClientBuilder},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Failure, Given, request},
    cluster::{Cluster, PATIENCE, Shape, until},
    wallet::Wallet,
};

const JOB: (&str, &str) = ("subscribe_job", "unsubscribe_job");
const JOBS: (&str, &str) = ("subscribe_jobs", "unsubscribe_jobs");
const LOGS: (&str, &str) = ("subscribe_logs", "unsubscribe_logs");

/// A subscriber at a path of the gateway, with a secret or none.
async fn subscriber(cluster: &Cluster, path: &str, secret: &str) -> WsClient {
    let mut headers = HeaderMap::new();
    if !secret.is_empty() {
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {secret}")).unwrap());
    }
    let url = format!("ws://{}/{path}", cluster.address());
    WsClientBuilder::default().set_headers(headers).build(url).await.unwrap()
}

async fn open(client: &WsClient, (on, off): (&str, &str), params: Value) -> Subscription<Value> {
    client.subscribe(on, Given(params), off).await.unwrap_or_else(|error| panic!("{on}: {error}"))
}

async fn refused(client: &WsClient, (on, off): (&str, &str), params: Value) -> Failure {
    match client.subscribe::<Value, _>(on, Given(params), off).await {
        Err(Error::Call(error)) => error.into(),
        other => panic!("{on}: {other:?}"),
    }
}

async fn next(feed: &mut Subscription<Value>) -> Value {
    let news = tokio::time::timeout(PATIENCE, feed.next()).await.expect("something comes");
    news.expect("the subscription goes on").expect("JSON")
}

/// The names of the events until this one, and the last of them.
async fn events_until(feed: &mut Subscription<Value>, last: &str) -> (Vec<String>, Value) {
    let mut names = Vec::new();
    loop {
        let news = next(feed).await;
        names.push(news["event"].as_str().unwrap().to_owned());
        if news["event"] == last {
            return (names, news);
        }
    }
}

/// The lines until there are so many, and the last news.
async fn lines(feed: &mut Subscription<Value>, count: usize) -> (Vec<String>, Value) {
    let mut lines = Vec::new();
    loop {
        let news = next(feed).await;
        let text = |line: &Value| line["text"].as_str().unwrap().to_owned();
        lines.extend(news["lines"].as_array().unwrap().iter().map(text));
        if lines.len() >= count {
            return (lines, news);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_a_job_from_where_it_is_to_its_end() {
    let cluster = Cluster::start().await;
    let (caller, ws) = (cluster.http(), subscriber(&cluster, "", "").await);
    let id = caller.text("create_job", json!([{"script": "40 + 2", "script_type": "OSIS"}])).await;
    let mut feed = open(&ws, JOB, json!([id])).await;
    let first = next(&mut feed).await;
    assert_eq!((&first["event"], &first["status"]), (&json!("current"), &json!("Dispatched")));
    caller.call("start_job", json!([id])).await;
    let (names, last) = events_until(&mut feed, "finished").await;
    assert_eq!(names, ["queued", "started", "finished"]);
    assert_eq!(
        (&last["job_id"], &last["status"], &last["attempt"]),
        (&json!(id), &json!("Finished"), &json!(1))
    );
    // Whoever was away meanwhile goes on where it was.
    let mut again = open(&ws, JOB, json!({"job_id": id, "from": first["event_id"]})).await;
    assert_eq!(events_until(&mut again, "finished").await.0, ["queued", "started", "finished"]);
    // Of a job that has ended there is that to say, and no more.
    let mut ended = open(&ws, JOB, json!([id])).await;
    assert_eq!(next(&mut ended).await["status"], "Finished");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_line_by_line_until_its_job_ends() {
    let cluster = Cluster::start().await;
    let (caller, ws) = (cluster.http(), subscriber(&cluster, "", "").await);
    let script = "print('one', flush=True)\nprint('two', flush=True)\nimport time\ntime.sleep(600)";
    let id = caller.submit(json!({"script": script, "script_type": "Python"})).await;
    let mut feed = open(&ws, LOGS, json!([id])).await;
    let (found, news) = lines(&mut feed, 2).await;
    assert_eq!((found, &news["ended"]), (vec!["one".to_owned(), "two".to_owned()], &Value::Null));
    assert_eq!(caller.call("get_job_status", json!([id])).await, "Started", "the lines came while it runs");
    // A second reader gets all from the beginning; a third one what comes after a place.
    let mut late = open(&ws, LOGS, json!({"job_id": id})).await;
    assert_eq!(lines(&mut late, 2).await.0.len(), 2);
    let mut after = open(&ws, LOGS, json!([id, news["place"]])).await;
    caller.call("stop_job", json!([id])).await;
    for feed in [&mut feed, &mut late, &mut after] {
        let news = events_end(feed).await;
        assert_eq!((&news["ended"], news["lines"].as_array().unwrap().len()), (&json!("Error"), 0), "{news}");
    }
    cluster.stop().await;
}

async fn events_end(feed: &mut Subscription<Value>) -> Value {
    loop {
        let news = next(feed).await;
        if !news["ended"].is_null() {
            return news;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_what_it_may_see_and_has_asked_for() {
    let cluster = Cluster::with(Shape {
        supervisor: |config| {
            config.secrets.admin = vec!["admin-secret".into()];
            config.circles = vec![Wallet::of(1).pubkey(), Wallet::of(2).pubkey()];
        },
        ..Shape::default()
    })
    .await;
    let root = subscriber(&cluster, "", "admin-secret").await;
    let inside = subscriber(&cluster, &Wallet::of(1).pubkey(), "admin-secret").await;
    let finished = json!([{"status": "Finished", "script_type": "OSIS"}]);
    let (mut ended, mut own) = (open(&root, JOBS, finished).await, open(&inside, JOBS, json!([])).await);

    let post = async |path: &str, method: &str, params: Value| {
        let url = format!("http://{}/{path}", cluster.address());
        let headers = [("content-type", "application/json"), ("authorization", "Bearer admin-secret")];
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        request("POST", &url, &headers, body.to_string()).await.unwrap().json()
    };
    let job = json!([{"script": "1", "script_type": "OSIS"}]);
    let others = post(&Wallet::of(2).pubkey(), "create_job", job.clone()).await["result"].clone();
    let theirs = post(&Wallet::of(1).pubkey(), "create_job", job.clone()).await["result"].clone();
    assert_eq!(post("", "run_job", json!(["7", "OSIS"])).await["result"], "7");

    let first = next(&mut own).await;
    assert_eq!((&first["event"], &first["job_id"]), (&json!("created"), &theirs), "{first}");
    let only = next(&mut ended).await;
    assert_eq!((&only["event"], &only["context_id"]), (&json!("finished"), &json!("default")), "{only}");
    for (place, params) in [(JOB, json!([others])), (LOGS, json!([others]))] {
        assert_eq!(refused(&inside, place, params).await.told().1, "JOB_NOT_FOUND");
    }
    let elsewhere = json!([{"context_id": Wallet::of(2).pubkey()}]);
    let mut nothing = open(&inside, JOBS, elsewhere).await;
    post(&Wallet::of(2).pubkey(), "create_job", job.clone()).await;
    post(&Wallet::of(1).pubkey(), "create_job", job).await;
    assert_eq!(next(&mut own).await["event"], "created");
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), nothing.next()).await;
    assert!(early.is_err(), "{early:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_subscribed_to_is_refused_by_name() {
    let cluster = Cluster::with(Shape {
        runners: 0,
        gateway: |config| config.limits.max_subscriptions_per_connection = 2,
        ..Shape::default()
    })
    .await;
    let (http, ws) = (cluster.http(), subscriber(&cluster, "", "").await);
    let id = http.text("create_job", json!([{"script": "1", "script_type": "OSIS"}])).await;
    assert_eq!(http.failure("subscribe_job", json!([id])).await.told().1, "WEBSOCKET_REQUIRED");
    let unknown = json!([hero_domain::JobId::mint()]);
    assert_eq!(refused(&ws, JOB, unknown.clone()).await.told().1, "JOB_NOT_FOUND");
    assert_eq!(refused(&ws, LOGS, unknown).await.told().1, "JOB_NOT_FOUND");
    for (place, params, field) in [
        (JOB, json!([id, "yesterday"]), "from"),
        (JOB, json!([id, "1-0"]), "from"),
        (LOGS, json!([id, "yesterday"]), "from"),
        (JOBS, json!([{"limit": 3}]), "filter.limit"),
        (JOBS, json!([{"status": "Burnt"}]), "filter.status"),
        (JOB, json!(["x"]), "job_id"),
    ] {
        let failure = refused(&ws, place, params.clone()).await;
        assert_eq!(failure.told().2, Some(field), "{params}: {failure:?}");
    }
    let (first, _second) = (open(&ws, JOB, json!([id])).await, open(&ws, JOBS, json!([])).await);
    assert_eq!(refused(&ws, JOB, json!([id])).await.told().1, "TOO_MANY_REQUESTS");
    first.unsubscribe().await.unwrap();
    // The place is free once the end of the first has been taken up, which is not answered for.
    let _third = until("a place is free", async || {
        ws.subscribe::<Value, _>(JOB.0, Given(json!([id])), JOB.1).await.ok()
    })
    .await;
    let caller = Client::Ws(ws);
    for params in [json!([4_711]), json!({"subscription": 4_711}), json!(["none"])] {
        assert_eq!(caller.call("unsubscribe_job", params).await, false);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_go_on_when_the_supervisor_is_replaced() {
    let mut cluster = Cluster::start().await;
    let ws = subscriber(&cluster, "", "").await;
    let id = cluster
        .http()
        .text("create_job", json!([{"script": "print(\"hello\")", "script_type": "OSIS"}]))
        .await;
    let (mut job, mut log) = (open(&ws, JOB, json!([id])).await, open(&ws, LOGS, json!([id])).await);
    assert_eq!(next(&mut job).await["event"], "current");
    let listen: Address = cluster.supervisors[0].addresses.get("grpc").unwrap().clone();
    cluster.supervisors.remove(0).stop().await;
    let supervisor = cluster.supervisor(listen).await;
    supervisor.ready().await;
    cluster.supervisors.push(supervisor);
    cluster.http().call("start_job", json!([id])).await;
    assert_eq!(events_until(&mut job, "finished").await.0, ["queued", "started", "finished"]);
    assert_eq!(lines(&mut log, 1).await.0, ["hello"]);
    cluster.stop().await;
}
