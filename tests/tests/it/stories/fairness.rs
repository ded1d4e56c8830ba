//! One caller and the others; and jobs that nobody can run.

use hero_domain::ScriptType;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::Address;
use serde_json::{Value, json};

use crate::{
    client::{Client, get},
    cluster::{Cluster, Member, Shape, until},
};

const FOREVER: &str = "import time\ntime.sleep(600)";

async fn reasons(client: &Client, id: &str) -> String {
    client.call("explain_job", json!([id])).await["reasons"].to_string()
}

/// Not one of the thousands ends, and yet the one is run at once.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_jobs_of_one_context_do_not_stand_before_the_one_of_another() {
    let cluster = Cluster::with(Shape {
        supervisor: |config| {
            config.jobs.max_running_per_context = 2;
            config.upkeep.check_interval_ms = 200;
        },
        runner: |config| config.python.slots = 3,
        ..Shape::default()
    })
    .await;
    let client = cluster.http();
    until("the runner has heard of the limit", || async {
        let runners = client.call("list_runners", json!([])).await;
        (runners[0]["max_running_per_context"] == 2).then_some(())
    })
    .await;
    let job = json!({ "script": FOREVER, "script_type": "Python", "context_id": "greedy", "timeout": 600 });
    let mut last = Value::Null;
    for _ in 0..5 {
        let ids = client.call("submit_jobs", json!([vec![job.clone(); 1_000]])).await;
        last = ids[999].clone();
    }
    let last = last.as_str().expect("an id");
    for _ in 0..3 {
        assert_eq!(client.call("run_job", json!(["print(1)", "Python"])).await, "1\n");
    }
    let words =
        "parked: context greedy runs 2 of 2 jobs at once, and 4997 of its jobs are parked before this one";
    until("the last one is parked", || async { reasons(&client, last).await.contains(words).then_some(()) })
        .await;
    let metrics = format!("{}/metrics", cluster.supervisors[0].admin);
    until("the metric counts them", || async {
        let page = get(&metrics).await.expect("the admin port answers");
        page.text
            .lines()
            .any(|line| line.starts_with("hero_job_parked") && line.ends_with(" 4998"))
            .then_some(())
    })
    .await;
    // One that ends lets the next one out.
    let running = client.call("list_jobs", json!([{ "status": "Started" }])).await;
    client.call("stop_job", json!([running[0]])).await;
    until("another one runs", || async {
        let now = client.call("list_jobs", json!([{ "status": "Started" }])).await;
        let is_new = |id: &&Value| !running.as_array().is_some_and(|before| before.contains(id));
        now.as_array()?.iter().find(is_new).map(|_| ())
    })
    .await;
    client.call("clear_all_jobs", json!([])).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_serves_says_so_and_waits_until_somebody_does() {
    let mut cluster = Cluster::with(Shape {
        runner: |config| {
            config.script_types = vec![ScriptType::Osis, ScriptType::V];
            config.osis.slots = 5;
            config.v.compiler = "/nowhere/v".into();
        },
        ..Shape::default()
    })
    .await;
    let client = cluster.http();
    let runner = client.call("list_runners", json!([])).await[0].clone();
    assert_eq!(runner["slots_by_type"], json!({ "OSIS": 5 }));
    assert!(runner["not_offered"]["V"].as_str().is_some_and(|why| why.contains("/nowhere/v")), "{runner}");

    let job = json!({ "script": "fn main() {}", "script_type": "V" });
    let told = client.call("submit_job", json!({ "job": job, "explain": true })).await;
    assert_eq!(told["reasons"], json!(["no runner serves type V here", "it is the next one of its queue"]));
    let job = client.call("get_job", json!([told["job_id"]])).await;
    assert!(job["note"].as_str().is_some_and(|note| note.contains("no runner serves type V here")), "{job}");

    let id = client.submit(json!({ "script": "print(6 * 7)", "script_type": "Python" })).await;
    assert!(reasons(&client, &id).await.contains("no runner serves type Python here"));
    let listen = Address::loopback(0);
    let config = RunnerConfig { listen, redis: cluster.way.clone(), ..RunnerConfig::default() };
    cluster.runners.push(Member::start::<Runner>(config).await.expect("a runner starts"));
    let job = client.wait(&id).await;
    assert_eq!((&job["output"], &job["note"]), (&json!("42\n"), &Value::Null), "{job}");
    cluster.stop().await;
}
