//! Why a command did not do what it was asked to, and the exit status that says so.

use std::process::ExitCode;

/// The exit status of each kind of end; `hero --help` lists them.
const FAILED: u8 = 1;
const JOB_FAILED: u8 = 2;
const WRONG_COMMAND: u8 = 64;
const NO_NODE: u8 = 69;
const NOT_ALLOWED: u8 = 77;
const TIMED_OUT: u8 = 124;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The node answered with an error.
    #[error("{message}")]
    Refused {
        /// Its JSON-RPC code.
        code: i32,
        /// Its words.
        message: String,
        /// Its reason, such as JOB_NOT_FOUND.
        reason: Option<String>,
    },
    /// No answer came.
    #[error("no node answers at {url}: {why}. Start one with `hero up`, or name another with --url")]
    NoNode {
        /// Where it was looked for.
        url: String,
        /// What the transport says.
        why: String,
    },
    /// The job ended in error; it has been told already.
    #[error("")]
    JobFailed,
    /// What was written cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// Something of this machine.
    #[error("{0:#}")]
    Local(#[from] anyhow::Error),
}

impl Failure {
    /// What to do next, where that is known.
    fn hint(&self) -> Option<&'static str> {
        let Self::Refused { reason, .. } = self else { return None };
        Some(match reason.as_deref()? {
            "JOB_NOT_FOUND" => "`hero jobs` lists the jobs that there are",
            "RUNNER_NOT_FOUND" => "`hero runners` lists the runners that there are",
            "SCHEDULE_NOT_FOUND" => "`hero schedule ls` lists the schedules that there are",
            "AUTHENTICATION_REQUIRED" => "give a key with --key, HERO_KEY or `hero context add`",
            "SCOPE_INSUFFICIENT" => "`hero whoami` says what your key may do",
            "WAIT_TIMEOUT" => "the job goes on; `hero explain JOB_ID` says where it is",
            "JOB_NOT_FAILED" => "only a job that ended in error can be tried again",
            "STORE_UNAVAILABLE" | "UPSTREAM_UNAVAILABLE" => "`hero doctor` looks for the cause",
            _ => return None,
        })
    }

    fn status(&self) -> u8 {
        match self {
            Self::JobFailed => JOB_FAILED,
            Self::Usage(_) => WRONG_COMMAND,
            Self::NoNode { .. } => NO_NODE,
            Self::Refused { code: -32030 | -32031, .. } => NOT_ALLOWED,
            Self::Refused { code: -32002, .. } => TIMED_OUT,
            Self::Refused { code: -32602 | -32601, .. } => WRONG_COMMAND,
            Self::Refused { .. } | Self::Local(_) => FAILED,
        }
    }

    /// Tells it on the error output, and gives the exit status.
    #[allow(clippy::print_stderr, reason = "it is what a command says to a person")]
    pub(crate) fn tell(&self) -> ExitCode {
        if !matches!(self, Self::JobFailed) {
            eprintln!("hero: {self}");
            if let Some(hint) = self.hint() {
                eprintln!("      {hint}");
            }
            if let Self::Refused { reason: Some(reason), .. } = self {
                eprintln!("      ({reason}, see docs/errors/{reason}.md)");
            }
        }
        ExitCode::from(self.status())
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;
