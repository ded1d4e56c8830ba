//! Python: each script in a `python3` of its own, as the leader of a process group, in the sandbox, with a
//! private directory that is its home and goes with it.

mod pool;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use hero_domain::ScriptType;
use hero_store::Outcome;
use serde::{Deserialize, Serialize};
use tokio::{process::Command, sync::oneshot, task::AbortHandle};

use self::pool::{Recipe, Warm};
use super::{Engine, OutputLimits};
use crate::{
    attempt::Run,
    child::{self, Leader},
    sandbox::{Home, Needs, Policy, Sandbox},
};

/// The module that scripts import as `hero`.
const HERO: &str = include_str!("python/hero.py");
/// Runs the job.
const RUNTIME: &str = include_str!("python/runtime.py");
/// Runs jobs in copies of itself.
const SERVER: &str = include_str!("python/server.py");
/// Says where the interpreter really is (the name on PATH may be a shell script in front of it), and which
/// directories it needs.
const PROBE: &str = "import sys, sysconfig\n\
    print('.'.join(map(str, sys.version_info[:3])))\n\
    print(sys.executable)\n\
    for path in {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *sysconfig.get_paths().values()}:\n\
    \x20   if path: print(path)";
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
    /// Whether scripts run in copies of an interpreter that is there already, which is much faster than to start
    /// one for each.
    pub warm: bool,
    /// Modules that the warm interpreter imports beforehand, so that scripts have them at once.
    pub preload: Vec<String>,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            slots: 0,
            interpreter: "python3".into(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            warm: true,
            preload: Vec::new(),
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
    policy: Arc<Policy>,
    limits: OutputLimits,
    program: String,
    warm: Warm,
    /// Keeps the warm interpreter.
    keeper: OnceLock<AbortHandle>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

/// What an interpreter says of itself.
struct Interpreter {
    version: String,
    executable: PathBuf,
    directories: Vec<PathBuf>,
}

impl Python {
    /// Looks for the interpreter and tries it in the sandbox.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub async fn find(
        config: &PythonConfig,
        sandbox: &Sandbox,
        limits: OutputLimits,
    ) -> Result<Self, String> {
        let found = Interpreter::ask(config).await?;
        let mut readable = found.directories;
        readable.push(found.executable.clone());
        let policy = sandbox
            .policy(Needs { readable: readable.clone(), ..Needs::default() })
            .map_err(|error| format!("its sandbox cannot be built: {error}"))?;
        let shared = Shared {
            interpreter: found.executable,
            path: config.path.clone(),
            policy: Arc::new(policy),
            limits,
            program: program("main()"),
            warm: Warm::default(),
            keeper: OnceLock::new(),
        };
        shared.try_in_sandbox().await?;
        let shared = Arc::new(shared);
        if config.warm {
            shared.warm_up(config, sandbox, readable).await?;
        }
        Ok(Self { shared, version: found.version })
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

impl Shared {
    /// Starts the warm interpreter and whoever starts it again. Scripts run without one while there is none.
    async fn warm_up(
        self: &Arc<Self>,
        config: &PythonConfig,
        sandbox: &Sandbox,
        readable: Vec<PathBuf>,
    ) -> Result<(), String> {
        let policy = sandbox
            .policy(Needs { readable, server: true, ..Needs::default() })
            .map_err(|error| format!("the sandbox of its warm interpreter cannot be built: {error}"))?;
        let recipe = Recipe {
            interpreter: self.interpreter.clone(),
            program: program(SERVER),
            path: self.path.clone(),
            preload: config.preload.clone(),
            policy,
            of_jobs: Arc::clone(&self.policy),
            slots: config.slots,
        };
        let (is_settled, settled) = oneshot::channel();
        let keeper = tokio::spawn(pool::keep(recipe, self.warm.clone(), is_settled));
        let _ = self.keeper.set(keeper.abort_handle());
        // The first jobs are fast, too; a keeper that is gone has nothing to wait for.
        let _ = settled.await;
        Ok(())
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

impl Interpreter {
    async fn ask(config: &PythonConfig) -> Result<Self, String> {
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
            (Some(version), Some(executable)) if version.starts_with("3.") && !executable.is_empty() => {
                let directories = lines.map(PathBuf::from).collect();
                Ok(Self { version: version.to_owned(), executable: executable.into(), directories })
            }
            (Some(version), _) => Err(format!("`{name}` is Python {version}; {hint}")),
            _ => Err(format!(
                "`{name}` is not a working Python 3 ({}: {}); {hint}",
                answer.status,
                String::from_utf8_lossy(&answer.stderr).trim()
            )),
        }
    }
}

/// The text that an interpreter is started with.
fn program(call: &str) -> String {
    // A text in JSON is a text in Python, too.
    format!("HERO = {}\n{RUNTIME}\n{call}\n", serde_json::Value::from(HERO))
}

impl Shared {
    /// Whether the interpreter starts where the jobs will.
    async fn try_in_sandbox(&self) -> Result<(), String> {
        let name = self.interpreter.display();
        let hint = "sandbox.readable names what else scripts may read";
        let failed =
            |error: std::io::Error| format!("`{name}` does not start in the sandbox ({error}); {hint}");
        let home = self.policy.home().map_err(failed)?;
        let mut command = Command::new(&self.interpreter);
        command.args(["-B", "-c", "import json, os, sys, types"]).env_clear().current_dir(home.path());
        self.policy.confine(command.as_std_mut(), &home, PROBE_TIMEOUT, Vec::new()).map_err(failed)?;
        let answer = tokio::time::timeout(PROBE_TIMEOUT, command.kill_on_drop(true).output()).await;
        match answer {
            Ok(Ok(answer)) if answer.status.success() => Ok(()),
            Ok(Ok(answer)) => Err(format!(
                "`{name}` does not work in the sandbox ({}: {}); {hint}",
                answer.status,
                String::from_utf8_lossy(&answer.stderr).trim()
            )),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(format!("`{name}` did not answer in the sandbox within {PROBE_TIMEOUT:?}")),
        }
    }

    async fn execute(&self, run: &Run) -> Outcome {
        if let Some(interrupt) = run.attempt().interrupt() {
            return run.attempt().outcome_of(interrupt, None);
        }
        let remains = if let Some((mut job, ears, home)) = self.warm.start(run).await {
            let remains = child::attend(&mut job, ears, &self.policy, &home, run, self.limits).await;
            if remains.is_ending {
                // Its directory and its user are free again once it is gone; how it ends it has said.
                tokio::spawn(async move {
                    let _ = job.exited().await;
                    drop(home);
                });
            }
            remains
        } else {
            let home = match self.policy.home() {
                Ok(home) => home,
                Err(error) => return child::not_prepared(&error),
            };
            child::run(self.command(&home, run), &self.policy, &home, run, self.limits).await
        };
        remains.outcome(run, self.limits, "Python")
    }

    fn command(&self, home: &Home, run: &Run) -> Command {
        let mut command = child::command(&self.interpreter, &self.path, home, &run.job);
        // -B: no caches of bytecode in a directory that is about to go. -u: lines are in the log when printed.
        command.args(["-B", "-u", "-c", &self.program]);
        command
    }
}
