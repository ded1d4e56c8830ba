//! Results: jobs and runners as JSON-RPC shows them.

use std::collections::BTreeMap;

use hero_domain::{
    Ahead, AuditEntry, CatchUp, Circle, CircleKey, CircleLimits, CreatedKey, ErrorKind, Explanation, Job,
    JobId, JobStatus, KeyInfo, NewJob, Overlap, Priority, Runner, RunnerId, RunnerState, Schedule,
    ScheduleId, Scope, ScriptType, Timestamp,
};
use serde::Serialize;

/// The whole job. Every member is always there; what has no value is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Job, under the names of json-rpc.md")]
pub struct JobView {
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
    pub progress: Option<ProgressView>,
    pub result: Option<serde_json::Value>,
    pub attempt: u32,
    pub runner_id: Option<RunnerId>,
    pub created_at: Timestamp,
    pub queued_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub traceparent: Option<String>,
    pub note: Option<String>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            caller_id: job.caller_id,
            context_id: job.context_id,
            circle: job.circle,
            script: job.script,
            script_type: job.script_type,
            timeout: job.timeout_s,
            prerequisites: job.prerequisites,
            dependents: job.dependents,
            retries: job.retries,
            retry_backoff_ms: job.retry_backoff_ms,
            max_deliveries: job.max_deliveries,
            priority: job.priority,
            run_at: job.run_at,
            env_vars: job.env_vars,
            idempotency_key: job.idempotency_key,
            retention: job.retention_s,
            status: job.status,
            error_kind: job.error_kind,
            error: job.error,
            output: job.output,
            progress: job.progress.map(|it| ProgressView { fraction: it.fraction(), text: it.text }),
            // The runner lets nothing but JSON through; what an outside actor wrote is shown as text.
            result: job.result.map(|text| serde_json::from_str(&text).unwrap_or_else(|_| text.into())),
            attempt: job.attempt,
            runner_id: job.runner_id,
            created_at: job.created_at,
            queued_at: job.queued_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            updated_at: job.updated_at,
            traceparent: job.traceparent,
            note: job.note,
        }
    }
}

/// How far a script says it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Progress")]
pub struct ProgressView {
    pub fraction: f64,
    pub text: String,
}

/// A runner of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Runner")]
pub struct RunnerView {
    pub id: RunnerId,
    pub script_types: Vec<ScriptType>,
    pub circles: Vec<CircleKey>,
    pub slots: u32,
    pub slots_by_type: BTreeMap<ScriptType, u32>,
    pub not_offered: BTreeMap<ScriptType, String>,
    pub max_running_per_context: Option<u32>,
    pub busy: u32,
    pub host: String,
    pub version: String,
    pub sandbox: String,
    pub started_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub lease_until: Timestamp,
    pub state: RunnerState,
}

impl From<Runner> for RunnerView {
    fn from(runner: Runner) -> Self {
        Self {
            id: runner.id,
            script_types: runner.script_types,
            circles: runner.circles,
            slots: runner.slots,
            slots_by_type: runner.slots_by_type,
            not_offered: runner.not_offered,
            max_running_per_context: runner.max_running_per_context,
            busy: runner.busy,
            host: runner.host,
            version: runner.version,
            sandbox: runner.sandbox,
            started_at: runner.started_at,
            last_seen_at: runner.last_seen_at,
            lease_until: runner.lease_until,
            state: runner.state,
        }
    }
}

/// Why a job is where it is: words first, then what they were made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Explanation")]
pub struct ExplanationView {
    pub job_id: JobId,
    pub status: JobStatus,
    pub reasons: Vec<String>,
    pub pending: u32,
    pub prerequisites: Vec<JobId>,
    pub not_before: Option<Timestamp>,
    pub ahead: Option<AheadView>,
    pub parked: Option<ParkedView>,
    pub runners: Option<ServingView>,
    pub runner_id: Option<RunnerId>,
    pub lease_until: Option<Timestamp>,
    pub attempt: u32,
    pub error_kind: Option<ErrorKind>,
}

/// How many jobs stand before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Ahead")]
pub struct AheadView {
    pub jobs: u64,
    pub at_least: bool,
}

/// The limit that keeps a job out of its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Parked")]
pub struct ParkedView {
    pub context_id: String,
    pub running: u32,
    pub limit: Option<u32>,
    pub ahead: AheadView,
}

impl From<Ahead> for AheadView {
    fn from(ahead: Ahead) -> Self {
        Self { jobs: ahead.jobs, at_least: ahead.is_least }
    }
}

/// The runners that could take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Serving")]
pub struct ServingView {
    pub serving: u32,
    pub draining: u32,
    pub slots: u32,
    pub busy: u32,
}

impl From<Explanation> for ExplanationView {
    fn from(it: Explanation) -> Self {
        Self {
            reasons: it.reasons(),
            job_id: it.job_id,
            status: it.status,
            pending: it.pending,
            prerequisites: it.prerequisites,
            not_before: it.not_before,
            ahead: it.ahead.map(AheadView::from),
            parked: it.parked.map(|it| ParkedView {
                context_id: it.context_id,
                running: it.running,
                limit: it.limit,
                ahead: it.ahead.into(),
            }),
            runners: it.serving.map(|it| ServingView {
                serving: it.runners,
                draining: it.draining,
                slots: it.slots,
                busy: it.busy,
            }),
            runner_id: it.runner_id,
            lease_until: it.lease_until,
            attempt: it.attempt,
            error_kind: it.error_kind,
        }
    }
}

/// A schedule. Every member is always there; what has no value is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Schedule")]
pub struct ScheduleView {
    pub id: ScheduleId,
    pub cron: String,
    pub time_zone: String,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub job: TemplateView,
    pub paused: bool,
    pub created_at: Timestamp,
    pub next_due: Option<Timestamp>,
    pub next_times: Vec<Timestamp>,
    pub last_due: Option<Timestamp>,
    pub last_job_id: Option<JobId>,
    pub started: u64,
    pub skipped: u64,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        Self {
            id: schedule.id,
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            overlap: schedule.overlap,
            catch_up: schedule.catch_up,
            job: schedule.job.into(),
            paused: schedule.is_paused,
            created_at: schedule.created_at,
            next_due: schedule.next_due,
            next_times: schedule.next_times,
            last_due: schedule.last_due,
            last_job_id: schedule.last_job,
            started: schedule.started,
            skipped: schedule.skipped,
        }
    }
}

/// The job that a schedule starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::NewJob that a schedule's job has")]
pub struct TemplateView {
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

impl From<NewJob> for TemplateView {
    fn from(job: NewJob) -> Self {
        Self {
            script: job.script,
            script_type: job.script_type,
            caller_id: job.caller_id,
            context_id: job.context_id,
            circle: job.circle,
            timeout: job.timeout_s,
            retries: job.retries,
            retry_backoff_ms: job.retry_backoff_ms,
            max_deliveries: job.max_deliveries,
            priority: job.priority,
            env_vars: job.env_vars,
            retention: job.retention_s,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PlayResult {
    pub(crate) output: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct StartJobResult {
    pub(crate) success: bool,
}

/// The answer to submit_job: the id, as a string, or as a member beside the reasons that were asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Submitted {
    Id(JobId),
    Explained { job_id: JobId, reasons: Vec<String> },
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobLogsResult {
    pub(crate) logs: Option<String>,
}

/// A circle. Every member is always there; what has no value is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Circle")]
pub struct CircleView {
    pub public_key: CircleKey,
    pub members: Vec<CircleKey>,
    pub limits: CircleLimits,
    pub is_configured: bool,
    pub created_at: Option<Timestamp>,
}

impl From<Circle> for CircleView {
    fn from(circle: Circle) -> Self {
        Self {
            public_key: circle.public_key,
            members: circle.members,
            limits: circle.limits,
            is_configured: circle.is_configured,
            created_at: circle.created_at,
        }
    }
}

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::KeyInfo")]
pub struct KeyView {
    pub name: String,
    pub scope: Scope,
    pub circle: Option<CircleKey>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

impl From<KeyInfo> for KeyView {
    fn from(key: KeyInfo) -> Self {
        Self {
            name: key.name,
            scope: key.scope,
            circle: key.circle,
            created_by: key.created_by,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// An API key that was just made, with the key itself, which is not shown again.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::CreatedKey")]
pub struct CreatedKeyView {
    #[serde(flatten)]
    pub key: KeyView,
    pub secret: String,
}

impl From<CreatedKey> for CreatedKeyView {
    fn from(created: CreatedKey) -> Self {
        Self { key: created.info.into(), secret: created.secret }
    }
}

/// One line of the record of who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::AuditEntry")]
pub struct AuditView {
    pub id: String,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, actor, action, subject } = entry;
        Self { id, at, actor, action, subject }
    }
}
