//! What a script can see and do: the job's variables, a log, and nothing of this machine.
//!
//! One interpreter serves all jobs, so whatever belongs to a job is found through the thread that runs it.

use std::{
    cell::RefCell,
    thread,
    time::{Duration, Instant},
};

use hero_domain::LogStream;
use rhai::{
    Dynamic, Engine, EvalAltResult, ImmutableString, Position, module_resolvers::DummyModuleResolver,
};

use super::{ObjectAccess, OsisConfig, helper, memory::Mark, objects};
use crate::attempt::Run;

/// A script is asked to end, and the clock looked at, once in so many steps.
const STEPS_BETWEEN_LOOKS: u64 = 32;
/// A sleeping script looks so often whether it has to end.
const SLEEP_SLICE: Duration = Duration::from_millis(20);

thread_local! {
    static RUNNING: RefCell<Option<(Run, Mark)>> = const { RefCell::new(None) };
}

/// Marks a job as the one that this thread runs.
pub(super) fn enter(run: Run) -> Running {
    RUNNING.set(Some((run, Mark::set())));
    Running
}

/// This thread runs a job.
pub(super) struct Running;

impl Running {
    /// It runs none any more.
    pub(super) fn leave(self) -> Option<Run> {
        RUNNING.take().map(|(run, _)| run)
    }
}

/// Looks at the job that this thread runs.
pub(super) fn with_run<T>(look: impl FnOnce(&Run) -> T) -> Option<T> {
    RUNNING.with_borrow(|running| running.as_ref().map(|(run, _)| look(run)))
}

/// The memory that the job of this thread holds.
pub(super) fn memory_bytes() -> usize {
    RUNNING.with_borrow(|running| running.as_ref().map_or(0, |(_, mark)| mark.bytes_since()))
}

fn is_interrupted() -> bool {
    with_run(|run| run.attempt().interrupt().is_some()).unwrap_or(true)
}

/// The interpreter.
pub(super) fn engine(config: &OsisConfig, access: Option<&ObjectAccess>) -> Engine {
    let mut engine = Engine::new();
    engine
        .set_max_call_levels(config.max_call_levels)
        .set_max_expr_depths(config.max_expression_depth, config.max_expression_depth)
        .set_max_variables(config.max_variables)
        .set_max_string_size(config.max_string_bytes)
        .set_max_array_size(config.max_array_elements)
        .set_max_map_size(config.max_map_members)
        .set_max_operations(config.max_operations)
        .set_max_modules(0)
        .set_module_resolver(DummyModuleResolver::new())
        .disable_symbol("eval")
        .disable_symbol("import")
        .disable_symbol("export");
    let max_memory_bytes = config.max_memory_bytes;
    let has_to_end = move || is_interrupted() || memory_bytes() > max_memory_bytes;
    engine.on_progress(move |steps| {
        (steps % STEPS_BETWEEN_LOOKS == 0 && has_to_end()).then_some(Dynamic::UNIT)
    });
    engine.on_print(|text| log(text.to_owned()));
    engine.on_debug(|text, _, position| match position.line() {
        Some(line) => log(format!("debug, line {line}: {text}")),
        None => log(format!("debug: {text}")),
    });
    // Found by name, so that functions see them too. A script's own variable of that name (which has an
    // index) comes first.
    #[allow(deprecated, reason = "rhai marks the call as unstable by deprecating it")]
    engine.on_var(|name, index, _| Ok(if index == 0 { job_variable(name) } else { None }));
    // Rhai's own would hold the thread past the job's end.
    engine.register_fn("sleep", |seconds: i64| sleep(seconds as f64));
    engine.register_fn("sleep", |seconds: f64| sleep(seconds));
    bound_replace(&mut engine, config.max_string_bytes);
    helper::register(&mut engine);
    objects::register(&mut engine, access);
    engine
}

/// Rhai's own functions build the new text whole before its size is looked at: a short script could ask for more
/// than there is in the world.
fn bound_replace(engine: &mut Engine, most: usize) {
    let replace = move |text: &mut ImmutableString, old: &str, new: &str| -> Result<(), Box<EvalAltResult>> {
        let growth = new.len().saturating_sub(old.len());
        let count = if growth == 0 { 0 } else { text.matches(old).count() };
        if text.len().saturating_add(count.saturating_mul(growth)) > most {
            let what = "Length of string".to_owned();
            return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
        }
        *text = text.replace(old, new).into();
        Ok(())
    };
    engine.register_fn(
        "replace",
        move |text: &mut ImmutableString, old: ImmutableString, new: ImmutableString| {
            replace(text, &old, &new)
        },
    );
    engine.register_fn("replace", move |text: &mut ImmutableString, old: char, new: ImmutableString| {
        replace(text, old.encode_utf8(&mut [0; 4]), &new)
    });
}

fn job_variable(name: &str) -> Option<Dynamic> {
    match name {
        "CALLER_ID" => with_run(|run| run.job.caller_id.as_str().into()),
        "CONTEXT_ID" => with_run(|run| run.job.context_id.as_str().into()),
        "JOB_ID" => with_run(|run| run.job.id.to_string().into()),
        "ENV" => Some(helper::args().into()),
        "hero" => Some(Dynamic::from(helper::Hero)),
        _ => None,
    }
}

fn log(text: String) {
    with_run(|run| run.log_blocking(LogStream::Log, text));
}

fn sleep(seconds: f64) -> Result<(), Box<EvalAltResult>> {
    let until = Instant::now() + Duration::try_from_secs_f64(seconds.clamp(0.0, 1e6)).unwrap_or_default();
    loop {
        if is_interrupted() {
            return Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::park_timeout(left.min(SLEEP_SLICE));
    }
}
