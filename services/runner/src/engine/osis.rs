//! OSIS: Rhai in this process. One engine is built once and shared by all jobs; a script is compiled once and
//! kept; each job runs in a scope of its own, on a thread that is not tokio's.

mod cache;
mod helper;
mod memory;
mod objects;
pub(super) mod outcome;
mod pool;
mod sandbox;
#[cfg(test)]
mod tests;

use std::{panic::AssertUnwindSafe, thread::available_parallelism};

use hero_domain::ScriptType;
use hero_store::{ObjectLimits, Outcome};
use rhai::Scope;
use serde::{Deserialize, Serialize};

pub use self::objects::ObjectAccess;
use self::{cache::Scripts, pool::Pool};
use super::{Engine, OutputLimits};
use crate::attempt::Run;

/// Settings of OSIS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OsisConfig {
    /// How many jobs it takes at once; those that compute share the processors.
    pub slots: usize,
    /// Function calls within each other.
    pub max_call_levels: usize,
    /// Expressions within each other.
    pub max_expression_depth: usize,
    /// Variables in scope at once.
    pub max_variables: usize,
    /// Bytes of a string, or of all strings in one array or map.
    pub max_string_bytes: usize,
    /// Elements of an array, those of arrays inside it included.
    pub max_array_elements: usize,
    /// Members of a map, those of maps inside it included.
    pub max_map_members: usize,
    /// Bytes of memory that one script may hold, all its values together.
    pub max_memory_bytes: usize,
    /// Steps of a script; 0: as many as its timeout allows.
    pub max_operations: u64,
    /// Memory for compiled scripts, in bytes, roughly.
    pub script_cache_bytes: u64,
    /// What the objects of one context may take.
    pub objects: ObjectLimits,
}

impl Default for OsisConfig {
    fn default() -> Self {
        Self {
            slots: 64,
            max_call_levels: 64,
            max_expression_depth: 64,
            max_variables: 1_000,
            max_string_bytes: 8 << 20,
            max_array_elements: 20_000,
            max_map_members: 20_000,
            max_memory_bytes: 128 << 20,
            max_operations: 0,
            script_cache_bytes: 64 << 20,
            objects: ObjectLimits::default(),
        }
    }
}

/// The OSIS engine.
pub struct Osis {
    pool: Pool,
}

impl Osis {
    /// Builds the engine and starts its threads. Without access, scripts have no objects.
    #[must_use]
    pub fn new(config: &OsisConfig, limits: OutputLimits, objects: Option<&ObjectAccess>) -> Self {
        let interpreter = Interpreter {
            rhai: sandbox::engine(config, objects),
            scripts: Scripts::new(config.script_cache_bytes),
            limits,
            max_memory_bytes: config.max_memory_bytes,
        };
        let threads = available_parallelism().map_or(2, usize::from).min(config.slots);
        Self { pool: Pool::start(threads, move |run| interpreter.execute(run)) }
    }
}

impl Engine for Osis {
    fn script_type(&self) -> ScriptType {
        ScriptType::Osis
    }

    fn start(&self, run: Run) {
        self.pool.push(run);
    }
}

struct Interpreter {
    rhai: rhai::Engine,
    scripts: Scripts,
    limits: OutputLimits,
    max_memory_bytes: usize,
}

impl Interpreter {
    /// Runs a job on this thread. A panic inside the interpreter ends that one job.
    fn execute(&self, run: Run) {
        // The time in the queue counts: a job whose time is over, or that was stopped, does not begin.
        if let Some(interrupt) = run.attempt().interrupt() {
            return run.end_interrupted(interrupt, None);
        }
        let running = sandbox::enter(run);
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.evaluate()));
        if let (Some(run), Ok(outcome)) = (running.leave(), outcome) {
            run.end(outcome);
        }
    }

    fn evaluate(&self) -> Outcome {
        let script = sandbox::with_run(|run| self.scripts.get(&self.rhai, &run.job.script));
        let script = match script {
            Some(Ok(script)) => script,
            Some(Err(error)) => return outcome::of_parse_error(&error),
            None => return Outcome::HandedBack,
        };
        let ended = self.rhai.eval_ast_with_scope::<rhai::Dynamic>(&mut Scope::new(), &script);
        match ended {
            Ok(value) => outcome::of_value(value, self.limits),
            Err(error) if outcome::is_termination(&error) => self.terminated(),
            Err(error) => outcome::of_run_error(&error),
        }
    }

    /// Why the script was made to end.
    fn terminated(&self) -> Outcome {
        let interrupted =
            sandbox::with_run(|run| run.attempt().interrupt().map(|why| run.attempt().outcome_of(why, None)));
        interrupted.flatten().unwrap_or_else(|| outcome::out_of_memory(self.max_memory_bytes))
    }
}
