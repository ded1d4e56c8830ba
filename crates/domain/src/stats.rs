//! The figures of a node at one moment: what an overview shows.

use crate::{CircleKey, ErrorKind, JobId, ScriptType, Timestamp};

/// Characters of a failure's first line that are kept.
pub const MAX_FAILURE_CHARS: usize = 200;

/// The figures of a node, or of one circle. They are read from lengths that are there anyway: nothing is counted
/// for them while jobs run, and nothing is scanned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// When they were read.
    pub at: Timestamp,
    /// How many jobs there are.
    pub jobs: JobCounts,
    /// The queues, by type and circle: those of the shared pool, those that a runner serves, and those where
    /// jobs wait.
    pub lanes: Vec<LaneStats>,
    /// The runners.
    pub runners: RunnerCounts,
    /// Jobs in and out over the last minutes, the oldest first; empty in a circle, and where Redis does not
    /// tell (before 7.0).
    pub flow: Vec<FlowSample>,
    /// Jobs that ended in error, the latest created first; few.
    pub failures: Vec<FailureLine>,
    /// The store; none in a circle.
    pub store: Option<StoreStats>,
}

/// How many jobs there are. What a circle cannot be told without counting is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Kept, whatever their state. Some whose retention is over may still be among them.
    pub kept: u64,
    /// In a queue.
    pub queued: u64,
    /// Waiting for a time.
    pub delayed: Option<u64>,
    /// Waiting for other jobs.
    pub waiting: Option<u64>,
    /// In the hands of a runner.
    pub started: Option<u64>,
    /// Ended in error. Some whose retention is over may still be among them.
    pub failed: Option<u64>,
}

/// The queue of one type, in the shared pool or in one circle; its priorities together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStats {
    /// The type.
    pub script_type: ScriptType,
    /// The circle; none: the shared pool.
    pub circle: Option<CircleKey>,
    /// How many jobs wait.
    pub waiting: u64,
    /// How long the oldest of them has waited, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Runners that take jobs from it.
    pub runners: u32,
}

/// How many runners there are, by state, and their slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunnerCounts {
    /// Those that take jobs.
    pub alive: u32,
    /// Those that were told to take none.
    pub draining: u32,
    /// Those whose lease is over.
    pub lost: u32,
    /// Slots of the first.
    pub slots: u32,
    /// Slots of the first and the second in which a job runs.
    pub busy: u32,
}

/// Jobs in and out over a short time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowSample {
    /// When the time was over.
    pub at: Timestamp,
    /// Jobs created, a second.
    pub created: f64,
    /// Jobs that ended, a second; one that is started again comes off.
    pub ended: f64,
}

/// A job that ended in error, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureLine {
    /// The job.
    pub job_id: JobId,
    /// Its type.
    pub script_type: ScriptType,
    /// Where it belongs.
    pub context_id: String,
    /// Why it failed.
    pub error_kind: Option<ErrorKind>,
    /// The first line of the failure, cut to [`MAX_FAILURE_CHARS`].
    pub error: String,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// What holds the jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Its version.
    pub version: String,
    /// Bytes of memory that it uses.
    pub used_bytes: u64,
    /// Bytes that it may use; none: what the machine has.
    pub max_bytes: Option<u64>,
    /// Bytes that the machine has; 0: it does not say.
    pub machine_bytes: u64,
    /// What a restart leaves.
    pub persistence: Persistence,
    /// Whether the latest write to its disk went well.
    pub is_saved: bool,
    /// What an operator should know, in words.
    pub warnings: Vec<String>,
}

/// What a restart of the store leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persistence {
    /// Nothing.
    #[default]
    Off,
    /// What the last snapshot had.
    Snapshots,
    /// What the append-only file has.
    Log,
}

impl Persistence {
    /// The lower-case name: `off`, `snapshots`, `log`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Snapshots => "snapshots",
            Self::Log => "log",
        }
    }
}

/// The first line of a text that says something, cut to [`MAX_FAILURE_CHARS`].
#[must_use]
pub fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(MAX_FAILURE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_FAILURE_CHARS, first_line};

    #[test]
    fn a_first_line_is_short_and_says_something() {
        assert_eq!(first_line("\n  \n no such file \nat 3"), "no such file");
        assert_eq!(first_line(""), "");
        assert_eq!(first_line(&"é".repeat(900)).chars().count(), MAX_FAILURE_CHARS);
    }
}
