//! A job's hash, read.

use std::collections::HashMap;

use hero_domain::{
    DEFAULT_CALLER, DEFAULT_CONTEXT, Job, JobId, JobLimits, JobStatus, Priority, Progress, Timestamp,
};

use crate::{
    Result,
    answer::{corrupt, lossy},
    keys,
};

/// The fields of a job's hash.
pub(crate) struct Record {
    id: JobId,
    fields: HashMap<String, String>,
}

impl Record {
    /// None when the job is not there: what has no script_type is none, but
    /// what an outside actor left when it reported the end of a job that had been removed.
    pub(crate) fn new(id: JobId, fields: HashMap<String, Vec<u8>>) -> Option<Self> {
        let fields: HashMap<_, _> = fields.into_iter().map(|(name, value)| (name, lossy(value))).collect();
        fields.contains_key("script_type").then_some(Self { id, fields })
    }

    pub(crate) fn context(&self) -> &str {
        self.text("context_id").unwrap_or(DEFAULT_CONTEXT)
    }

    /// Whether other jobs have waited for it.
    pub(crate) fn has_dependents(&self) -> bool {
        self.text("marks").is_some_and(|marks| marks.contains('d'))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// The job. Where an outside producer left something out, the default stands.
    pub(crate) fn into_job(mut self, dependents: Vec<JobId>) -> Result<Job> {
        let defaults = JobLimits::default();
        let script_type = self
            .parsed("script_type")
            .ok_or_else(|| corrupt(&keys::job(self.id), "its script_type is not one that exists"))?;
        let queued_at: Option<Timestamp> = self.parsed("queued_at");
        let started_at: Option<Timestamp> = self.parsed("started_at");
        let finished_at: Option<Timestamp> = self.parsed("finished_at");
        let created_at = self
            .parsed("created_at")
            .or_else(|| self.id.minted_at_millis().map(Timestamp::from_millis))
            .unwrap_or_default();
        let changes = [queued_at, started_at, finished_at, self.parsed("updated_at")];
        let updated_at = changes.into_iter().flatten().fold(created_at, Timestamp::max);
        let status = status(self.text("status"));
        let attempt = self.parsed("attempt").unwrap_or(0);
        // What an earlier attempt said is over.
        let has_said = status != JobStatus::Dispatched && self.parsed("said") == Some(attempt);
        let progress = has_said.then(|| self.progress()).flatten();
        let result = self.fields.remove("result").filter(|_| has_said);
        Ok(Job {
            id: self.id,
            caller_id: self.text("caller_id").unwrap_or(DEFAULT_CALLER).to_owned(),
            context_id: self.context().to_owned(),
            circle: self.parsed("circle"),
            script_type,
            timeout_s: self.parsed("timeout").unwrap_or(defaults.default_timeout_s),
            prerequisites: self.json("prerequisites"),
            dependents,
            retries: self.parsed("retries").unwrap_or(0),
            retry_backoff_ms: self.parsed("retry_backoff_ms").unwrap_or(defaults.default_retry_backoff_ms),
            max_deliveries: self.parsed("max_deliveries").unwrap_or(defaults.default_max_deliveries),
            priority: self.parsed("priority").unwrap_or(Priority::Normal),
            run_at: self.parsed("run_at"),
            env_vars: self.json("env_vars"),
            idempotency_key: self.text("idempotency_key").map(str::to_owned),
            retention_s: self.parsed("retention").unwrap_or(defaults.default_retention_s),
            status,
            error_kind: self.parsed("error_kind"),
            progress,
            result,
            attempt,
            runner_id: self.parsed("runner_id"),
            created_at,
            queued_at,
            started_at,
            finished_at,
            updated_at,
            traceparent: self.text("traceparent").map(str::to_owned),
            note: None,
            error: self.fields.remove("error"),
            output: self.fields.remove("output"),
            script: self.fields.remove("script").unwrap_or_default(),
        })
    }

    fn progress(&self) -> Option<Progress> {
        let per_mille = self.parsed("progress")?;
        Some(Progress { per_mille, text: self.text("progress_text").unwrap_or_default().to_owned() })
    }

    fn json<T: serde::de::DeserializeOwned + Default>(&self, name: &str) -> T {
        self.text(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// A status as it is written; an outside producer writes none.
pub(crate) fn status(text: Option<&str>) -> JobStatus {
    text.and_then(|text| text.parse().ok()).unwrap_or(JobStatus::Dispatched)
}
