//! What comes back, under the names of the method table. Of a job and a runner, members that a newer node adds are kept as they are.

use std::collections::BTreeMap;

use hero_domain::{
    CatchUp, CircleKey, ErrorKind, JobId, JobStatus, Overlap, Priority, RunnerId, RunnerState, ScheduleId,
    ScriptType, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The whole job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Job, under the names of json-rpc.md")]
pub struct Job {
    pub id: JobId,
    pub caller_id: String,
    pub context_id: String,
    pub circle: Option<CircleKey>,
    pub script: String,
    pub script_type: ScriptType,
    pub timeout: u32,
    pub prerequisites: Vec<JobId>,
    pub dependents: Vec<JobId>,
    pub retries: u32,
    pub retry_backoff_ms: u64,
    pub max_deliveries: u32,
    pub priority: Priority,
    pub run_at: Option<Timestamp>,
    pub env_vars: BTreeMap<String, String>,
    pub idempotency_key: Option<String>,
    pub retention: u32,
    pub status: JobStatus,
    pub error_kind: Option<ErrorKind>,
    pub error: Option<String>,
    pub output: Option<String>,
    pub attempt: u32,
    pub runner_id: Option<RunnerId>,
    pub created_at: Timestamp,
    pub queued_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub traceparent: Option<String>,
    /// Members that a newer node adds.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// A runner of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Runner")]
pub struct Runner {
    pub id: RunnerId,
    pub script_types: Vec<ScriptType>,
    pub circles: Vec<CircleKey>,
    pub slots: u32,
    pub busy: u32,
    pub host: String,
    pub version: String,
    pub started_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub lease_until: Timestamp,
    pub state: RunnerState,
    /// Members that a newer node adds.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// Why a job is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Explanation")]
pub struct Explanation {
    pub job_id: JobId,
    pub status: JobStatus,
    pub reasons: Vec<String>,
    pub pending: u32,
    pub prerequisites: Vec<JobId>,
    pub not_before: Option<Timestamp>,
    pub ahead: Option<Ahead>,
    pub runners: Option<Serving>,
    pub runner_id: Option<RunnerId>,
    pub lease_until: Option<Timestamp>,
    pub attempt: u32,
    pub error_kind: Option<ErrorKind>,
}

/// How many jobs stand before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Ahead")]
pub struct Ahead {
    pub jobs: u64,
    pub at_least: bool,
}

/// The runners that could take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Serving")]
pub struct Serving {
    pub serving: u32,
    pub draining: u32,
    pub slots: u32,
    pub busy: u32,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Schedule")]
pub struct Schedule {
    pub id: ScheduleId,
    pub cron: String,
    pub time_zone: String,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub job: JobTemplate,
    pub paused: bool,
    pub created_at: Timestamp,
    pub next_due: Option<Timestamp>,
    pub next_times: Vec<Timestamp>,
    pub last_due: Option<Timestamp>,
    pub last_job_id: Option<JobId>,
    pub started: u64,
    pub skipped: u64,
}

/// The job that a schedule starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::NewJob that a schedule's job has")]
pub struct JobTemplate {
    pub script: String,
    pub script_type: ScriptType,
    pub caller_id: String,
    pub context_id: String,
    pub circle: Option<CircleKey>,
    pub timeout: u32,
    pub retries: u32,
    pub retry_backoff_ms: u64,
    pub max_deliveries: u32,
    pub priority: Priority,
    pub env_vars: BTreeMap<String, String>,
    pub retention: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Played {
    pub(crate) output: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Started {
    pub(crate) success: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Logs {
    pub(crate) logs: Option<String>,
}
