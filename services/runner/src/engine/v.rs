//! V: a script is compiled once by the real `v`, in the sandbox; its program is kept and runs like any child.

mod cache;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hero_domain::{ErrorKind, ScriptType};
use hero_store::Outcome;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use self::cache::Programs;
use super::{Engine, OutputLimits};
use crate::{
    attempt::Run,
    child::{self, Ending, Remains},
    config::search_path,
    sandbox::{Home, Needs, Policy, Sandbox, SandboxConfig},
};

/// The module that scripts import as `hero`.
const HERO: &str = include_str!("v/hero.v");
/// A compiler that does not tell its version within this time is not there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// A program that could not be executed for the moment is tried again after so long.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Settings of V.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VConfig {
    /// How many scripts run at once; 0: twice as many as there are processors.
    pub slots: usize,
    /// The compiler: a name on PATH or a path.
    pub compiler: PathBuf,
    /// Flags for the compiler, before all others, such as `-cc gcc`.
    pub flags: Vec<String>,
    /// The PATH that the compiler and scripts see.
    pub path: String,
    /// Bytes of compiled programs that are kept, the ones used last.
    pub cache_bytes: u64,
}

impl Default for VConfig {
    fn default() -> Self {
        Self {
            slots: 0,
            compiler: "v".into(),
            flags: Vec::new(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            cache_bytes: 256 << 20,
        }
    }
}

/// The V engine.
pub struct V {
    shared: Arc<Shared>,
}

struct Shared {
    compiler: PathBuf,
    flags: Vec<String>,
    path: String,
    compiling: Policy,
    running: Policy,
    limits: OutputLimits,
    programs: Programs,
    /// Texts that are being compiled: whoever has the same waits, and finds the program.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl V {
    /// Looks for the compiler.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub async fn find(
        config: &VConfig,
        sandbox: &Sandbox,
        settings: &SandboxConfig,
        limits: OutputLimits,
    ) -> Result<Self, String> {
        let name = config.compiler.display();
        let hint = "install V (https://vlang.io) on the PATH of the runner, or set v.compiler to where it is";
        let compiler = which(&config.compiler).ok_or_else(|| format!("there is no `{name}`; {hint}"))?;
        let probe = Command::new(&compiler).arg("version").kill_on_drop(true).output();
        match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
            Ok(Ok(answer)) if answer.status.success() && answer.stdout.starts_with(b"V ") => {}
            Ok(Ok(answer)) => {
                let words = String::from_utf8_lossy(&answer.stderr);
                return Err(format!(
                    "`{name}` is not a V compiler ({}: {}); {hint}",
                    answer.status,
                    words.trim()
                ));
            }
            Ok(Err(error)) => return Err(format!("`{name}` does not start ({error}); {hint}")),
            Err(_) => return Err(format!("`{name}` did not answer within {PROBE_TIMEOUT:?}; {hint}")),
        }
        let failed = |error: io::Error| format!("its sandbox cannot be built: {error}");
        // The libraries of V lie beside its compiler.
        let library = compiler.parent().map(Path::to_owned).unwrap_or_default();
        let compiling =
            sandbox.policy(Needs { readable: vec![library], ..Needs::default() }).map_err(failed)?;
        let running = sandbox.policy(Needs::default()).map_err(failed)?;
        let programs = Programs::new(&settings.work_dir(), config.cache_bytes).map_err(failed)?;
        let shared = Shared {
            compiler,
            flags: config.flags.clone(),
            path: config.path.clone(),
            compiling,
            running,
            limits,
            programs,
            busy: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// Whether the program could not be executed because somebody still had it open.
fn is_busy(remains: &Remains) -> bool {
    matches!(&remains.ending, Ending::NotStarted(error) if error.kind() == io::ErrorKind::ExecutableFileBusy)
}

/// Where a program really is.
fn which(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.canonicalize().ok();
    }
    search_path().iter().map(|dir| dir.join(program)).find(|file| file.is_file())?.canonicalize().ok()
}

impl Engine for V {
    fn script_type(&self) -> ScriptType {
        ScriptType::V
    }

    fn start(&self, run: Run) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let outcome = shared.execute(&run).await.unwrap_or_else(|outcome| outcome);
            run.end(outcome);
        });
    }
}

impl Shared {
    /// The outcome, an early one as the error.
    async fn execute(&self, run: &Run) -> Result<Outcome, Outcome> {
        if let Some(interrupt) = run.attempt().interrupt() {
            return Err(run.attempt().outcome_of(interrupt, None));
        }
        let home = self.running.home().map_err(|error| child::not_prepared(&error))?;
        let program = home.path().join(".program");
        let not_prepared = |error: io::Error| child::not_prepared(&error);
        if !self.programs.take(&run.job.script, &program).map_err(not_prepared)? {
            self.compile(run).await?;
            if !self.programs.take(&run.job.script, &program).map_err(not_prepared)? {
                return Err(child::not_prepared(&io::Error::other("its program did not stay in the cache")));
            }
        }
        let mut remains = self.run_program(&program, &home, run).await;
        // A process that another job is just being forked to holds all our files open for a moment, the one that the
        // program was written through, too: and what is open for writing cannot be executed.
        while is_busy(&remains) && run.attempt().interrupt().is_none() {
            tokio::time::sleep(BUSY_PAUSE).await;
            remains = self.run_program(&program, &home, run).await;
        }
        Ok(remains.outcome(run, self.limits, "The program"))
    }

    async fn run_program(&self, program: &Path, home: &Home, run: &Run) -> Remains {
        let command = child::command(program, &self.path, home, &run.job);
        child::run(command, &self.running, home, run, self.limits).await
    }

    /// Compiles the script of a job, unless somebody else just has.
    async fn compile(&self, run: &Run) -> Result<(), Outcome> {
        let source = run.job.script.as_str();
        let turn = Arc::clone(self.busy.lock().entry(source.to_owned()).or_default());
        let _turn = tokio::select! {
            turn = turn.lock() => turn,
            interrupt = run.attempt().interrupted() => return Err(run.attempt().outcome_of(interrupt, None)),
        };
        let home = self.compiling.home().map_err(|error| child::not_prepared(&error))?;
        let made = home.path().join("program");
        let is_there = self.programs.take(source, &made).map_err(|error| child::not_prepared(&error))?;
        if is_there {
            return Ok(());
        }
        let done = self.compile_in(&home, &made, run).await;
        self.busy.lock().remove(source);
        done
    }

    async fn compile_in(&self, home: &Home, made: &Path, run: &Run) -> Result<(), Outcome> {
        let project = home.path().join("script");
        write_project(&project, &run.job.script).map_err(|error| child::not_prepared(&error))?;
        let mut command = Command::new(&self.compiler);
        // Nothing of the job but its text: the program is for all that have the same text.
        command.env_clear().env("PATH", &self.path).env("LANG", "C.UTF-8").env("HOME", home.path());
        command.env("TMPDIR", home.path()).env("VTMP", home.path());
        command.env("VMODULES", home.path().join(".vmodules")).env("VCOLORS", "never");
        command.args(&self.flags).arg("-o").arg(made).arg(".").current_dir(&project);
        let remains = child::run(command, &self.compiling, home, run, self.limits).await;
        if remains.has_failed() {
            let error = remains.stderr_tail.trim_end().to_owned();
            return Err(Outcome::Failed { kind: ErrorKind::InvalidScript, error, output: None });
        }
        match remains.outcome(run, self.limits, "The V compiler") {
            Outcome::Finished { .. } => {
                let kept = self.programs.keep(&run.job.script, made);
                kept.map_err(|error| Outcome::Failed {
                    kind: ErrorKind::InvalidScript,
                    error: format!("the compiler made no program ({error}); is there a `fn main()`?"),
                    output: None,
                })
            }
            early => Err(early),
        }
    }
}

/// The script as `main.v`, beside the module `hero`. Readable by the job's user.
fn write_project(project: &Path, script: &str) -> io::Result<()> {
    std::fs::create_dir_all(project.join("hero"))?;
    std::fs::write(project.join("main.v"), script)?;
    std::fs::write(project.join("hero/hero.v"), HERO)
}
