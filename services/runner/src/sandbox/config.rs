//! The sandbox's settings.

use std::path::PathBuf;

use hero_config::{Invalid, ensure};
use serde::{Deserialize, Serialize};

/// How much of the sandbox must be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Seccomp, no_new_privs, limits and a closed file system, or the runner does not start.
    #[default]
    Required,
    /// What the machine has; what is missing stands in the log.
    BestEffort,
    /// None of it: scripts may do what the runner may.
    None,
}

/// Settings of the sandbox that every script with a process of its own runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// How much of it must be had: `required`, `best-effort` or `none`.
    pub mode: Mode,
    /// Files and directories that scripts may read and execute, beside those of the system.
    pub readable: Vec<PathBuf>,
    /// Where the directories of jobs are made; empty: the system's directory for temporary files.
    pub work_dir: PathBuf,
    /// A runner that is root gives each running job a user of its own, from this number on.
    pub first_user: u32,
    /// How many of them.
    pub users: u32,
    /// Whether jobs get control groups of their own, where the runner may make some.
    pub cgroups: bool,
    /// Bytes of memory that one process of a job may have of its own; with a control group, all of them together.
    pub max_memory_bytes: u64,
    /// Processes and threads of one job; where jobs share a user, of all of them together.
    pub max_processes: u64,
    /// Files that one process may have open.
    pub max_open_files: u64,
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Bytes in a job's directory, looked at several times a second.
    pub max_dir_bytes: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Required,
            readable: Vec::new(),
            work_dir: PathBuf::new(),
            // Neither Linux distributions nor systemd hand these out.
            first_user: 60_706,
            users: 478,
            cgroups: true,
            max_memory_bytes: 1 << 30,
            max_processes: 64,
            max_open_files: 1_024,
            max_file_bytes: 256 << 20,
            max_dir_bytes: 512 << 20,
        }
    }
}

impl SandboxConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Which one cannot work.
    pub fn validate(&self) -> Result<(), Invalid> {
        ensure(
            self.first_user >= 1_000,
            "first_user",
            "it must be at least 1000, lest it be a system's user",
        )?;
        ensure(self.users > 0, "users", "it must be at least 1")?;
        for (key, value, least) in [
            ("max_memory_bytes", self.max_memory_bytes, 64 << 20),
            ("max_processes", self.max_processes, 1),
            ("max_open_files", self.max_open_files, 16),
            ("max_file_bytes", self.max_file_bytes, 1 << 20),
            ("max_dir_bytes", self.max_dir_bytes, 1 << 20),
        ] {
            ensure(value >= least, key, format!("it must be at least {least}"))?;
        }
        Ok(())
    }

    /// Where the directories of jobs are made.
    pub(crate) fn work_dir(&self) -> PathBuf {
        if self.work_dir.as_os_str().is_empty() { std::env::temp_dir() } else { self.work_dir.clone() }
    }
}
