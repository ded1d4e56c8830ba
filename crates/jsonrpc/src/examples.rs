//! One example of each method's parameters, by position; the tests call every method with its own.

use serde_json::{Value, json};

const JOB: &str = "0193e2d0-7c7a-7b0e-8f8e-0123456789ab";
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// Parameters that the method takes.
pub(crate) fn example(method: &str) -> Vec<Value> {
    let job = json!({"script": "40 + 2", "script_type": "OSIS"});
    match method {
        "play" => vec![json!("40 + 2")],
        "create_job" | "submit_job" => vec![job],
        "submit_jobs" => vec![json!([job])],
        "run_job" => vec![json!("40 + 2"), json!("OSIS")],
        "start_job" | "get_job" | "get_job_status" | "get_job_output" | "get_job_logs" | "stop_job"
        | "retry_job" | "explain_job" | "delete_job" => vec![json!(JOB)],
        "wait_job" => vec![json!(JOB), json!(30)],
        "subscribe_job" | "subscribe_logs" => vec![json!(JOB)],
        "subscribe_jobs" => vec![json!({"status": "Finished"})],
        "unsubscribe_job" | "unsubscribe_jobs" | "unsubscribe_logs" => vec![json!(4_217)],
        "list_jobs" | "retry_jobs" => vec![json!({"status": "Error", "limit": 10})],
        "get_runner" | "remove_runner" => vec![json!("node-1")],
        "drain_runner" => vec![json!("node-1"), json!(true)],
        "create_schedule" => vec![json!({"cron": "0 3 * * *", "job": job})],
        "get_schedule" | "run_schedule" | "delete_schedule" => vec![json!(JOB)],
        "pause_schedule" => vec![json!(JOB), json!(true)],
        "fetch_nonce" => vec![json!(KEY)],
        "authenticate" | "login" => vec![json!(KEY), json!("00".repeat(65)), json!("hero-login ...")],
        "add_circle" => vec![json!(KEY), json!([]), json!({"max_timeout_s": 60})],
        "remove_circle" => vec![json!(KEY)],
        "create_key" => vec![json!("ci"), json!("user")],
        "remove_key" | "rotate_key" => vec![json!("ci")],
        "list_audit" => vec![json!(10)],
        "bus_call" | "bus_send" => vec![json!([12]), json!("echo"), json!("hello")],
        "bus_result" => vec![json!("0193e2d07c7a7b0e8f8e0123456789ab")],
        "mycelium_call" | "mycelium_send" => {
            vec![json!("mycelium://[56d:524:53e6:1e4b::1]"), json!("whoami")]
        }
        "mycelium_status" => vec![json!("2803221ec00bf0ea")],
        "heartbeat" => vec![json!({
            "node_id": "kitchen", "started_at_ms": 1_795_262_400_000_u64, "counter": 1, "sent_at_ms": 1_795_262_410_000_u64,
            "interval_ms": 10_000,
        })],
        "list_nodes" => vec![json!({"script_type": "Python", "limit": 10})],
        "get_node" | "allow_node" | "ban_node" | "remove_node" => vec![json!("kitchen")],
        "call_node" => vec![json!("kitchen"), json!("list_jobs"), json!([])],
        _ => Vec::new(),
    }
}
