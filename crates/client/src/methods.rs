//! The methods of the table, typed.

mod bus;
mod circles;
mod jobs;
mod keys;
mod nodes;
mod overlay;
mod runners;
mod schedules;
mod subscriptions;

pub use subscriptions::Subscription;

/// The names of the methods that have a function here; any other one goes through
/// [`Client::call`](crate::Client::call).
pub const METHODS: &[&str] = &[
    "whoami",
    "play",
    "create_job",
    "start_job",
    "run_job",
    "submit_job",
    "submit_jobs",
    "wait_job",
    "get_job",
    "get_job_status",
    "get_job_output",
    "get_job_logs",
    "list_jobs",
    "stop_job",
    "retry_job",
    "retry_jobs",
    "explain_job",
    "delete_job",
    "clear_all_jobs",
    "list_runners",
    "get_runner",
    "drain_runner",
    "remove_runner",
    "create_schedule",
    "list_schedules",
    "get_schedule",
    "pause_schedule",
    "run_schedule",
    "delete_schedule",
    "bus_call",
    "bus_send",
    "bus_result",
    "mycelium_call",
    "mycelium_send",
    "mycelium_status",
    "rpc.discover",
    "fetch_nonce",
    "authenticate",
    "login",
    "add_circle",
    "remove_circle",
    "list_circles",
    "create_key",
    "list_keys",
    "remove_key",
    "rotate_key",
    "list_audit",
    "heartbeat",
    "node_info",
    "list_nodes",
    "get_node",
    "call_node",
    "allow_node",
    "ban_node",
    "remove_node",
];
