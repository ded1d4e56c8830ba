//! Storing jobs: how a batch is written down for the script.
//!
//! Jobs of one call mostly differ in nothing but their id and script. What consecutive jobs have in common is
//! sent once, which is a good part of what a create costs Redis.

use hero_domain::{DEFAULT_CALLER, DEFAULT_CONTEXT, JobId, JobLimits, NewJob, Priority};
use hero_redis::Cmd;

use crate::{Created, Result, Store, answer::Answer, keys};

/// Whether two jobs have the same fields, apart from id, script and what only some jobs have.
fn is_alike(a: &NewJob, b: &NewJob) -> bool {
    a.script_type == b.script_type
        && a.priority == b.priority
        && a.circle == b.circle
        && a.context_id == b.context_id
        && a.caller_id == b.caller_id
        && a.timeout_s == b.timeout_s
        && a.retries == b.retries
        && a.retry_backoff_ms == b.retry_backoff_ms
        && a.max_deliveries == b.max_deliveries
        && a.retention_s == b.retention_s
        && a.env_vars == b.env_vars
        && a.traceparent == b.traceparent
}

/// Whether its id is one that somebody else may have used.
fn has_own_id(job: &NewJob) -> bool {
    job.id.is_some() && !job.is_id_minted
}

/// Whether there is nothing to check about a job: a minted id, no key, no prerequisites, no time.
fn is_plain(job: &NewJob) -> bool {
    !has_own_id(job) && job.idempotency_key.is_none() && job.prerequisites.is_empty() && job.run_at.is_none()
}

/// What the hashes of alike jobs have in common.
struct Shared {
    fields: Vec<(&'static str, String)>,
    /// Letters that spare the scripts a look at fields that most jobs do not have.
    marks: String,
}

/// The fields that alike jobs share; defaults are left out.
fn shared(job: &NewJob, is_counted: bool) -> Shared {
    let defaults = JobLimits::default();
    let mut fields = vec![("script_type", job.script_type.as_key().to_owned())];
    let mut marks = String::new();
    let mut add = |name, mark: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.push((name, value));
            if !marks.contains(mark) {
                marks.push_str(mark);
            }
        }
    };
    let unless = |is_default: bool, value: &dyn ToString| (!is_default).then(|| value.to_string());
    add("caller_id", "", unless(["", DEFAULT_CALLER].contains(&job.caller_id.as_str()), &job.caller_id));
    add("context_id", "", unless(context_of(job) == DEFAULT_CONTEXT, &job.context_id));
    add("retries", "", unless(job.retries == 0, &job.retries));
    let backoff_ms = job.retry_backoff_ms;
    add("retry_backoff_ms", "", unless(backoff_ms == defaults.default_retry_backoff_ms, &backoff_ms));
    let deliveries = job.max_deliveries;
    add("max_deliveries", "", unless(deliveries == defaults.default_max_deliveries, &deliveries));
    add("priority", "", unless(job.priority == Priority::Normal, &job.priority.as_key()));
    add("circle", "", job.circle.as_ref().map(ToString::to_string));
    add("retention", "r", unless(job.retention_s == defaults.default_retention_s, &job.retention_s));
    add("timeout", "e", unless(job.timeout_s == defaults.default_timeout_s, &job.timeout_s));
    add("env_vars", "e", unless(job.env_vars.is_empty(), &serde_json::json!(job.env_vars)));
    add("traceparent", "e", job.traceparent.clone());
    if is_counted {
        marks.push('b');
    }
    Shared { fields, marks }
}

fn context_of(job: &NewJob) -> &str {
    if job.context_id.is_empty() { DEFAULT_CONTEXT } else { &job.context_id }
}

/// Writes the part of a job that only some have.
fn write_extra(call: &mut Cmd, job: &NewJob, shared_marks: &str) {
    let mut marks = String::new();
    let mut fields: Vec<(&str, String)> = Vec::new();
    if !job.prerequisites.is_empty() {
        fields.push(("prerequisites", serde_json::json!(job.prerequisites).to_string()));
    }
    if let Some(key) = &job.idempotency_key {
        marks.push('i');
        fields.push(("idempotency_key", key.clone()));
    }
    let due = job.run_at.map(|at| at.as_millis().to_string()).unwrap_or_default();
    if let Some(at) = job.run_at {
        fields.push(("run_at", at.to_string()));
        fields.push(("due", due.clone()));
    }
    if !marks.is_empty() {
        fields.push(("marks", marks + shared_marks));
    }
    call.arg("1").arg(if has_own_id(job) { "1" } else { "" });
    call.arg(job.idempotency_key.as_deref().unwrap_or_default()).arg(due);
    call.arg(if job.circle.is_some() { "1" } else { "" }).arg(job.prerequisites.len());
    for prerequisite in &job.prerequisites {
        call.arg(prerequisite.to_string());
    }
    call.arg(fields.len() * 2);
    for (name, value) in fields {
        call.arg(name).arg(value);
    }
}

impl Store {
    pub(crate) async fn create_jobs(&self, jobs: &[NewJob], start: bool) -> Result<Vec<Created>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut created: Vec<Created> =
            jobs.iter().map(|job| Created { id: job.id.unwrap_or_else(JobId::mint), is_new: true }).collect();
        let scripts = &self.scripts().create;
        let bytes = jobs.iter().map(|job| job.script.len() + 48).sum();
        let mut call = scripts.command(&[], 16 + jobs.len() * 3, bytes);
        let flag = |is_set: bool| if is_set { "1" } else { "" };
        let groups: Vec<&[NewJob]> = jobs.chunk_by(is_alike).collect();
        call.arg(flag(start)).arg(flag(!jobs.iter().all(is_plain))).arg(groups.len());
        self.write_budget(&mut call);
        let mut ids = created.iter();
        for group in groups {
            self.write_group(&mut call, group, &mut ids);
        }
        let known = self.run("create", scripts, &call).await?;
        let mut known = Answer::new("create", known)?;
        while !known.is_empty() {
            let index = known.count()?;
            let first = Created { id: known.id()?, is_new: false };
            if let Some(slot) = created.get_mut(index) {
                *slot = first;
            }
        }
        Ok(created)
    }

    /// How many bytes each context may keep; nothing for as many as there are.
    pub(crate) fn write_budget(&self, call: &mut Cmd) {
        match self.context_budget() {
            Some(bytes) => call.arg(bytes),
            None => call.arg(""),
        };
    }

    pub(crate) fn write_group<'a>(
        &self,
        call: &mut Cmd,
        group: &[NewJob],
        ids: &mut impl Iterator<Item = &'a Created>,
    ) {
        let Some(first) = group.first() else { return };
        let Shared { mut fields, marks } = shared(first, self.context_budget().is_some());
        if !marks.is_empty() {
            fields.push(("marks", marks.clone()));
        }
        call.arg(keys::queue(first.script_type, first.circle.as_ref(), first.priority));
        call.arg(context_of(first)).arg(fields.len() * 2);
        for (name, value) in &fields {
            call.arg(name).arg(value);
        }
        call.arg(group.len());
        let mut text = [0; 36];
        for (job, created) in group.iter().zip(ids) {
            call.arg(&*created.id.as_uuid().hyphenated().encode_lower(&mut text)).arg(&job.script);
            if is_plain(job) {
                call.arg("");
            } else {
                write_extra(call, job, &marks);
            }
        }
    }
}
