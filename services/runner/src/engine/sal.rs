//! SAL: Rhai with the System Abstraction Layer, in a child process of this very program, in the sandbox: so a call
//! that blocks can be killed.

mod child;
mod net;

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use hero_domain::ScriptType;
use hero_store::Outcome;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

pub use self::child::run_if_child;
use super::{Engine, OutputLimits};
use crate::{
    attempt::Run,
    child::{command, not_prepared, run},
    sandbox::{Needs, Policy, Sandbox},
};

/// The first argument of a child.
const CHILD: &str = "hero-sal-child";
/// The argument of a child that has a network.
const NETWORK: &str = "network";
/// What a child says when it is asked whether it is one.
const IS_CHILD: &str = "a SAL child";
/// A program that does not answer within this time is none that can run SAL.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// A part of the System Abstraction Layer: one published crate each, but for `net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Module {
    /// sal-os: files, directories, the platform.
    Os,
    /// sal-process: commands and processes.
    Process,
    /// sal-text: names, indents, replacements, templates.
    Text,
    /// Whether something answers, and what a URL has; needs [`SalConfig::network`].
    Net,
}

impl Module {
    const ALL: [Self; 4] = [Self::Os, Self::Process, Self::Text, Self::Net];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Os => "os",
            Self::Process => "process",
            Self::Text => "text",
            Self::Net => "net",
        }
    }
}

/// Settings of SAL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SalConfig {
    /// How many scripts run at once; 0: twice as many as there are processors.
    pub slots: usize,
    /// The parts of the System Abstraction Layer that scripts have.
    pub modules: Vec<Module>,
    /// Whether scripts may use the network: whatever the runner's host can reach, its own services too.
    pub network: bool,
    /// The program that runs the scripts; empty: this one. It must be a runner or a launcher.
    pub program: PathBuf,
    /// The PATH that scripts see.
    pub path: String,
}

impl Default for SalConfig {
    fn default() -> Self {
        Self {
            slots: 0,
            modules: Module::ALL.to_vec(),
            network: false,
            program: PathBuf::new(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
        }
    }
}

/// The SAL engine.
pub struct Sal {
    shared: Arc<Shared>,
}

struct Shared {
    program: PathBuf,
    modules: String,
    network: bool,
    path: String,
    policy: Policy,
    limits: OutputLimits,
}

impl Sal {
    /// Asks the program whether it can run SAL.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub async fn find(config: &SalConfig, sandbox: &Sandbox, limits: OutputLimits) -> Result<Self, String> {
        let program = if config.program.as_os_str().is_empty() {
            std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?
        } else {
            config.program.clone()
        };
        let name = program.display();
        let hint = "set sal.program to a runner or a launcher";
        let probe = Command::new(&program).arg(CHILD).stdin(Stdio::null()).kill_on_drop(true).output();
        match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
            Ok(Ok(answer)) if answer.stdout.starts_with(IS_CHILD.as_bytes()) => {}
            Ok(Ok(_)) => return Err(format!("`{name}` cannot run SAL scripts; {hint}")),
            Ok(Err(error)) => return Err(format!("`{name}` does not start ({error}); {hint}")),
            Err(_) => return Err(format!("`{name}` did not answer within {PROBE_TIMEOUT:?}; {hint}")),
        }
        let network = config.network;
        let needs = Needs { readable: vec![program.clone()], network, ..Needs::default() };
        let policy =
            sandbox.policy(needs).map_err(|error| format!("its sandbox cannot be built: {error}"))?;
        let modules: Vec<_> = config.modules.iter().map(|module| module.as_str()).collect();
        let shared = Shared {
            program,
            modules: modules.join(","),
            network,
            path: config.path.clone(),
            policy,
            limits,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Engine for Sal {
    fn script_type(&self) -> ScriptType {
        ScriptType::Sal
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
    async fn execute(&self, job: &Run) -> Outcome {
        if let Some(interrupt) = job.attempt().interrupt() {
            return job.attempt().outcome_of(interrupt, None);
        }
        let home = match self.policy.home() {
            Ok(home) => home,
            Err(error) => return not_prepared(&error),
        };
        let mut command = command(&self.program, &self.path, &home, &job.job);
        command.arg(CHILD).arg(&self.modules).args(self.network.then_some(NETWORK));
        let remains = run(command, &self.policy, &home, job, self.limits).await;
        remains.outcome(job, self.limits, "SAL")
    }
}
