//! Scripts that mean no good, or no better: each ends with an error that says what to do, and the runner goes on.

use serde_json::{Value, json};

use crate::{
    client::Client,
    cluster::{Cluster, Shape, until},
};

async fn ended(client: &Client, script_type: &str, script: &str, timeout: u32) -> Value {
    let job = json!({ "script": script, "script_type": script_type, "timeout": timeout });
    let id = client.submit(job).await;
    client.wait(&id).await
}

fn kind(job: &Value) -> &str {
    job["error_kind"].as_str().unwrap_or_default()
}

fn error(job: &Value) -> &str {
    job["error"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_cannot_be_parsed_names_line_and_column() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    for (script_type, script) in [("OSIS", "let a = 1;\nlet b = ;"), ("Python", "a = 1\nb = )\n")] {
        let job = ended(&client, script_type, script, 10).await;
        assert_eq!(kind(&job), "invalid_script", "{job}");
        assert!(
            error(&job).contains("line 2") && error(&job).contains("column")
                || error(&job).contains("position"),
            "{job}"
        );
        let failure = client.failure("run_job", json!([script, script_type])).await;
        assert_eq!((failure.code, failure.told().1), (-32050, "SCRIPT_FAILED"));
        assert_eq!(failure.data["error_kind"], "invalid_script");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rhai_scripts_without_bounds_meet_theirs() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let loops = ended(&client, "OSIS", "loop { }", 1).await;
    assert_eq!(kind(&loops), "timeout", "{loops}");
    let recursion = ended(&client, "OSIS", "fn f(n) { f(n + 1) } f(0)", 10).await;
    assert_eq!(kind(&recursion), "script_failed", "{recursion}");
    let string = ended(&client, "OSIS", "let s = \"x\"; loop { s += s; }", 10).await;
    assert!(["script_failed", "output_too_large"].contains(&kind(&string)), "{string}");
    let array = ended(&client, "OSIS", "let a = []; loop { a.push(a); }", 10).await;
    assert_eq!(kind(&array), "script_failed", "{array}");
    let failed = ended(&client, "OSIS", "let x = 1;\nthrow \"broken\"", 10).await;
    assert_eq!(kind(&failed), "script_failed");
    assert!(error(&failed).contains("broken"), "{failed}");
    assert_eq!(client.call("run_job", json!(["40 + 2", "OSIS"])).await, "42");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_scripts_without_bounds_meet_theirs() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let flood = "import sys\nfor _ in range(1024): sys.stdout.write('x' * (1 << 20) + '\\n')";
    let job = ended(&client, "Python", flood, 60).await;
    assert_eq!(kind(&job), "output_too_large", "{:.300}", job.to_string());
    let job = ended(&client, "Python", "import time\ntime.sleep(1000)", 1).await;
    assert_eq!(kind(&job), "timeout", "{job}");
    let job = ended(&client, "Python", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", 10).await;
    assert_eq!(kind(&job), "script_failed");
    assert!(error(&job).contains("signal") || error(&job).contains("SIGSEGV"), "{job}");
    let job = ended(&client, "Python", "import sys\nprint('so far')\nsys.exit(3)", 10).await;
    assert_eq!((kind(&job), &job["output"]), ("script_failed", &json!("so far\n")), "{job}");
    assert!(error(&job).contains('3'), "{job}");
    let job = ended(&client, "Python", "raise ValueError('no luck')", 10).await;
    assert!(error(&job).contains("ValueError: no luck"), "{job}");
    let job = ended(&client, "Python", "import sys\nsys.stdout.buffer.write(b'a\\xff\\xfeb')", 10).await;
    assert_eq!(job["status"], "Finished", "{job}");
    assert!(
        job["output"].as_str().unwrap().starts_with('a') && job["output"].as_str().unwrap().ends_with('b'),
        "{job}"
    );
    assert_eq!(client.call("run_job", json!(["print(42)", "Python"])).await, "42\n");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_outlive_their_script_are_ended_with_it() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let script = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\nprint(child.pid)";
    let job = ended(&client, "Python", script, 20).await;
    assert_eq!(job["status"], "Finished", "{job}");
    let pid: i32 = job["output"].as_str().unwrap().trim().parse().unwrap();
    until("the child is gone", async || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_over_the_limit_is_told_as_such() {
    let cluster =
        Cluster::with(Shape { runner: |config| config.limits.max_output_bytes = 1_000, ..Shape::default() })
            .await;
    let client = cluster.http();
    for (script_type, script) in
        [("OSIS", "let s = \"\"; s.pad(2000, \"x\"); s"), ("Python", "print('x' * 2000)")]
    {
        let job = ended(&client, script_type, script, 20).await;
        assert_eq!(kind(&job), "output_too_large", "{job}");
    }
    cluster.stop().await;
}
