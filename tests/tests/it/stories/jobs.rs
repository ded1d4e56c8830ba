//! What jobs do for a caller, the same over HTTP and over WebSocket.

use serde_json::{Value, json};

use crate::{
    client::{Client, post},
    cluster::{Cluster, Shape, until},
};

fn osis(script: &str) -> Value {
    json!({ "script": script, "script_type": "OSIS" })
}

fn python(script: &str) -> Value {
    json!({ "script": script, "script_type": "Python" })
}

async fn status_is(client: &Client, id: &str, status: &str) {
    until(&format!("{id} is {status}"), async || {
        (client.call("get_job_status", json!([id])).await == json!(status)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_give_the_same_output_over_http_websocket_and_curl() {
    let cluster = Cluster::start().await;
    let scripts = [
        ("OSIS", "40 + 2", "42"),
        ("OSIS", r#""as it is""#, "as it is"),
        ("OSIS", r#"#{ a: [1, 2.5, true, ()] }"#, r#"{"a":[1,2.5,true,null]}"#),
        ("OSIS", "let x = 1;", ""),
        ("Python", "print(6 * 7)", "42\n"),
        ("Python", "import sys; sys.stdout.write('no line end')", "no line end"),
    ];
    for (script_type, script, output) in scripts {
        let named = json!({ "script": script, "script_type": script_type });
        let positional = json!([script, script_type]);
        for client in cluster.clients().await {
            assert_eq!(client.call("run_job", named.clone()).await, output, "{script} over {client}");
            assert_eq!(client.call("run_job", positional.clone()).await, output, "{script} over {client}");
        }
        let body = json!({ "jsonrpc": "2.0", "id": "x", "method": "run_job", "params": positional });
        let answer = post(&cluster.address(), body.to_string()).await.unwrap();
        assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "id": "x", "result": output }));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_knows_who_asked_for_it() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let scripts = [
        ("OSIS", "CALLER_ID + ' ' + CONTEXT_ID + ' ' + JOB_ID".replace('\'', "\"")),
        (
            "Python",
            "import os; e = os.environ\nprint(e['CALLER_ID'], e['CONTEXT_ID'], e['JOB_ID'], end='')"
                .to_owned(),
        ),
    ];
    for (script_type, script) in scripts {
        let job =
            json!({ "script": script, "script_type": script_type, "caller_id": "ann", "context_id": "blue" });
        let id = client.submit(job).await;
        let job = client.wait(&id).await;
        assert_eq!(job["output"], format!("ann blue {id}"), "{job}");
        assert_eq!((&job["caller_id"], &job["context_id"]), (&json!("ann"), &json!("blue")));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_job_waits_until_it_is_started_and_starts_once() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let id = client.text("create_job", json!({ "job": osis("1 + 1") })).await;
        assert_eq!(client.call("get_job_status", json!([id])).await, "Dispatched");
        let job = client.call("get_job", json!([id])).await;
        assert_eq!((&job["queued_at"], &job["attempt"]), (&Value::Null, &json!(0)));
        assert_eq!(
            client.failure("get_job_output", json!([id])).await.told(),
            (-32022, "JOB_HAS_NO_OUTPUT", None)
        );

        assert_eq!(client.call("start_job", json!([id])).await, json!({ "success": true }));
        let job = client.wait(&id).await;
        assert_eq!(
            (&job["status"], &job["output"], &job["attempt"]),
            (&json!("Finished"), &json!("2"), &json!(1))
        );
        assert_eq!(client.call("get_job_output", json!([id])).await, "2");
        assert_eq!(
            client.failure("start_job", json!([id])).await.told(),
            (-32022, "JOB_ALREADY_STARTED", None)
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_three_runs_in_order() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let first = client.text("create_job", json!([osis("1")])).await;
        let after = |id: &str, script: &str| json!({ "script": script, "script_type": "Python", "prerequisites": [id] });
        let second = client.submit(after(&first, "print(2)")).await;
        let third = client.submit(after(&second, "print(3)")).await;
        for id in [&second, &third] {
            assert_eq!(client.call("get_job_status", json!([id])).await, "WaitingForPrerequisites");
        }
        assert_eq!(client.call("get_job", json!([first])).await["dependents"], json!([second]));
        client.call("start_job", json!([first])).await;
        let [first, second, third] =
            [client.wait(&first).await, client.wait(&second).await, client.wait(&third).await];
        for (job, output) in [(&first, "1"), (&second, "2\n"), (&third, "3\n")] {
            assert_eq!((&job["status"], &job["output"]), (&json!("Finished"), &json!(output)));
        }
        let at = |job: &Value, time: &str| job[time].as_str().unwrap().to_owned();
        assert!(at(&first, "finished_at") <= at(&second, "started_at"));
        assert!(at(&second, "finished_at") <= at(&third, "started_at"));
        assert_eq!(first["dependents"], json!([]), "nobody waits for it any more");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_prerequisite_fails_the_whole_chain() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let first = client.text("create_job", json!([osis("throw \"no\"")])).await;
    let second =
        client.submit(json!({ "script": "2", "script_type": "OSIS", "prerequisites": [first] })).await;
    let third =
        client.submit(json!({ "script": "3", "script_type": "OSIS", "prerequisites": [second] })).await;
    client.call("start_job", json!([first])).await;
    for id in [&second, &third] {
        let job = client.wait(id).await;
        assert_eq!(
            (&job["status"], &job["error_kind"]),
            (&json!("Error"), &json!("prerequisite_failed")),
            "{job}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_kills_the_whole_process_tree() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let script = "import subprocess, os, time\n\
                      child = subprocess.Popen(['sleep', '1000'])\n\
                      other = subprocess.Popen(['sh', '-c', 'sleep 1000 & echo $!; wait'], stdout=subprocess.PIPE)\n\
                      print('pids', os.getpid(), child.pid, other.pid, int(other.stdout.readline()), flush=True)\n\
                      time.sleep(1000)";
        let id = client.submit(python(script)).await;
        let logs = until("the script has told its processes", async || {
            let logs = client.call("get_job_logs", json!([id])).await;
            let logs = logs["logs"].as_str()?.to_owned();
            logs.contains("pids").then_some(logs)
        })
        .await;
        let pids: Vec<i32> = logs
            .lines()
            .find_map(|line| line.split_once("pids "))
            .map(|(_, pids)| pids.split(' ').map(|pid| pid.trim().parse().unwrap()).collect())
            .unwrap();
        assert_eq!(pids.len(), 4);
        assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");

        assert_eq!(client.call("stop_job", json!([id])).await, Value::Null);
        let job = client.wait(&id).await;
        assert_eq!((&job["status"], &job["error_kind"]), (&json!("Error"), &json!("stopped")), "{job}");
        until("the whole tree is gone", async || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()))
            .await;
        // A stop of what has ended changes nothing.
        assert_eq!(client.call("stop_job", json!([id])).await, Value::Null);
    }
    cluster.stop().await;
}

/// Whether a process runs; one that is dead and not reaped does not.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_and_an_endless_script_can_be_stopped() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let waiting = client.submit(json!({ "script": "1", "script_type": "V" })).await;
    client.call("stop_job", json!([waiting])).await;
    let job = client.call("get_job", json!([waiting])).await;
    assert_eq!((&job["status"], &job["error_kind"]), (&json!("Error"), &json!("stopped")));

    let endless = client.submit(osis("loop { }")).await;
    status_is(&client, &endless, "Started").await;
    client.call("stop_job", json!([endless])).await;
    let job = client.wait(&endless).await;
    assert_eq!(job["error_kind"], "stopped", "{job}");
    // The runner is free again.
    assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_while_the_script_runs_and_stay_after_it() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let gate = tempfile::NamedTempFile::new().unwrap();
        let path = gate.path().to_owned();
        let script = format!(
            "import os, sys, time\nprint('to stdout', flush=True)\nprint('to stderr', file=sys.stderr, flush=True)\n\
             while os.path.exists({path:?}): time.sleep(0.01)\nprint('the end')"
        );
        let id = client.submit(python(&script)).await;
        until("the running job's log has two lines", async || {
            let logs = client.call("get_job_logs", json!([id])).await;
            let logs = logs["logs"].as_str()?.to_owned();
            (logs.contains("to stdout") && logs.contains("to stderr")).then_some(())
        })
        .await;
        assert_eq!(client.call("get_job_status", json!([id])).await, "Started");
        drop(gate);
        let job = client.wait(&id).await;
        assert_eq!(job["output"], "to stdout\nthe end\n");
        let logs = client.call("get_job_logs", json!([id])).await;
        assert!(logs["logs"].as_str().unwrap().contains("the end"), "{logs}");

        let id = client.submit(osis("print(\"from Rhai\"); 1")).await;
        assert_eq!(client.wait(&id).await["output"], "1");
        assert_eq!(client.call("get_job_logs", json!([id])).await, json!({ "logs": "from Rhai\n" }));
        let id = client.submit(osis("1")).await;
        client.wait(&id).await;
        assert_eq!(client.call("get_job_logs", json!([id])).await, json!({ "logs": null }));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_newest_first_with_filters_and_pages() {
    let cluster = Cluster::start().await;
    for (client, context) in cluster.clients().await.iter().zip(["red", "green"]) {
        let mut ids = Vec::new();
        for number in 0..7 {
            let script_type = if number % 2 == 0 { "OSIS" } else { "Python" };
            let script = if number == 6 { "throw 1" } else { "1" };
            let job = json!({ "script": script, "script_type": script_type, "context_id": context, "caller_id": format!("c{number}") });
            let id = client.submit(job).await;
            client.wait(&id).await;
            ids.insert(0, id);
        }
        let list = async |filter: Value| client.call("list_jobs", json!({ "filter": filter })).await;
        assert_eq!(list(json!({ "context_id": context })).await, json!(ids));
        assert_eq!(
            client.call("list_jobs", json!([])).await.as_array().unwrap()[..7],
            json!(ids).as_array().unwrap()[..]
        );

        let mut pages = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = list(json!({ "context_id": context, "limit": 3, "cursor": cursor })).await;
            let page = page.as_array().unwrap().clone();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            cursor = last.clone();
            pages.extend(page);
        }
        assert_eq!(Value::from(pages), json!(ids));
        assert_eq!(list(json!({ "context_id": context, "status": "Error" })).await, json!([ids[0]]));
        let python = [&ids[1], &ids[3], &ids[5]];
        assert_eq!(list(json!({ "context_id": context, "script_type": "python" })).await, json!(python));
        assert_eq!(list(json!({ "context_id": context, "caller_id": "c2" })).await, json!([ids[4]]));
        assert_eq!(list(json!({ "context_id": "none" })).await, json!([]));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_job_is_gone_and_clear_leaves_nothing() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let id = client.submit(osis("1")).await;
        client.wait(&id).await;
        assert_eq!(client.call("delete_job", json!([id])).await, Value::Null);
        for method in
            ["get_job", "get_job_status", "get_job_output", "get_job_logs", "delete_job", "stop_job"]
        {
            assert_eq!(client.failure(method, json!([id])).await.told().1, "JOB_NOT_FOUND", "{method}");
        }
        let running = client.submit(osis("loop { }")).await;
        status_is(&client, &running, "Started").await;
        client.submit(json!({ "script": "1", "script_type": "SAL" })).await;
        assert_eq!(client.call("clear_all_jobs", json!([])).await, Value::Null);
        assert_eq!(client.call("list_jobs", json!([])).await, json!([]));
        assert_eq!(client.call("run_job", json!(["1", "OSIS"])).await, "1", "the runner has not suffered");
        client.call("clear_all_jobs", json!({})).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_in_one_call_and_many_calls_in_one_batch() {
    let cluster = Cluster::start().await;
    for client in cluster.clients().await {
        let jobs: Vec<Value> = (0..100).map(|number| osis(&format!("{number} * 2"))).collect();
        let ids = client.call("submit_jobs", json!({ "jobs": jobs })).await;
        let ids: Vec<&str> = ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(client.wait(id).await["output"], (number * 2).to_string());
        }
        let answers = client
            .batch(vec![
                ("run_job", json!(["1", "OSIS"])),
                ("get_job", json!(["no id"])),
                ("no_such_method", json!([])),
                ("whoami", json!({})),
            ])
            .await;
        assert_eq!(answers[0], Ok(json!("1")));
        assert_eq!(answers[1].as_ref().unwrap_err().told(), (-32602, "ID_MALFORMED", Some("job_id")));
        assert_eq!(answers[2].as_ref().unwrap_err().code, -32601);
        assert!(answers[3].as_ref().unwrap().as_str().unwrap().contains("admin"));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_told() {
    let cluster = Cluster::with(Shape { runners: 2, ..Shape::default() }).await;
    for client in cluster.clients().await {
        let runners = client.call("list_runners", json!([])).await;
        let runners = runners.as_array().unwrap();
        assert_eq!(runners.len(), 2);
        for runner in runners {
            assert_eq!(runner["state"], "alive");
            let types = runner["script_types"].as_array().unwrap();
            // What else there is depends on the machine.
            assert!(types.contains(&json!("OSIS")) && types.contains(&json!("Python")), "{types:?}");
            assert_eq!(&client.call("get_runner", json!([runner["id"]])).await["host"], &runner["host"]);
        }
        assert_eq!(client.failure("get_runner", json!(["nobody"])).await.told().1, "RUNNER_NOT_FOUND");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_key_is_the_same_job() {
    let cluster = Cluster::start().await;
    for (client, key) in cluster.clients().await.iter().zip(["a", "b"]) {
        let job = json!({ "script": "1", "script_type": "OSIS", "idempotency_key": key });
        let first = client.submit(job.clone()).await;
        assert_eq!(client.submit(job).await, first);
        assert_eq!(client.wait(&first).await["attempt"], 1);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_script_is_tried_again_as_often_as_asked() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let job =
        json!({ "script": "throw \"again\"", "script_type": "OSIS", "retries": 2, "retry_backoff_ms": 10 });
    let job = client.wait(&client.submit(job).await).await;
    assert_eq!(
        (&job["status"], &job["attempt"], &job["error_kind"]),
        (&json!("Error"), &json!(3), &json!("script_failed"))
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_supervisors_share_the_work_and_see_the_same() {
    let cluster = Cluster::with(Shape { supervisors: 2, runners: 2, ..Shape::default() }).await;
    let [one, other] = [
        Client::http(&cluster.gateways[0].address("http")),
        Client::http(&cluster.gateways[1].address("http")),
    ];
    let id = one.submit(osis("\"from one\"")).await;
    assert_eq!(other.wait(&id).await["output"], "from one");
    let id = other.text("create_job", json!([osis("loop { }")])).await;
    one.call("start_job", json!([id])).await;
    status_is(&other, &id, "Started").await;
    let (waited, _) = tokio::join!(one.wait(&id), other.call("stop_job", json!([id])));
    assert_eq!(waited["error_kind"], "stopped");
    cluster.stop().await;
}
