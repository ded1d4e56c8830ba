//! Parameters: one mechanism that takes them by name and by position and says which one is at fault.
//!
//! serde's derived structs read an object by names and an array in the order of their fields, so both forms
//! are one pass from the raw text into the struct. Only when that fails is the text read again, to find the
//! path to the fault.

use std::collections::BTreeMap;

use hero_domain::{
    ApiError, Caller, CatchUp, ErrorKind, JobFilter, JobId, JobStatus, NewJob, NewSchedule, Overlap,
    Priority, Reason, Result, RunnerId, ScheduleId, ScriptType, Timestamp,
};
use hero_telemetry::trace_context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

use crate::{NodeParam, Session, method::Method};

/// Reads the parameters of `method`, given as an object, an array, or not at all.
pub(crate) fn parse<T: DeserializeOwned>(method: &Method, raw: Option<&str>) -> Result<T> {
    let text = raw.unwrap_or("{}");
    serde_json::from_str(text).map_err(|error| explain::<T>(method, text, &error))
}

fn explain<T: DeserializeOwned>(method: &Method, text: &str, error: &serde_json::Error) -> ApiError {
    if let Some(error) = wrong_count(method, text) {
        return error;
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => (field_of(method, error.path()), strip_position(&error.inner().to_string())),
        Ok(_) => (String::new(), strip_position(&error.to_string())),
    };
    if let Some(name) = quoted_after(&error, "unknown field ") {
        let known = known_members(&error);
        return ApiError::new(Reason::UnknownField, format!("there is no such member; {known}"))
            .with_field(member(&path, name));
    }
    if let Some(name) = quoted_after(&error, "missing field ") {
        return ApiError::new(Reason::InvalidParams, "is missing").with_field(member(&path, name));
    }
    if let Some(name) = quoted_after(&error, "duplicate field ") {
        return ApiError::new(Reason::InvalidParams, "is given twice").with_field(member(&path, name));
    }
    let error = ApiError::new(reason_of(&error), error);
    if path.is_empty() { error } else { error.with_field(path) }
}

/// Too few or too many positional parameters: serde tells a length, people want a name.
fn wrong_count(method: &Method, text: &str) -> Option<ApiError> {
    let given = serde_json::from_str::<Vec<&RawValue>>(text).ok()?.len();
    if given > method.params.len() {
        let names: Vec<&str> = method.params.iter().map(|param| param.name).collect();
        let takes = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Some(ApiError::new(
            Reason::InvalidParams,
            format!("{given} positional params; {} takes {takes}", method.name),
        ));
    }
    let missing = method.params.get(given).filter(|param| param.required)?;
    Some(ApiError::new(Reason::InvalidParams, "is missing").with_field(missing.name))
}

/// The path as the caller knows it: a positional parameter by its name.
fn field_of(method: &Method, path: &Path) -> String {
    let mut text = String::new();
    for (depth, segment) in path.iter().enumerate() {
        match segment {
            Segment::Seq { index } if depth == 0 => {
                text.push_str(method.params.get(*index).map_or("params", |param| param.name));
            }
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } => text = member(&text, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

fn member(path: &str, name: &str) -> String {
    let name: String = name.chars().take(80).collect();
    // The deserializer has already walked into a member that it then did not know.
    if path.is_empty() {
        name
    } else if path == name || path.ends_with(&format!(".{name}")) {
        path.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn quoted_after<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(lead)?.strip_prefix('`')?;
    // A member's name may hold backticks itself; what follows it does not begin with one.
    let end = rest.rfind("`, ").filter(|_| !rest.contains("`, expected")).or_else(|| {
        rest.find("`, expected").or_else(|| rest.rfind("`, there are")).or_else(|| rest.rfind('`'))
    })?;
    rest.get(..end)
}

fn known_members(error: &str) -> String {
    match error.rsplit_once(", expected ") {
        Some((_, names)) => format!("known are {}", names.trim_start_matches("one of ")),
        None => "none is known here".to_owned(),
    }
}

fn strip_position(text: &str) -> String {
    text.rfind(" at line ").map_or(text, |end| &text[..end]).to_owned()
}

/// The domain's own errors for malformed names come through serde as text only.
fn reason_of(error: &str) -> Reason {
    if error.contains("` is not a script type;") {
        Reason::ScriptTypeUnknown
    } else if ["job", "runner", "node", "schedule"]
        .iter()
        .any(|it| error.contains(&format!("` is not a {it} id:")))
    {
        Reason::IdMalformed
    } else {
        Reason::InvalidParams
    }
}

/// A method without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobIdParams {
    pub(crate) job_id: JobId,
}

/// The part of an output: both count characters, so that no part ends within one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputParams {
    pub(crate) job_id: JobId,
    #[serde(default)]
    pub(crate) offset: Option<usize>,
    #[serde(default)]
    pub(crate) length: Option<usize>,
}

impl OutputParams {
    /// That part of the text, empty behind its end.
    pub(crate) fn part_of(&self, text: String) -> String {
        if self.offset.is_none() && self.length.is_none() {
            return text;
        }
        text.chars().skip(self.offset.unwrap_or_default()).take(self.length.unwrap_or(usize::MAX)).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunnerIdParams {
    pub(crate) runner_id: RunnerId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainParams {
    pub(crate) runner_id: RunnerId,
    #[serde(default)]
    pub(crate) draining: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleIdParams {
    pub(crate) schedule_id: ScheduleId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseParams {
    pub(crate) schedule_id: ScheduleId,
    #[serde(default)]
    pub(crate) paused: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneScheduleParams {
    pub(crate) schedule: ScheduleParams,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlayParams {
    pub(crate) script: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitParams {
    pub(crate) job_id: JobId,
    #[serde(default)]
    pub(crate) timeout: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneJobParams {
    pub(crate) job: JobParams,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitParams {
    pub(crate) job: JobParams,
    /// Answer with why the job is where it is, too.
    #[serde(default)]
    pub(crate) explain: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyJobsParams {
    pub(crate) jobs: Vec<JobParams>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    #[serde(default)]
    pub(crate) filter: Option<FilterParams>,
}

/// The order of the fields is the order of the positional parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunJobParams {
    script: String,
    script_type: ScriptType,
    #[serde(default)]
    prerequisites: Option<Vec<JobId>>,
    #[serde(default)]
    timeout: Option<u32>,
    #[serde(default)]
    caller_id: Option<String>,
    #[serde(default)]
    context_id: Option<String>,
    #[serde(default)]
    env_vars: Option<BTreeMap<String, String>>,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    node: Option<NodeParam>,
}

impl From<RunJobParams> for JobParams {
    fn from(params: RunJobParams) -> Self {
        Self {
            prerequisites: params.prerequisites,
            timeout: params.timeout,
            caller_id: params.caller_id,
            context_id: params.context_id,
            env_vars: params.env_vars,
            idempotency_key: params.idempotency_key,
            node: params.node,
            ..Self::new(params.script_type, params.script)
        }
    }
}

/// A job that somebody asks for. Members that it does not know are refused by name: a typo must not be
/// silently ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobParams {
    /// The source text.
    pub script: String,
    /// Its language.
    pub script_type: ScriptType,
    /// Who asks; none: the name of the caller's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Where it belongs; inside a circle always that circle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// Run time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Jobs that must have finished first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prerequisites: Option<Vec<JobId>>,
    /// Extra attempts after the script failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Which list it waits in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Given to the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// A second create with the same key in the same context returns the first job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// How long it is kept after its end, in seconds; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<u32>,
    /// The first pause before an extra attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_backoff_ms: Option<u64>,
    /// How often a runner may be lost with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deliveries: Option<u32>,
    /// The caller's own UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// The node that it runs on: an id, a selector, or `"any"`; none: the node that is asked. It is taken out before
    /// the job is handed over.
    #[serde(default, skip_serializing)]
    pub node: Option<NodeParam>,
}

impl JobParams {
    /// A job with every option left out.
    #[must_use]
    pub fn new(script_type: ScriptType, script: String) -> Self {
        Self {
            script,
            script_type,
            caller_id: None,
            context_id: None,
            timeout: None,
            prerequisites: None,
            retries: None,
            priority: None,
            run_at: None,
            env_vars: None,
            idempotency_key: None,
            retention: None,
            retry_backoff_ms: None,
            max_deliveries: None,
            id: None,
            node: None,
        }
    }

    /// The job as the ports take it. A caller of a circle gets that circle's context and runners, whatever
    /// the parameters say.
    #[must_use]
    pub fn into_job(self, session: &Session) -> NewJob {
        let caller = session.caller();
        let mut job = NewJob::new(self.script_type, self.script);
        job.id = self.id;
        job.caller_id = self.caller_id.unwrap_or_else(|| caller.name.clone());
        confine(&mut job, caller, self.context_id);
        job.prerequisites = self.prerequisites.unwrap_or_default();
        job.run_at = self.run_at;
        job.env_vars = self.env_vars.unwrap_or_default();
        job.idempotency_key = self.idempotency_key;
        job.timeout_s = self.timeout.unwrap_or(job.timeout_s);
        job.retries = self.retries.unwrap_or(job.retries);
        job.retry_backoff_ms = self.retry_backoff_ms.unwrap_or(job.retry_backoff_ms);
        job.max_deliveries = self.max_deliveries.unwrap_or(job.max_deliveries);
        job.priority = self.priority.unwrap_or(job.priority);
        job.retention_s = self.retention.unwrap_or(job.retention_s);
        job.traceparent =
            trace_context::current_traceparent().or_else(|| session.traceparent().map(str::to_owned));
        job
    }
}

/// A schedule that somebody asks for. As in a job, members that it does not know are refused by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleParams {
    /// When, as a cron expression.
    pub cron: String,
    /// The job that is started each time.
    pub job: JobParams,
    /// The IANA name of the time zone; none: UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// What happens while the job before still waits or runs; none: skip.
    #[serde(default)]
    pub overlap: Option<Overlap>,
    /// What happens to times that went by; none: skip.
    #[serde(default)]
    pub catch_up: Option<CatchUp>,
    /// The caller's own UUID.
    #[serde(default)]
    pub id: Option<ScheduleId>,
}

impl ScheduleParams {
    /// The schedule as the port takes it. Its jobs begin traces of their own.
    #[must_use]
    pub fn into_schedule(self, session: &Session) -> NewSchedule {
        let job = NewJob { traceparent: None, ..self.job.into_job(session) };
        let defaults = NewSchedule::new(self.cron, job);
        NewSchedule {
            id: self.id,
            time_zone: self.time_zone.unwrap_or(defaults.time_zone),
            overlap: self.overlap.unwrap_or(defaults.overlap),
            catch_up: self.catch_up.unwrap_or(defaults.catch_up),
            ..defaults
        }
    }
}

fn confine(job: &mut NewJob, caller: &Caller, context_id: Option<String>) {
    if let Some(circle) = &caller.circle {
        job.context_id = circle.as_str().to_owned();
        job.circle = Some(circle.clone());
    } else if let Some(context_id) = context_id {
        job.context_id = context_id;
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterParams {
    /// Only jobs in this state.
    pub status: Option<JobStatus>,
    /// Only jobs that ended in error for this reason.
    pub error_kind: Option<ErrorKind>,
    /// Only jobs of this type.
    pub script_type: Option<ScriptType>,
    /// Only jobs of this context.
    pub context_id: Option<String>,
    /// Only jobs of this caller.
    pub caller_id: Option<String>,
    /// Only jobs created at or after this time.
    pub created_after: Option<Timestamp>,
    /// Only jobs created at or before this time.
    pub created_before: Option<Timestamp>,
    /// At most this many ids.
    pub limit: Option<usize>,
    /// The last id of the page before.
    pub cursor: Option<JobId>,
}

impl From<FilterParams> for JobFilter {
    fn from(params: FilterParams) -> Self {
        Self {
            status: params.status,
            error_kind: params.error_kind,
            script_type: params.script_type,
            context_id: params.context_id,
            caller_id: params.caller_id,
            created_after: params.created_after,
            created_before: params.created_before,
            limit: params.limit,
            cursor: params.cursor,
        }
    }
}
