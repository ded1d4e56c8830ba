//! What a job is, and which changes of state exist.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ApiError, CircleKey, JobId, JobLimits, Reason, Result, Runner, RunnerId, Timestamp, explain};

/// The caller_id of a job whose submitter said none.
pub const DEFAULT_CALLER: &str = "anonymous";
/// The context_id of a job whose submitter said none.
pub const DEFAULT_CONTEXT: &str = "default";

/// A name that is not one of a closed set; says which names there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}; known are {known}")]
pub struct ParseNameError {
    /// The set, such as `script type`.
    pub kind: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The names of the set.
    pub known: String,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident($kind:literal) { $($(#[$vdoc:meta])* $variant:ident = $wire:literal / $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $wire)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The spelling on the JSON-RPC surface.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The lower-case spelling on Redis, in metrics and in configuration.
            #[must_use]
            pub const fn as_key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = $crate::ParseNameError;

            /// Takes both spellings, in any case.
            fn from_str(text: &str) -> Result<Self, $crate::ParseNameError> {
                $(if text.eq_ignore_ascii_case($wire) || text.eq_ignore_ascii_case($key) {
                    return Ok(Self::$variant);
                })*
                Err($crate::ParseNameError {
                    kind: $kind,
                    text: text.chars().take(80).collect(),
                    known: [$($wire),*].join(", "),
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'_, str>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use named;

named! {
    /// The language of a script.
    ScriptType("script type") {
        /// Rhai with the object store, in process.
        Osis = "OSIS" / "osis",
        /// Rhai with the system abstraction layer.
        Sal = "SAL" / "sal",
        /// The V language.
        V = "V" / "v",
        /// Python 3.
        Python = "Python" / "python",
    }
}

named! {
    /// Where a job is.
    JobStatus("job status") {
        /// Stored; queued once `queued_at` is set.
        Dispatched = "Dispatched" / "dispatched",
        /// Started by its caller, parked until its prerequisites have finished.
        WaitingForPrerequisites = "WaitingForPrerequisites" / "waiting_for_prerequisites",
        /// A runner holds it.
        Started = "Started" / "started",
        /// Ended without success; `error_kind` says why.
        Error = "Error" / "error",
        /// Ended with success.
        Finished = "Finished" / "finished",
    }
}

named! {
    /// Why a job ended in [`JobStatus::Error`].
    ErrorKind("error kind") {
        /// The script itself failed.
        ScriptFailed = "script_failed" / "script_failed",
        /// It ran longer than its timeout.
        Timeout = "timeout" / "timeout",
        /// Somebody stopped it.
        Stopped = "stopped" / "stopped",
        /// Its runners vanished too often.
        RunnerLost = "runner_lost" / "runner_lost",
        /// A job that it waits for did not finish.
        PrerequisiteFailed = "prerequisite_failed" / "prerequisite_failed",
        /// The script does not parse.
        InvalidScript = "invalid_script" / "invalid_script",
        /// The output is over the limit.
        OutputTooLarge = "output_too_large" / "output_too_large",
    }
}

named! {
    /// Which list of a queue a job waits in.
    Priority("priority") {
        /// Before the others.
        High = "high" / "high",
        /// The default.
        Normal = "normal" / "normal",
        /// After the others, yet never starved.
        Low = "low" / "low",
    }
}

impl JobStatus {
    /// Whether a job in this state has ended.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Error | Self::Finished)
    }

    /// The state machine: whether a job may go from this state to `next`. The store's scripts check the
    /// same table again; the store's contract suite compares the two. Out of Error leads only a retry that
    /// somebody asks for.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use JobStatus::{Dispatched, Error, Finished, Started, WaitingForPrerequisites};
        matches!(
            (self, next),
            (Dispatched, WaitingForPrerequisites | Started | Error)
                | (WaitingForPrerequisites, Dispatched | Error)
                | (Started, Finished | Error | Dispatched)
                | (Error, Dispatched)
        )
    }
}

/// A job that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// The caller's own UUID; none: one is minted.
    pub id: Option<JobId>,
    /// It was minted by this process just now, for this one call: nothing can have it, so nobody has to look.
    pub is_id_minted: bool,
    /// Who asks.
    pub caller_id: String,
    /// Where it belongs.
    pub context_id: String,
    /// Whose runners execute it; none: the shared pool. Set from the route, never from a payload.
    pub circle: Option<CircleKey>,
    /// The source text.
    pub script: String,
    /// Its language.
    pub script_type: ScriptType,
    /// Run time, in seconds.
    pub timeout_s: u32,
    /// Jobs that must have finished first.
    pub prerequisites: Vec<JobId>,
    /// Extra attempts after the script failed.
    pub retries: u32,
    /// The first pause before an extra attempt, in milliseconds; doubles each time, with jitter.
    pub retry_backoff_ms: u64,
    /// How often a runner may be lost with it before it ends as runner_lost.
    pub max_deliveries: u32,
    /// Which list it waits in.
    pub priority: Priority,
    /// Not before this time.
    pub run_at: Option<Timestamp>,
    /// Given to the script.
    pub env_vars: BTreeMap<String, String>,
    /// A second create with the same key in the same context returns the first job's id.
    pub idempotency_key: Option<String>,
    /// How long it is kept after its end, in seconds; 0 for ever.
    pub retention_s: u32,
    /// W3C trace context of the submitter.
    pub traceparent: Option<String>,
}

impl NewJob {
    /// A job with every option at its default.
    pub fn new(script_type: ScriptType, script: impl Into<String>) -> Self {
        let defaults = JobLimits::default();
        Self {
            id: None,
            is_id_minted: false,
            caller_id: DEFAULT_CALLER.to_owned(),
            context_id: DEFAULT_CONTEXT.to_owned(),
            circle: None,
            script: script.into(),
            script_type,
            timeout_s: defaults.default_timeout_s,
            prerequisites: Vec::new(),
            retries: 0,
            retry_backoff_ms: defaults.default_retry_backoff_ms,
            max_deliveries: defaults.default_max_deliveries,
            priority: Priority::Normal,
            run_at: None,
            env_vars: BTreeMap::new(),
            idempotency_key: None,
            retention_s: defaults.default_retention_s,
            traceparent: None,
        }
    }

    /// Checks every bound that needs no store.
    ///
    /// # Errors
    /// InvalidArgument, naming the field, the limit and the way out.
    pub fn validate(&self, limits: &JobLimits) -> Result<()> {
        check_script(&self.script, limits)?;
        check_name("caller_id", &self.caller_id)?;
        check_name("context_id", &self.context_id)?;
        if let Some(key) = &self.idempotency_key {
            check_name("idempotency_key", key)?;
        }
        check_range("timeout", self.timeout_s.into(), 1, limits.max_timeout_s.into())?;
        check_range("retries", self.retries.into(), 0, limits.max_retries.into())?;
        check_range("retry_backoff_ms", self.retry_backoff_ms, 1, limits.max_retry_backoff_ms)?;
        check_range("max_deliveries", self.max_deliveries.into(), 1, limits.max_deliveries.into())?;
        check_range("retention", self.retention_s.into(), 0, limits.max_retention_s.into())?;
        if self.prerequisites.len() > limits.max_prerequisites {
            return Err(ApiError::new(
                Reason::TooManyPrerequisites,
                format!(
                    "{} prerequisites; at most {} are taken, so chain them through a job in between",
                    self.prerequisites.len(),
                    limits.max_prerequisites
                ),
            )
            .with_field("prerequisites"));
        }
        if self.id.is_some_and(|id| self.prerequisites.contains(&id)) {
            return Err(ApiError::new(Reason::PrerequisiteNotFound, "a job cannot wait for itself")
                .with_field("prerequisites"));
        }
        check_env(&self.env_vars, limits)
    }
}

fn check_script(script: &str, limits: &JobLimits) -> Result<()> {
    if script.trim().is_empty() {
        return Err(ApiError::new(Reason::ScriptEmpty, "the script has no text; send its source")
            .with_field("script"));
    }
    if script.len() > limits.max_script_bytes {
        return Err(ApiError::new(
            Reason::ScriptTooLarge,
            format!(
                "{} bytes; at most {} are taken, so let the script load its data itself",
                script.len(),
                limits.max_script_bytes
            ),
        )
        .with_field("script"));
    }
    Ok(())
}

fn check_name(field: &'static str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > JobLimits::MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(ApiError::new(
            Reason::InvalidParams,
            format!("must be 1 to {} bytes without control characters", JobLimits::MAX_NAME_BYTES),
        )
        .with_field(field));
    }
    Ok(())
}

fn check_range(field: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ApiError::new(Reason::InvalidParams, format!("{value} is out of range; {least} to {most} are taken"))
        .with_field(field))
}

fn check_env(env_vars: &BTreeMap<String, String>, limits: &JobLimits) -> Result<()> {
    let mut bytes = 0;
    for (name, value) in env_vars {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ApiError::new(
                Reason::EnvInvalid,
                format!(
                    "`{}` is no variable name; letters, digits and _ are taken, not starting with a digit",
                    name.chars().take(80).collect::<String>()
                ),
            )
            .with_field("env_vars"));
        }
        if value.contains('\0') {
            return Err(ApiError::new(Reason::EnvInvalid, format!("the value of `{name}` has a NUL byte"))
                .with_field("env_vars"));
        }
        bytes += name.len() + value.len();
    }
    if bytes > limits.max_env_bytes {
        return Err(ApiError::new(
            Reason::EnvInvalid,
            format!("{bytes} bytes of names and values; at most {} are taken", limits.max_env_bytes),
        )
        .with_field("env_vars"));
    }
    Ok(())
}

/// How far a script says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Thousandths of the whole, 0 to 1000.
    pub per_mille: u16,
    /// In the script's words.
    pub text: String,
}

impl Progress {
    /// A part of the whole, 0.0 to 1.0 (what is beyond is cut), with words that are cut to
    /// [`JobLimits::MAX_PROGRESS_BYTES`].
    #[must_use]
    pub fn new(fraction: f64, text: &str) -> Self {
        // A cast from a float saturates, and takes what is not a number for 0.
        let per_mille = (fraction.clamp(0.0, 1.0) * 1000.0).round() as u16;
        let most = text.len().min(JobLimits::MAX_PROGRESS_BYTES);
        let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Self { per_mille, text: text[..cut].to_owned() }
    }

    /// The part of the whole, 0.0 to 1.0.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(self.per_mille) / 1000.0
    }
}

/// A job as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who asked.
    pub caller_id: String,
    /// Where it belongs.
    pub context_id: String,
    /// Whose runners execute it; none: the shared pool.
    pub circle: Option<CircleKey>,
    /// The source text.
    pub script: String,
    /// Its language.
    pub script_type: ScriptType,
    /// Run time, in seconds.
    pub timeout_s: u32,
    /// Jobs that must have finished first.
    pub prerequisites: Vec<JobId>,
    /// Jobs that wait for this one (at most the first 1,000).
    pub dependents: Vec<JobId>,
    /// Extra attempts that are left after the script failed.
    pub retries: u32,
    /// The first pause before an extra attempt, in milliseconds.
    pub retry_backoff_ms: u64,
    /// How often a runner may be lost with it.
    pub max_deliveries: u32,
    /// Which list it waits in.
    pub priority: Priority,
    /// Not before this time.
    pub run_at: Option<Timestamp>,
    /// Given to the script.
    pub env_vars: BTreeMap<String, String>,
    /// Its idempotency key.
    pub idempotency_key: Option<String>,
    /// How long it is kept after its end, in seconds; 0 for ever.
    pub retention_s: u32,
    /// Where it is.
    pub status: JobStatus,
    /// Why it failed, when it did.
    pub error_kind: Option<ErrorKind>,
    /// The failure in words.
    pub error: Option<String>,
    /// What came out.
    pub output: Option<String>,
    /// How far the script says it is, or was.
    pub progress: Option<Progress>,
    /// What the script gave as its result, beside its output: JSON.
    pub result: Option<String>,
    /// Counts up at every claim: the fencing token.
    pub attempt: u32,
    /// Who holds it, or held it last.
    pub runner_id: Option<RunnerId>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it was queued last; none: created, not started.
    pub queued_at: Option<Timestamp>,
    /// When its latest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The latest change of state.
    pub updated_at: Timestamp,
    /// W3C trace context of the submitter.
    pub traceparent: Option<String>,
    /// What its caller should know while it waits, such as that nobody serves its type. Not stored: it is true now.
    pub note: Option<String>,
}

impl Job {
    /// Notes that nobody serves its type, if it waits for somebody to take it and none of these runners could.
    pub fn note_who_serves<'a>(&mut self, mut runners: impl Iterator<Item = &'a Runner>) {
        let waits = self.status == JobStatus::Dispatched && self.queued_at.is_some();
        if waits && !runners.any(|runner| runner.could_take(self)) {
            self.note = Some(format!(
                "{}; the job waits until one does (list_runners says what each runner offers)",
                explain::nobody_serves(self.script_type)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{JobStatus, NewJob, ScriptType};
    use crate::{JobLimits, Reason};

    #[test]
    fn names_parse_in_both_spellings() {
        assert_eq!("osis".parse(), Ok(ScriptType::Osis));
        assert_eq!("Python".parse(), Ok(ScriptType::Python));
        assert_eq!("waiting_for_prerequisites".parse(), Ok(JobStatus::WaitingForPrerequisites));
        assert_eq!("WaitingForPrerequisites".parse(), Ok(JobStatus::WaitingForPrerequisites));
        let error = "perl".parse::<ScriptType>().unwrap_err();
        assert_eq!(error.to_string(), "`perl` is not a script type; known are OSIS, SAL, V, Python");
    }

    #[test]
    fn a_finished_job_never_changes_and_a_failed_one_only_by_a_retry() {
        for next in JobStatus::ALL {
            assert!(!JobStatus::Finished.may_become(*next));
            assert_eq!(JobStatus::Error.may_become(*next), *next == JobStatus::Dispatched);
        }
        for status in JobStatus::ALL {
            assert!(status.is_ended() || status.may_become(JobStatus::Error), "{status} can be stopped");
        }
    }

    #[test]
    fn every_bound_names_its_field() {
        let limits = JobLimits::default();
        let ok = NewJob::new(ScriptType::Osis, "40 + 2");
        ok.validate(&limits).unwrap();
        let cases: Vec<(&str, Reason, NewJob)> = vec![
            ("script", Reason::ScriptEmpty, NewJob { script: " \n".into(), ..ok.clone() }),
            (
                "script",
                Reason::ScriptTooLarge,
                NewJob { script: "x".repeat(limits.max_script_bytes + 1), ..ok.clone() },
            ),
            ("timeout", Reason::InvalidParams, NewJob { timeout_s: 0, ..ok.clone() }),
            ("timeout", Reason::InvalidParams, NewJob { timeout_s: 86_401, ..ok.clone() }),
            ("caller_id", Reason::InvalidParams, NewJob { caller_id: String::new(), ..ok.clone() }),
            ("context_id", Reason::InvalidParams, NewJob { context_id: "a\nb".into(), ..ok.clone() }),
            ("retries", Reason::InvalidParams, NewJob { retries: u32::MAX, ..ok.clone() }),
            (
                "env_vars",
                Reason::EnvInvalid,
                NewJob { env_vars: [("1A".into(), "x".into())].into(), ..ok.clone() },
            ),
            (
                "env_vars",
                Reason::EnvInvalid,
                NewJob { env_vars: [("A".into(), "x".repeat(limits.max_env_bytes))].into(), ..ok.clone() },
            ),
            (
                "prerequisites",
                Reason::TooManyPrerequisites,
                NewJob { prerequisites: vec![crate::JobId::mint(); 1001], ..ok.clone() },
            ),
        ];
        for (field, reason, job) in cases {
            let error = job.validate(&limits).unwrap_err();
            assert_eq!((error.field(), error.reason()), (Some(field), reason));
        }
    }
}
