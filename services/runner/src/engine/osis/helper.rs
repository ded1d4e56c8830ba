//! `hero`, the script's helper: its arguments, its log, its progress and its result.

use hero_domain::LogStream;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map};

use super::sandbox::with_run;

/// The value of `hero`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hero;

/// Gives scripts `hero`.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Hero>("Hero");
    engine.register_get("args", |_: &mut Hero| args());
    engine.register_fn("log", |_: &mut Hero, value: Dynamic| {
        with_run(|run| run.log_blocking(LogStream::Log, value.to_string()));
    });
    engine.register_fn("progress", |_: &mut Hero, fraction: f64| progress(fraction, ""));
    engine.register_fn("progress", |_: &mut Hero, fraction: i64| progress(fraction as f64, ""));
    engine.register_fn("progress", |_: &mut Hero, fraction: f64, text: ImmutableString| {
        progress(fraction, &text);
    });
    engine.register_fn("progress", |_: &mut Hero, fraction: i64, text: ImmutableString| {
        progress(fraction as f64, &text);
    });
    engine.register_fn("result", |_: &mut Hero, value: Dynamic| result(&value));
}

/// The variables that the job was given, by name.
pub(super) fn args() -> Map {
    let pairs = with_run(|run| {
        let pairs = run.job.env_vars.iter();
        pairs.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    });
    pairs.unwrap_or_default()
}

fn progress(fraction: f64, text: &str) {
    with_run(|run| run.progress(fraction, text));
}

fn result(value: &Dynamic) -> Result<(), Box<EvalAltResult>> {
    let json = serde_json::to_string(value).map_err(|error| error.to_string());
    json.and_then(|json| with_run(|run| run.result(json)).unwrap_or(Ok(()))).map_err(Into::into)
}
