//! Things that break, and what is still true afterwards.

use std::{path::Path, time::Duration};

use hero_runner::RunnerConfig;
use hero_runtime::Address;
use hero_supervisor::{Supervisor, SupervisorConfig};
use hero_testing::RedisServer;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    client::{Client, get},
    cluster::{Cluster, Member, Shape, until},
    process::Start,
};

/// A Python script that runs for as long as a file is there.
pub(super) fn while_there(path: &Path) -> Value {
    let script = format!("import os, time\nwhile os.path.exists({path:?}): time.sleep(0.01)\nprint('done')");
    json!({ "script": script, "script_type": "Python" })
}

pub(super) async fn started(client: &Client, id: &str) {
    until("the job runs", async || {
        (client.call("get_job_status", json!([id])).await == "Started").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_comes_back() {
    let mut cluster = Cluster::with(Shape { is_durable: true, ..Shape::default() }).await;
    let clients = cluster.clients().await;
    let id = clients[0].submit(json!({ "script": "1", "script_type": "OSIS" })).await;
    clients[0].wait(&id).await;

    cluster.redis.kill();
    for client in &clients {
        let begun = Instant::now();
        let failure = client.failure("get_job", json!([id])).await;
        assert_eq!((failure.code, failure.told().1), (-32041, "STORE_UNAVAILABLE"), "{failure:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "it fails fast");
    }
    let admin = cluster.supervisors[0].admin.clone();
    until("the supervisor is not ready", async || {
        let answer = get(&format!("{admin}/readyz")).await.ok()?;
        (answer.status == 503 && answer.text.contains("edis")).then_some(())
    })
    .await;
    assert_eq!(get(&format!("{admin}/livez")).await.unwrap().status, 200, "alive all the same");

    cluster.redis.restart().unwrap();
    cluster.ready().await;
    for client in &clients {
        assert_eq!(client.call("get_job_output", json!([id])).await, "1");
        assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_at_the_start_a_supervisor_says_so_and_keeps_trying() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let mut config = SupervisorConfig { listen: Address::loopback(0), ..SupervisorConfig::default() };
    config.redis.url = format!("unix://{}", socket.display()).parse().unwrap();
    let supervisor = Member::start::<Supervisor>(config).await.unwrap();
    let answer = until("it says what it lacks", async || {
        let answer = get(&format!("{}/readyz", supervisor.admin)).await.ok()?;
        answer.text.contains("redis.sock").then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let mut redis = std::process::Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket", socket.to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    supervisor.ready().await;
    supervisor.stop().await;
    redis.kill().unwrap();
    redis.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_would_lose_jobs_is_refused_until_it_is_mended() {
    let cluster = Cluster::start().await;
    let redis =
        RedisServer::start_with(&["--save", "", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"])
            .unwrap();
    let mut config = SupervisorConfig { listen: Address::loopback(0), ..SupervisorConfig::default() };
    config.redis.url = redis.url().parse().unwrap();
    let supervisor = Member::start::<Supervisor>(config).await.unwrap();
    let gateway = cluster.gateway(supervisor.addresses.get("grpc").unwrap()).await;
    let client = Client::http(&gateway.address("http"));
    let failure = until("the supervisor has looked at it", async || {
        let failure =
            client.try_call("create_job", json!([{ "script": "1", "script_type": "OSIS" }])).await.err()?;
        (failure.told().1 == "STORE_UNFIT").then_some(failure)
    })
    .await;
    assert_eq!(failure.code, -32041);
    assert!(failure.message.contains("noeviction"), "{failure:?}");
    let report = get(&format!("{}/readyz", supervisor.admin)).await.unwrap();
    assert!(report.status == 503 && report.text.contains("allkeys-lru"), "{report:?}");

    let mut connection = redis.connection().unwrap();
    let mut mend = redis::cmd("CONFIG");
    mend.arg("SET").arg("maxmemory-policy").arg("noeviction").exec(&mut connection).unwrap();
    supervisor.ready().await;
    client.text("create_job", json!([{ "script": "1", "script_type": "OSIS" }])).await;
    gateway.stop().await;
    supervisor.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_killed_while_a_job_runs() {
    let cluster = Cluster::with(Shape { supervisors: 0, ..Shape::default() }).await;
    let url = cluster.redis.url();
    let start =
        |listen: &str| Start::service("supervisor", &[("REDIS__URL", &url), ("LISTEN", listen)]).run();
    let mut supervisor = start("tcp://127.0.0.1:0");
    let listen = format!("tcp://{}", supervisor.address("grpc").await);
    let gateway = cluster.gateway(&listen.parse().unwrap()).await;
    gateway.ready().await;
    let client = Client::ws(&gateway.address("http")).await;
    // The gateway is ready when the supervisor is there, which may reach Redis a moment later.
    until("the supervisor answers", async || client.try_call("list_jobs", json!([])).await.ok()).await;
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;

    let ask = json!([id]);
    let (failure, ()) = tokio::join!(client.failure("wait_job", ask.clone()), async {
        // The wait reaches the supervisor before this second call is answered, for both share one connection.
        client.call("get_job_status", ask.clone()).await;
        supervisor.signal(Signal::KILL);
    });
    assert_eq!(failure.code, -32041, "{failure:?}");
    supervisor.exit().await;

    let _supervisor = start(&listen);
    gateway.ready().await;
    let job =
        until("the supervisor answers again", async || client.try_call("get_job", ask.clone()).await.ok())
            .await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("Started"), &json!(1)));
    drop(gate);
    let job = client.wait(&id).await;
    assert_eq!(
        (&job["status"], &job["output"], &job["attempt"]),
        (&json!("Finished"), &json!("done\n"), &json!(1))
    );
    gateway.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_killed_and_nothing_is_lost() {
    let mut cluster = Cluster::start().await;
    let client = cluster.ws().await;
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;
    cluster.gateways.remove(0).crash();
    let gateway = cluster.gateway(cluster.supervisors[0].addresses.get("grpc").unwrap()).await;
    cluster.gateways.push(gateway);
    cluster.ready().await;
    let client = cluster.ws().await;
    drop(gate);
    assert_eq!(client.wait(&id).await["output"], "done\n");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_is_killed_and_its_job_runs_elsewhere_within_15_s() {
    let cluster = Cluster::with(Shape { runners: 0, ..Shape::default() }).await;
    let url = cluster.redis.url();
    let settings = [("REDIS__URL", url.as_str()), ("LISTEN", "tcp://127.0.0.1:0")];
    let mut runner = Start::service("runner", &settings).run();
    let client = cluster.http();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;

    runner.signal(Signal::KILL);
    let killed = Instant::now();
    runner.exit().await;
    drop(gate);
    let _other = Start::service("runner", &settings).run();
    let job = client.wait(&id).await;
    assert_eq!(
        (&job["status"], &job["output"], &job["attempt"]),
        (&json!("Finished"), &json!("done\n"), &json!(2))
    );
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_runners_keep_vanishing_ends_as_runner_lost() {
    let cluster = Cluster::with(Shape { runners: 0, ..Shape::default() }).await;
    let url = cluster.redis.url();
    let settings = [("REDIS__URL", url.as_str()), ("LISTEN", "tcp://127.0.0.1:0"), ("LEASE_MS", "1000")];
    let client = cluster.http();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let mut job = while_there(gate.path());
    job["max_deliveries"] = json!(2);
    let id = client.submit(job).await;
    for attempt in 1..=2 {
        let mut runner = Start::service("runner", &settings).run();
        until("the attempt has begun", async || {
            let job = client.call("get_job", json!([id])).await;
            (job["status"] == "Started" && job["attempt"] == attempt).then_some(())
        })
        .await;
        runner.signal(Signal::KILL);
        runner.exit().await;
    }
    let job = client.wait(&id).await;
    assert_eq!((&job["status"], &job["error_kind"]), (&json!("Error"), &json!("runner_lost")), "{job}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_runner_finishes_what_it_can_and_hands_the_rest_back() {
    fn short_grace(config: &mut RunnerConfig) {
        config.drain.grace_ms = 300;
    }
    let mut cluster = Cluster::with(Shape { runner: short_grace, ..Shape::default() }).await;
    let client = cluster.http();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;
    cluster.runners.remove(0).stop().await;
    let job = client.call("get_job", json!([id])).await;
    assert_eq!((&job["status"], &job["error_kind"]), (&json!("Dispatched"), &Value::Null), "{job}");
    assert_eq!(client.call("list_runners", json!([])).await, json!([]));

    drop(gate);
    let runner = cluster.runner().await;
    cluster.runners.push(runner);
    let job = client.wait(&id).await;
    assert_eq!((&job["output"], &job["attempt"]), (&json!("done\n"), &json!(2)));
    cluster.stop().await;
}
