//! The child process of one SAL script: reads the job, evaluates it, and tells the runner what comes of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd},
    process::ExitCode,
    sync::Arc,
};

use hero_store::Outcome;
use parking_lot::Mutex;
use rhai::{
    Dynamic, Engine, EvalAltResult, ImmutableString, Map, Scope, module_resolvers::DummyModuleResolver,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CHILD, IS_CHILD, Module, NETWORK, net};
use crate::engine::{OutputLimits, osis::outcome};

/// Where the script tells the runner something.
const MESSAGES: i32 = 3;
/// Where the job is.
const JOB: i32 = 4;
/// Rhai's calls and values recurse natively; only the pages that are touched cost memory.
const STACK_BYTES: usize = 256 << 20;
const MAX_DEPTH: usize = 64;
/// A longer text is told in pieces: a message has a bound.
const PIECE_BYTES: usize = 8_000;

/// The job, as far as a script sees it.
#[derive(Deserialize)]
struct Job {
    job_id: String,
    caller_id: String,
    context_id: String,
    script: String,
    args: BTreeMap<String, String>,
}

/// Runs a script when this process was started to do so, and says how it ended. Call it first in `main`.
#[must_use]
pub fn run_if_child() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    let Some(modules) = arguments.next() else {
        let said = writeln!(io::stdout(), "{IS_CHILD}");
        return Some(if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let has_network = arguments.next().is_some_and(|argument| argument == NETWORK);
    let script =
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || run(&modules, has_network));
    let is_done = script.is_ok_and(|script| matches!(script.join(), Ok(Ok(true))));
    Some(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the script came to a good end.
fn run(modules: &str, has_network: bool) -> io::Result<bool> {
    let mut text = String::new();
    given(JOB).read_to_string(&mut text)?;
    let job: Job = serde_json::from_str(&text)?;
    let script = job.script.clone();
    let mut output = take_stdout()?;
    let hero = Hero { messages: Arc::new(Mutex::new(given(MESSAGES))), args: Arc::new(job.args.clone()) };
    let engine = engine(modules, has_network, &hero, job);
    let tree = match engine.compile(&script) {
        Ok(tree) => tree,
        Err(error) => {
            hero.tell(&json!({ "invalid": words(outcome::of_parse_error(&error)) }));
            return Ok(false);
        }
    };
    // The runner has the last word on how large an output may be.
    let limits = OutputLimits { max_output_bytes: usize::MAX };
    let ended = engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &tree);
    match ended.map(|value| outcome::of_value(value, limits)) {
        Ok(Outcome::Finished { output: text }) => {
            output.write_all(text.as_bytes())?;
            Ok(true)
        }
        Ok(other) => {
            writeln!(io::stderr(), "{}", words(other))?;
            Ok(false)
        }
        Err(error) => {
            writeln!(io::stderr(), "{}", words(outcome::of_run_error(&error)))?;
            Ok(false)
        }
    }
}

fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error, .. } => error,
        Outcome::Finished { .. } | Outcome::HandedBack => String::new(),
    }
}

#[allow(unsafe_code, reason = "only the number of a given descriptor is known")]
fn given(number: i32) -> File {
    // SAFETY: the runner has given this descriptor to this process for this use, and nobody else here takes it.
    File::from(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Standard output, for the value of the script alone: what else the crates print goes to standard error.
fn take_stdout() -> io::Result<File> {
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), JOB + 1)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(output))
}

/// The value of `hero`.
#[derive(Clone)]
struct Hero {
    messages: Arc<Mutex<File>>,
    args: Arc<BTreeMap<String, String>>,
}

impl Hero {
    fn tell(&self, message: &Value) {
        // Without a runner there is nobody to tell, and soon no process.
        let _ = self.messages.lock().write_all(format!("{message}\n").as_bytes());
    }

    fn log(&self, text: &str) {
        let mut rest = text;
        loop {
            let most = rest.len().min(PIECE_BYTES);
            let cut = (0..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
            let (piece, tail) = rest.split_at(cut);
            self.tell(&json!({ "log": piece }));
            if tail.is_empty() {
                return;
            }
            rest = tail;
        }
    }

    fn progress(&self, fraction: f64, text: &str) {
        let text: String = text.chars().take(PIECE_BYTES / 4).collect();
        self.tell(&json!({ "progress": { "fraction": fraction.clamp(0.0, 1.0), "text": text } }));
    }

    fn result(&self, value: &Dynamic) -> Result<(), Box<EvalAltResult>> {
        let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
        self.tell(&json!({ "result": value }));
        Ok(())
    }

    fn args(&self) -> Map {
        self.args.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    }

    fn register(&self, engine: &mut Engine) {
        engine
            .register_type_with_name::<Self>("Hero")
            .register_get("args", |hero: &mut Self| hero.args())
            .register_fn("log", |hero: &mut Self, value: Dynamic| hero.log(&value.to_string()))
            .register_fn("progress", |hero: &mut Self, fraction: f64| hero.progress(fraction, ""))
            .register_fn("progress", |hero: &mut Self, fraction: i64| hero.progress(fraction as f64, ""))
            .register_fn("progress", |hero: &mut Self, fraction: f64, text: ImmutableString| {
                hero.progress(fraction, &text);
            })
            .register_fn("progress", |hero: &mut Self, fraction: i64, text: ImmutableString| {
                hero.progress(fraction as f64, &text);
            })
            .register_fn("result", |hero: &mut Self, value: Dynamic| hero.result(&value));
    }
}

fn engine(modules: &str, has_network: bool, hero: &Hero, job: Job) -> Engine {
    let mut engine = Engine::new();
    engine
        .set_max_call_levels(MAX_DEPTH)
        .set_max_expr_depths(MAX_DEPTH, MAX_DEPTH)
        .set_max_modules(0)
        .set_module_resolver(DummyModuleResolver::new())
        .disable_symbol("eval")
        .disable_symbol("import")
        .disable_symbol("export");
    let (printed, debugged) = (hero.clone(), hero.clone());
    engine.on_print(move |text| printed.log(text));
    engine.on_debug(move |text, _, position| debugged.log(&format!("debug, {position}: {text}")));
    for module in modules.split(',') {
        register(&mut engine, module, has_network);
    }
    // As the crate has it, the script could not compare it with a number.
    engine.register_get("code", |result: &mut sal_process::CommandResult| i64::from(result.code));
    hero.register(&mut engine);
    let hero = hero.clone();
    #[allow(deprecated, reason = "rhai marks the call as unstable by deprecating it")]
    engine.on_var(move |name, index, _| {
        Ok(match name {
            _ if index != 0 => None,
            "hero" => Some(Dynamic::from(hero.clone())),
            "CALLER_ID" => Some(job.caller_id.as_str().into()),
            "CONTEXT_ID" => Some(job.context_id.as_str().into()),
            "JOB_ID" => Some(job.job_id.as_str().into()),
            "ENV" => Some(hero.args().into()),
            _ => None,
        })
    });
    engine
}

/// Adds the functions of a module.
fn register(engine: &mut Engine, name: &str, has_network: bool) {
    let registered = match Module::ALL.into_iter().find(|module| module.as_str() == name) {
        Some(Module::Os) => sal_os::rhai::register_os_module(engine),
        Some(Module::Process) => sal_process::rhai::register_process_module(engine),
        Some(Module::Text) => sal_text::rhai::register_text_module(engine),
        Some(Module::Net) => {
            net::register(engine, has_network);
            Ok(())
        }
        None => Ok(()),
    };
    if let Err(error) = registered {
        let _ = writeln!(io::stderr(), "the module {name} is not there: {error}");
    }
}
