//! The methods of the table, typed.

mod jobs;
mod runners;
mod schedules;

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
];
