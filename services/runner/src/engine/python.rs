//! Python: each script in a `python3` of its own, as the leader of a process group, in a private directory that
//! is its home and goes with it.

#[cfg(test)]
mod tests;

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hero_domain::{ErrorKind, ScriptType};
use hero_store::{Claimed, Outcome};
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Engine, OutputLimits, child};
use crate::attempt::Run;

/// Runs the file `script.py` of the directory it is started in.
const BOOTSTRAP: &str = include_str!("python/bootstrap.py");
/// Says where the interpreter really is (the name on PATH may be a shell script in front of it).
const PROBE: &str = "import sys; print(sys.executable); print('.'.join(map(str, sys.version_info[:3])))";
/// An interpreter that does not start within this time is not there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Settings of Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PythonConfig {
    /// How many scripts run at once; 0: twice as many as there are processors.
    pub slots: usize,
    /// The interpreter: a name on PATH or a path, such as that of a virtual environment.
    pub interpreter: PathBuf,
    /// The PATH that scripts see.
    pub path: String,
    /// Where the directories of jobs are made; empty: the system's directory for temporary files.
    pub work_dir: PathBuf,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            slots: 0,
            interpreter: "python3".into(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            work_dir: PathBuf::new(),
        }
    }
}

/// The Python engine.
pub struct Python {
    shared: Arc<Shared>,
    version: String,
}

struct Shared {
    interpreter: PathBuf,
    path: String,
    work_dir: PathBuf,
    limits: OutputLimits,
}

impl Python {
    /// Looks for the interpreter.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub async fn find(config: &PythonConfig, limits: OutputLimits) -> Result<Self, String> {
        let name = config.interpreter.display();
        let hint = "install Python 3, or set python.interpreter to where it is";
        let probe = Command::new(&config.interpreter).args(["-c", PROBE]).kill_on_drop(true).output();
        let answer = match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(format!("`{name}` does not start ({error}); {hint}")),
            Err(_) => return Err(format!("`{name}` did not answer within {PROBE_TIMEOUT:?}; {hint}")),
        };
        let words = String::from_utf8_lossy(&answer.stdout);
        let mut lines = words.lines();
        match (lines.next(), lines.next()) {
            (Some(executable), Some(version)) if version.starts_with("3.") && !executable.is_empty() => {
                let work_dir = if config.work_dir.as_os_str().is_empty() {
                    std::env::temp_dir()
                } else {
                    config.work_dir.clone()
                };
                let shared =
                    Shared { interpreter: executable.into(), path: config.path.clone(), work_dir, limits };
                Ok(Self { shared: Arc::new(shared), version: version.to_owned() })
            }
            (_, Some(version)) => Err(format!("`{name}` is Python {version}; {hint}")),
            _ => Err(format!(
                "`{name}` is not a working Python 3 ({}: {}); {hint}",
                answer.status,
                String::from_utf8_lossy(&answer.stderr).trim()
            )),
        }
    }

    /// The interpreter's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the interpreter is.
    #[must_use]
    pub fn interpreter(&self) -> &Path {
        &self.shared.interpreter
    }
}

impl Engine for Python {
    fn script_type(&self) -> ScriptType {
        ScriptType::Python
    }

    fn start(&self, run: Run) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let outcome = shared.execute(&run).await;
            run.end(outcome);
        });
    }
}

impl Shared {
    async fn execute(&self, run: &Run) -> Outcome {
        if let Some(interrupt) = run.attempt().interrupt() {
            return run.attempt().outcome_of(interrupt, None);
        }
        let home = match Home::make(&self.work_dir, &run.job) {
            Ok(home) => home,
            Err(error) => return not_prepared(&self.work_dir, &error),
        };
        let remains = child::run(self.command(&home, &run.job), run, self.limits).await;
        match home.why_invalid().filter(|_| remains.has_failed()) {
            Some(error) => Outcome::Failed { kind: ErrorKind::InvalidScript, error, output: None },
            None => remains.outcome(run, self.limits, "Python"),
        }
    }

    fn command(&self, home: &Home, job: &Claimed) -> Command {
        let mut command = Command::new(&self.interpreter);
        // -B: no caches of bytecode in a directory that is about to go.
        command.args(["-B", "-c", BOOTSTRAP]).current_dir(home.path()).env_clear();
        command
            .env("PATH", &self.path)
            .env("LANG", "C.UTF-8")
            .env("PYTHONUNBUFFERED", "1")
            .envs(&job.env_vars)
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env("CALLER_ID", &job.caller_id)
            .env("CONTEXT_ID", &job.context_id)
            .env("JOB_ID", job.id.to_string());
        command
    }
}

fn not_prepared(work_dir: &Path, error: &std::io::Error) -> Outcome {
    tracing::error!(%error, work_dir = %work_dir.display(), "cannot make a directory for a job");
    Outcome::Failed {
        kind: ErrorKind::ScriptFailed,
        error: format!("the runner could not make a directory for the script: {error}"),
        output: None,
    }
}

/// The private directory of one job.
struct Home {
    dir: Option<TempDir>,
    path: PathBuf,
}

impl Home {
    fn make(work_dir: &Path, job: &Claimed) -> std::io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hero-job-").tempdir_in(work_dir)?;
        let path = dir.path().to_owned();
        std::fs::write(path.join("script.py"), &job.script)?;
        Ok(Self { dir: Some(dir), path })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// What the bootstrap found wrong with the script before it ran it.
    fn why_invalid(&self) -> Option<String> {
        /// An error message is shorter.
        const MOST_BYTES: u64 = 4 << 10;
        // The script may have put anything there: a pipe must not block us, nor a link lead elsewhere.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = std::fs::File::from(open(self.path.join(".invalid"), flags, Mode::empty()).ok()?);
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
        Some(text).filter(|text| !text.is_empty())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        let remove = move || {
            if let Err(error) = dir.close() {
                tracing::warn!(%error, "the directory of a job is still there");
            }
        };
        // A script may have left any number of files.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
