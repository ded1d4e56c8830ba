//! A job's log.

use serde::{Deserialize, Serialize};

use crate::{JobStatus, Timestamp};

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// The script's standard output.
    Stdout,
    /// The script's standard error.
    Stderr,
    /// The script's own log calls (`print` in Rhai), and what the runner has to say.
    Log,
}

impl LogStream {
    /// The lower-case name: `stdout`, `stderr`, `log`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
        }
    }

    /// The stream of a lower-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Log].into_iter().find(|stream| stream.as_str() == name)
    }
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it came from.
    pub stream: LogStream,
    /// When the store took it.
    pub at: Timestamp,
    /// The text, without its line end; bytes that are not UTF-8 are written as `\xNN`.
    pub text: String,
}

/// A piece of a job's log, oldest line first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Where the next page begins; none: nothing more was there.
    pub next: Option<String>,
}

/// What has come into a job's log since the last news.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogNews {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// The place after them: who follows from here gets what comes next. None: there has been no line yet.
    pub place: Option<String>,
    /// How the job ended, once it has: then these are the last lines.
    pub ended: Option<JobStatus>,
}

impl LogPage {
    /// The lines as one text, each with a line end; none when there is no line.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        if self.lines.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.lines.iter().map(|line| line.text.len() + 1).sum());
        for line in &self.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        Some(text)
    }
}
