//! What comes back, under the names of the method table. Of a job and a runner, members that a newer node adds are kept as they are.

use std::{collections::BTreeMap, net::Ipv6Addr};

use hero_config::Secret;
use hero_domain::{
    CatchUp, CircleKey, CircleLimits, ErrorKind, JobId, JobStatus, Overlap, OverlayKey, OverlayState,
    Priority, RunnerId, RunnerState, ScheduleId, Scope, ScriptType, Timestamp,
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
    #[serde(default)]
    pub parked: Option<Parked>,
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

/// The limit that keeps a job out of its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Parked")]
pub struct Parked {
    pub context_id: String,
    pub running: u32,
    pub limit: Option<u32>,
    pub ahead: Ahead,
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

/// Something that happened to a job. What is known of the job is none when it is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of the notification job_event")]
pub struct JobEvent {
    /// Where to go on from after it.
    pub event_id: String,
    /// What happened; `current`: nothing yet, this is where the job is.
    pub event: String,
    pub job_id: JobId,
    pub status: Option<JobStatus>,
    pub script_type: Option<ScriptType>,
    pub context_id: Option<String>,
    pub caller_id: Option<String>,
    pub created_at: Option<Timestamp>,
    pub attempt: Option<u32>,
    pub runner_id: Option<RunnerId>,
    pub error_kind: Option<ErrorKind>,
    pub error: Option<String>,
    /// Members that a newer node adds, and the progress.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// What has come into a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogNews {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Where to go on from after them.
    pub place: Option<String>,
    /// How the job has ended; none: it has not, and more may come.
    pub ended: Option<JobStatus>,
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it was written to: `stdout`, `stderr`, `log`.
    pub stream: String,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub text: String,
}

/// A circle that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Circle")]
pub struct Circle {
    pub public_key: CircleKey,
    pub members: Vec<CircleKey>,
    pub limits: CircleLimits,
    pub is_configured: bool,
    pub created_at: Option<Timestamp>,
}

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::KeyInfo")]
pub struct Key {
    pub name: String,
    pub scope: Scope,
    pub circle: Option<CircleKey>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// An API key that was just made: the only time that it is shown.
#[derive(Debug, Clone, Deserialize)]
pub struct CreatedKey {
    /// What is known of it.
    #[serde(flatten)]
    pub key: Key,
    /// The key itself.
    pub secret: Secret,
}

/// One line of the record of who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::AuditEntry")]
pub struct AuditEntry {
    pub id: String,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
}

/// The answer of one twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusReply {
    /// The twin that was asked.
    pub twin: u32,
    /// The id that the bus gave the request to this twin.
    pub uid: String,
    /// What the service said, if that is text.
    pub data: Option<String>,
    /// What it said, if that is no text.
    pub data_base64: Option<String>,
    /// Why there is no answer of the service.
    pub error: Option<String>,
}

/// A node in the Mycelium overlay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::OverlayStatus")]
pub struct MyceliumStatus {
    pub public_key: OverlayKey,
    pub ip: Option<Ipv6Addr>,
    pub subnet: String,
    pub peers: u32,
    pub topic: String,
    pub message: Option<MyceliumMessage>,
}

/// A message that was sent without waiting for its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MyceliumMessage {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: OverlayState,
    /// What came of the call; null as well while there is no answer.
    pub result: Value,
    /// The other node's own error.
    pub error: Option<Value>,
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
