//! What is asked for, under the names of the method table. What is left out has the node's default.

use std::collections::BTreeMap;

use hero_domain::{
    CatchUp, ErrorKind, JobId, JobStatus, NodeTarget, Overlap, Priority, ScheduleId, ScriptType, Timestamp,
};
use serde::Serialize;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewJob {
    /// What is executed.
    pub script: String,
    /// In which language.
    pub script_type: ScriptType,
    /// In whose name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// How long an attempt may run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Jobs that have to finish first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<JobId>,
    /// Extra attempts after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Who goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Variables of the script's environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: BTreeMap<String, String>,
    /// A second job with the same key in the same context is the first one. With it a lost answer is made good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How long it is kept after its end, in seconds; 0 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<u32>,
    /// The first pause before an extra attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_backoff_ms: Option<u64>,
    /// How often a runner may be lost with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deliveries: Option<u32>,
    /// The caller's own UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// The node that is to run it, if not the one that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeTarget>,
}

impl NewJob {
    /// A job with every option left out.
    pub fn new(script_type: ScriptType, script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            script_type,
            caller_id: None,
            context_id: None,
            timeout: None,
            prerequisites: Vec::new(),
            retries: None,
            priority: None,
            run_at: None,
            env_vars: BTreeMap::new(),
            idempotency_key: None,
            retention: None,
            retry_backoff_ms: None,
            max_deliveries: None,
            id: None,
            node: None,
        }
    }

    /// Whether a repeat makes no second job.
    pub(crate) const fn is_repeatable(&self) -> bool {
        self.idempotency_key.is_some()
    }
}

/// A job to run at once and wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunJob {
    /// What is executed.
    pub script: String,
    /// In which language.
    pub script_type: ScriptType,
    /// Jobs that have to finish first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<JobId>,
    /// How long an attempt may run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// In whose name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// Variables of the script's environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars: BTreeMap<String, String>,
    /// A second job with the same key in the same context is the first one. With it a lost answer is made good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The node that is to run it, if not the one that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeTarget>,
}

impl RunJob {
    /// A job with every option left out.
    pub fn new(script_type: ScriptType, script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            script_type,
            prerequisites: Vec::new(),
            timeout: None,
            caller_id: None,
            context_id: None,
            env_vars: BTreeMap::new(),
            idempotency_key: None,
            node: None,
        }
    }
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Only jobs in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// Only jobs that ended in error for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<ErrorKind>,
    /// Only jobs of this type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_type: Option<ScriptType>,
    /// Only jobs of this context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// Only jobs of this caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Only jobs created at or after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Timestamp>,
    /// Only jobs created at or before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Timestamp>,
    /// At most this many ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The last id of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<JobId>,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewSchedule {
    /// When, as a cron expression.
    pub cron: String,
    /// The job that is started each time.
    pub job: NewJob,
    /// The IANA name of the time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What happens while the job before still waits or runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// What happens to times that went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// The caller's own UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ScheduleId>,
}

impl NewSchedule {
    /// A schedule with every option left out.
    pub fn new(cron: impl Into<String>, job: NewJob) -> Self {
        Self { cron: cron.into(), job, time_zone: None, overlap: None, catch_up: None, id: None }
    }
}

/// A request to services of other twins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BusRequest {
    /// The twins that are asked; each gives one answer.
    pub twins: Vec<u32>,
    /// The command, which names the service.
    pub command: String,
    /// What the service is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The same in base64, for what is no text; give one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Seconds until a twin's answer is a timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u32>,
    /// How often sending is tried again where a twin cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl BusRequest {
    /// A request with every option left out.
    pub fn new(twins: Vec<u32>, command: impl Into<String>, data: impl Into<String>) -> Self {
        Self {
            twins,
            command: command.into(),
            data: Some(data.into()),
            data_base64: None,
            expires: None,
            retries: None,
        }
    }
}
