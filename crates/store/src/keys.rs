//! Every key of the job store, in one place; the scripts get the same names as Lua constants.

use hero_domain::{CircleKey, JobId, JobLimits, Priority, RunnerId, ScheduleId, ScriptType};

use crate::{Lane, ObjectName};

pub(crate) const JOB: &str = "hero:job:";
const LOGS: &str = ":logs";
const DEPENDENTS: &str = ":dependents";
const QUEUE: &str = "hero:q:work:type:";
const GROUP: &str = ":group:";
/// The older name of a circle's Rhai queue; its runners drain it too.
const RHAI_TASKS: &str = "rhai_tasks:";
const INFLIGHT: &str = "hero:q:inflight:";
const CONTROL: &str = "hero:q:control:";
const REPLY: &str = "hero:q:reply:";
pub(crate) const DELAYED: &str = "hero:q:delayed";
/// Jobs beyond the limit of their context, outside of every queue.
const PARKED: &str = "hero:q:parked:";
/// Jobs that count against the limit of their context.
const ADMITTED: &str = "hero:running:context:";
/// How many jobs of a context run at once; the empty name is for those that have none of their own.
pub(crate) const LIMITS: &str = "hero:limits:running";
/// Contexts that have jobs in one of the two.
pub(crate) const LIMITED: &str = "hero:limited";
const RELEASE: &str = "hero:q:release";
pub(crate) const LEASES: &str = "hero:leases";
pub(crate) const RUNNERS: &str = "hero:runners";
const RUNNER: &str = "hero:runner:";
const STOPS: &str = ":stops";
pub(crate) const EVENTS: &str = "hero:events";
/// The channel on which the ids of jobs that have ended are published, and the record of one that ended alone after
/// them; no key.
pub(crate) const ENDED: &str = "hero:ended";
/// Logs that are followed and have got new lines.
pub(crate) const LOG_EVENTS: &str = "hero:events:logs";
pub(crate) const INDEX: &str = "hero:jobs";
const CONTEXT: &str = "hero:jobs:context:";
pub(crate) const ERRORS: &str = "hero:jobs:status:error";
pub(crate) const WAITING: &str = "hero:jobs:status:waiting_for_prerequisites";
const IDEM: &str = "hero:idem:";
const SCHEDULE: &str = "hero:schedule:";
/// All schedules by the time that they are to be looked at; a paused one never is.
pub(crate) const SCHEDULES: &str = "hero:schedules";
const SCHEDULES_CONTEXT: &str = "hero:schedules:context:";
/// When the latest sweep was.
const SWEPT_AT: &str = "hero:meta:swept_at";
/// When the latest time without sweeps was over.
const BACK_AT: &str = "hero:meta:back_at";
const OBJECTS: &str = "hero:osis:objects:";
const OBJECT_IDS: &str = "hero:osis:ids:";
const OBJECT_FIELDS: &str = "hero:osis:fields:";
const OBJECT_INDEX: &str = "hero:osis:index:";
const OBJECT_COUNTERS: &str = "hero:osis:counters:";
const OBJECT_USAGE: &str = "hero:osis:usage:";
/// Circles that were added at run time.
pub(crate) const CIRCLES: &str = "hero:circles";
pub(crate) const API_KEYS: &str = "hero:auth:keys";
/// When each API key was used last.
pub(crate) const API_KEYS_USED: &str = "hero:auth:keys:used";
/// What nonces and tokens are sealed with.
pub(crate) const SEAL: &str = "hero:auth:seal";
const USED_NONCE: &str = "hero:auth:used:";
/// Who did what.
pub(crate) const AUDIT: &str = "hero:audit";
/// What each context with a budget keeps, in bytes.
pub(crate) const BYTES: &str = "hero:jobs:bytes";
/// The same of each job of a context.
const BYTES_OF: &str = "hero:jobs:bytes:";
/// The ended jobs of a context with a budget, by the time of their end.
const KEPT: &str = "hero:jobs:kept:";
const BYTES_PLACE: &str = "hero:meta:bytes_place";
const SWEEP_PLACE: &str = "hero:meta:sweep_place";
const WAITING_PLACE: &str = "hero:meta:waiting_place";
const LIMITED_PLACE: &str = "hero:meta:limited_place";
/// The clock of a test, in milliseconds; only scripts made for one look at it.
pub(crate) const TEST_CLOCK: &str = "hero:meta:test_clock";

/// Events that are kept for a reader that falls behind; a wait that misses one finds out by a look.
const EVENTS_KEPT: u32 = 2_048;
/// The same of logs; a reader that misses one finds out by a look.
const LOG_EVENTS_KEPT: u32 = 512;
/// A pause between two sweeps that is longer than this was an outage: nobody could renew a lease either.
pub(crate) const OUTAGE_MS: u64 = 3_000;
/// The longest pause between two sweeps that is none, with time for the sweep itself.
pub const LONGEST_SWEEP_PAUSE_MS: u64 = OUTAGE_MS / 2;
/// Bytes that a job is counted for beside its texts: a small one takes as many.
const JOB_COSTS: u32 = 600;
/// Bytes of a record that is published with its end.
const RECORD_BYTES: u32 = 4_096;
/// Seconds that a reply is kept for a caller that pops it.
const REPLY_KEPT_S: u32 = 60;

/// The names and numbers above, for the scripts.
pub(crate) fn as_lua() -> String {
    let names = [
        ("JOB", JOB),
        ("LOGS", LOGS),
        ("DEPENDENTS", DEPENDENTS),
        ("QUEUE", QUEUE),
        ("GROUP", GROUP),
        ("INFLIGHT", INFLIGHT),
        ("CONTROL", CONTROL),
        ("REPLY", REPLY),
        ("DELAYED", DELAYED),
        ("RELEASE", RELEASE),
        ("LEASES", LEASES),
        ("RUNNERS", RUNNERS),
        ("RUNNER", RUNNER),
        ("STOPS", STOPS),
        ("EVENTS", EVENTS),
        ("ENDED", ENDED),
        ("LOG_EVENTS", LOG_EVENTS),
        ("INDEX", INDEX),
        ("CONTEXT", CONTEXT),
        ("ERRORS", ERRORS),
        ("WAITING", WAITING),
        ("IDEM", IDEM),
        ("SCHEDULE", SCHEDULE),
        ("SCHEDULES", SCHEDULES),
        ("SCHEDULES_CONTEXT", SCHEDULES_CONTEXT),
        ("SWEPT_AT", SWEPT_AT),
        ("BACK_AT", BACK_AT),
        ("OBJECTS", OBJECTS),
        ("OBJECT_IDS", OBJECT_IDS),
        ("OBJECT_FIELDS", OBJECT_FIELDS),
        ("OBJECT_INDEX", OBJECT_INDEX),
        ("OBJECT_COUNTERS", OBJECT_COUNTERS),
        ("OBJECT_USAGE", OBJECT_USAGE),
        ("BYTES", BYTES),
        ("BYTES_OF", BYTES_OF),
        ("KEPT", KEPT),
        ("BYTES_PLACE", BYTES_PLACE),
        ("SWEEP_PLACE", SWEEP_PLACE),
        ("WAITING_PLACE", WAITING_PLACE),
        ("LIMITED_PLACE", LIMITED_PLACE),
        ("LIMITS", LIMITS),
        ("LIMITED", LIMITED),
        ("ADMITTED", ADMITTED),
        ("PARKED", PARKED),
        ("TEST_CLOCK", TEST_CLOCK),
        ("DEFAULT_CONTEXT", hero_domain::DEFAULT_CONTEXT),
    ];
    let limits = JobLimits::default();
    let numbers = [
        ("EVENTS_KEPT", u64::from(EVENTS_KEPT)),
        ("LOG_EVENTS_KEPT", u64::from(LOG_EVENTS_KEPT)),
        ("REPLY_KEPT", u64::from(REPLY_KEPT_S)),
        ("OUTAGE", OUTAGE_MS),
        ("JOB_COSTS", JOB_COSTS.into()),
        ("RECORD_BYTES", RECORD_BYTES.into()),
        ("DEFAULT_RETENTION", limits.default_retention_s.into()),
        ("DEFAULT_TIMEOUT", limits.default_timeout_s.into()),
        ("DEFAULT_BACKOFF", limits.default_retry_backoff_ms),
        ("MAX_BACKOFF", limits.max_retry_backoff_ms),
        ("DEFAULT_DELIVERIES", limits.default_max_deliveries.into()),
    ];
    let names = names.iter().map(|(name, key)| format!("local {name} = '{key}'\n"));
    let numbers = numbers.iter().map(|(name, value)| format!("local {name} = {value}\n"));
    names.chain(numbers).collect()
}

pub(crate) fn job(id: JobId) -> String {
    let mut text = [0; 36];
    [JOB, id.as_uuid().hyphenated().encode_lower(&mut text)].concat()
}

pub(crate) fn job_log(id: JobId) -> String {
    job(id) + LOGS
}

pub(crate) fn job_dependents(id: JobId) -> String {
    job(id) + DEPENDENTS
}

pub(crate) fn used_nonce(random: &str) -> String {
    [USED_NONCE, random].concat()
}

pub(crate) fn schedule(id: ScheduleId) -> String {
    format!("{SCHEDULE}{id}")
}

pub(crate) fn context_schedules(context: &str) -> String {
    [SCHEDULES_CONTEXT, context].concat()
}

pub(crate) fn objects(collection: &ObjectName, context: &str) -> String {
    [OBJECTS, collection.as_str(), ":", context].concat()
}

pub(crate) fn object_counters(context: &str) -> String {
    [OBJECT_COUNTERS, context].concat()
}

pub(crate) fn parked(context: &str) -> String {
    [PARKED, context].concat()
}

pub(crate) fn admitted(context: &str) -> String {
    [ADMITTED, context].concat()
}

pub(crate) fn context_index(context: &str) -> String {
    [CONTEXT, context].concat()
}

pub(crate) fn inflight(runner: &RunnerId) -> String {
    [INFLIGHT, runner.as_str()].concat()
}

/// Where the wait for work of a lane puts what it takes. That of a circle has a list of its own, for a job
/// that an outside producer has put into the circle's queue need not say itself where it came from.
pub(crate) fn hand(runner: &RunnerId, lane: &Lane) -> String {
    let circle = lane.circle.as_ref().map(|circle| [GROUP, circle.as_str()].concat());
    inflight(runner) + circle.as_deref().unwrap_or_default()
}

/// Every list of [`inflight`] and [`hand`].
pub(crate) fn any_hand() -> String {
    format!("{INFLIGHT}*")
}

/// Whose list this is: a runner, and the circle that it was taken from (none: empty).
pub(crate) fn holder(list: &str) -> Option<(&str, &str)> {
    let holder = list.strip_prefix(INFLIGHT)?;
    Some(holder.split_once(GROUP).unwrap_or((holder, "")))
}

pub(crate) fn control(runner: &RunnerId) -> String {
    [CONTROL, runner.as_str()].concat()
}

pub(crate) fn runner(runner: &RunnerId) -> String {
    [RUNNER, runner.as_str()].concat()
}

pub(crate) fn queue(script_type: ScriptType, circle: Option<&CircleKey>, priority: Priority) -> String {
    let mut key = [QUEUE, script_type.as_key()].concat();
    if let Some(circle) = circle {
        key.push_str(GROUP);
        key.push_str(circle.as_str());
    }
    match priority {
        Priority::Normal => {}
        Priority::High | Priority::Low => {
            key.push(':');
            key.push_str(priority.as_key());
        }
    }
    key
}

/// The lists of a lane, in the order in which they are drained.
pub(crate) fn lists(lane: &Lane, low_first: bool) -> Vec<String> {
    let of = |priority| queue(lane.script_type, lane.circle.as_ref(), priority);
    let mut lists = vec![of(Priority::High), of(Priority::Normal)];
    if let Some(circle) = lane.circle.as_ref().filter(|_| lane.script_type == ScriptType::Osis) {
        lists.push([RHAI_TASKS, circle.as_str()].concat());
    }
    lists.insert(if low_first { 0 } else { lists.len() }, of(Priority::Low));
    lists
}
