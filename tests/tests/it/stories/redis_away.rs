//! Redis, in every way in which it can be away, while callers go on calling.

use std::{sync::Arc, time::Duration};

use hero_redis::RedisConfig;
use hero_runner::RunnerConfig;
use hero_testing::{Certificates, Failover, RedisServer, free_port};
use serde_json::json;
use tokio::time::Instant;

use super::outages::{started, while_there};
use crate::{
    cluster::{Cluster, Shape, until},
    load::{Load, Rotation},
    proxy::Proxy,
};

/// Longer than a runner's lease.
const FREEZE: Duration = Duration::from_secs(20);

fn rotation(cluster: &Cluster) -> Rotation {
    let rotation = Rotation::default();
    cluster.gateways.iter().for_each(|gateway| rotation.add(&gateway.address("http")));
    rotation
}

/// Waits until callers have run so many more jobs.
async fn go_on(load: &Load, jobs: u64) {
    let goal = load.done() + jobs;
    until("the callers go on", async || (load.done() >= goal).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_frozen_for_longer_than_a_lease_and_no_job_runs_twice() {
    let cluster = Cluster::start().await;
    let client = Arc::new(cluster.http());
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;
    let waiting = tokio::spawn({
        let (client, id) = (Arc::clone(&client), id.clone());
        async move {
            loop {
                match client.try_call("wait_job", json!({ "job_id": id, "timeout": 60 })).await {
                    Err(failure) if failure.code == -32041 => {}
                    answer => return answer.unwrap(),
                }
            }
        }
    });

    cluster.redis.freeze().unwrap();
    let frozen = Instant::now();
    while frozen.elapsed() < FREEZE {
        let begun = Instant::now();
        let failure = client.failure("create_job", json!([{ "script": "1", "script_type": "OSIS" }])).await;
        assert_eq!(failure.code, -32041, "{failure:?}");
        assert!(begun.elapsed() < Duration::from_secs(8), "it fails fast: {:?}", begun.elapsed());
    }
    cluster.redis.thaw().unwrap();

    until("calls are served again", async || client.try_call("get_job", json!([id])).await.ok()).await;
    drop(gate);
    let job = waiting.await.unwrap();
    assert_eq!((&job["status"], &job["output"]), (&json!("Finished"), &json!("done\n")), "{job}");
    assert_eq!(job["attempt"], 1, "its runner was alive all the time: {job}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_scripts_forgotten_under_load() {
    let cluster = Cluster::with(Shape { runners: 2, ..Shape::default() }).await;
    let load = Load::start(&rotation(&cluster), 8);
    for round in 0..20 {
        go_on(&load, 20).await;
        let mut hurt = redis::cmd(if round % 2 == 0 { "CLIENT" } else { "FUNCTION" });
        if round % 2 == 0 {
            hurt.arg("KILL").arg("TYPE").arg("normal")
        } else {
            hurt.arg("FLUSH")
        };
        hurt.exec(&mut cluster.redis.connection().unwrap()).unwrap();
    }
    go_on(&load, 20).await;
    load.finish().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost_after_the_command_was_done() {
    fn quick_lease(config: &mut RunnerConfig) {
        // What a lost answer claimed comes back after two renewals.
        config.lease_ms = 3_000;
    }
    let redis = RedisServer::start().unwrap();
    let proxy = Proxy::before(&redis.url());
    let way = RedisConfig::at(proxy.url().parse().unwrap());
    let shape = Shape { runners: 2, runner: quick_lease, ..Shape::default() };
    let cluster = Cluster::over(redis, way, shape).await;
    let load = Load::start(&rotation(&cluster), 8);
    go_on(&load, 50).await;
    proxy.lose_every(40);
    until("answers are lost", async || (proxy.lost() >= 30).then_some(())).await;
    proxy.lose_every(0);
    go_on(&load, 50).await;
    load.finish().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_lead_nowhere_are_given_up_and_no_lane_stands_still() {
    let redis = RedisServer::start().unwrap();
    let proxy = Proxy::before(&redis.url());
    let way = RedisConfig::at(proxy.url().parse().unwrap());
    let cluster = Cluster::over(redis, way, Shape { runners: 2, ..Shape::default() }).await;
    let load = Load::start(&rotation(&cluster), 8);
    for _ in 0..2 {
        go_on(&load, 50).await;
        proxy.lead_nowhere();
    }
    go_on(&load, 50).await;
    load.finish().await;
    // The waits for work lead nowhere too, and a job that comes later is taken all the same.
    proxy.lead_nowhere();
    let rotation = rotation(&cluster);
    let run = json!({ "script": "40 + 2", "script_type": "OSIS", "timeout": 60, "idempotency_key": "late" });
    assert_eq!(rotation.call("run_job", run).await.unwrap(), "42");
    cluster.ready().await;
    cluster.stop().await;
}

/// Sets how many bytes Redis may use beyond what it uses now; none: not even those.
fn leave_room(redis: &RedisServer, bytes: Option<u64>) {
    let mut connection = redis.connection().unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query(&mut connection).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok());
    let most = bytes.map_or(1, |bytes| used.unwrap() + bytes);
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(most).exec(&mut connection).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_full_and_what_runs_ends_and_everything_goes_on_when_there_is_room() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let talker = client.submit(while_there(gate.path())).await;
    let mut silent = while_there(gate.path());
    silent["script"] = json!(silent["script"].as_str().unwrap().replace("print('done')", "pass"));
    let silent = client.submit(silent).await;
    let stopped =
        client.submit(json!({ "script": "import time; time.sleep(600)", "script_type": "Python" })).await;
    for id in [&talker, &silent, &stopped] {
        started(&client, id).await;
    }

    leave_room(&cluster.redis, Some(8 << 20));
    let large = json!({ "script": format!("// {}\n1", "x".repeat(1_000_000)), "script_type": "OSIS" });
    let mut kept = Vec::new();
    let full = loop {
        match client.try_call("create_job", json!([large])).await {
            Ok(id) => kept.push(id),
            Err(failure) => break failure,
        }
        assert!(kept.len() < 100, "it never fills");
    };
    assert_eq!((full.code, full.told().1), (-32040, "STORE_FULL"), "{full:?}");
    assert!(full.data["retry_after_ms"].as_u64().is_some(), "{full:?}");
    for (method, params) in [
        ("run_job", json!([large["script"], "OSIS"])),
        ("submit_job", json!({ "job": large })),
        ("submit_jobs", json!({ "jobs": [large] })),
    ] {
        assert_eq!(client.failure(method, params).await.told(), full.told(), "{method}");
    }

    // Now not even a byte: what is there can be read, stopped, and comes to its end.
    leave_room(&cluster.redis, None);
    assert_eq!(client.call("get_job_status", json!([kept[0]])).await, "Dispatched");
    client.call("stop_job", json!([stopped])).await;
    assert_eq!(client.wait(&stopped).await["error_kind"], "stopped");
    drop(gate);
    assert_eq!(client.wait(&silent).await["status"], "Finished");

    // The end of one that has something to say waits for its words, and they for room.
    assert_eq!(client.call("get_job_status", json!([talker])).await, "Started");
    for id in kept.drain(..3) {
        client.call("delete_job", json!([id])).await;
    }
    leave_room(&cluster.redis, Some(4 << 20));
    let job = client.wait(&talker).await;
    assert_eq!((&job["output"], &job["attempt"]), (&json!("done\n"), &json!(1)), "{job}");
    assert_eq!(client.call("get_job_logs", json!([talker])).await["logs"], "done\n");
    until("new jobs are taken", async || client.try_call("create_job", json!([large])).await.ok()).await;
    assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_makes_the_replica_the_primary_and_callers_go_on() {
    let mut servers = Failover::start().unwrap();
    let way = RedisConfig::at(servers.url().parse().unwrap());
    let unused = RedisServer::start().unwrap();
    let cluster = Cluster::over(unused, way, Shape::default()).await;
    let load = Load::start(&rotation(&cluster), 4);
    go_on(&load, 20).await;
    let client = cluster.http();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let id = client.submit(while_there(gate.path())).await;
    started(&client, &id).await;
    tokio::task::block_in_place(|| {
        servers.replicate().unwrap();
        servers.primary.kill();
    });
    go_on(&load, 50).await;
    drop(gate);
    let job = until("the job of before has ended", async || {
        let job = client.try_call("get_job", json!([id])).await.ok()?;
        (job["status"] == "Finished").then_some(job)
    })
    .await;
    assert_eq!((&job["output"], &job["attempt"]), (&json!("done\n"), &json!(1)), "{job}");
    load.finish().await;
    let role: Vec<redis::Value> =
        redis::cmd("ROLE").query(&mut servers.replica.connection().unwrap()).unwrap();
    assert_eq!(role[0], redis::Value::BulkString(b"master".to_vec()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_over_tls_and_a_stranger_is_not_trusted() {
    let certificates = Certificates::make().unwrap();
    let port = free_port().unwrap();
    let path = |path: std::path::PathBuf| path.display().to_string();
    let redis = RedisServer::start_with(&[
        "--save",
        "",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path(certificates.certificate()),
        "--tls-key-file",
        &path(certificates.key()),
        "--tls-ca-cert-file",
        &path(certificates.authority()),
    ])
    .unwrap();
    // The server asks for a certificate too.
    let way = RedisConfig {
        ca_file: certificates.authority(),
        cert_file: certificates.certificate(),
        key_file: certificates.key(),
        ..RedisConfig::at(format!("rediss://localhost:{port}").parse().unwrap())
    };
    let strangers = Certificates::make().unwrap();
    let astray = RedisConfig { ca_file: strangers.authority(), ..way.clone() };
    let cluster = Cluster::over(redis, way, Shape::default()).await;
    assert_eq!(cluster.http().call("run_job", json!(["40 + 2", "OSIS"])).await, "42");

    let link = hero_redis::Link::open(&astray).unwrap();
    let error = link.call::<String>(&redis::cmd("PING")).await.unwrap_err();
    assert!(error.is_away(), "{error}");
    cluster.stop().await;
}
