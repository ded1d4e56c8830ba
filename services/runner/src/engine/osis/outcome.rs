//! What a script's value or error reads like to the caller.

use hero_domain::ErrorKind;
use hero_store::Outcome;
use rhai::{Dynamic, EvalAltResult, ParseError, Position};

use crate::engine::OutputLimits;

/// A string as it is, nothing as "", anything else as JSON.
pub(in crate::engine) fn of_value(value: Dynamic, limits: OutputLimits) -> Outcome {
    let output = if value.is_unit() {
        String::new()
    } else if value.is_string() {
        value.into_string().unwrap_or_default()
    } else {
        // A function pointer or a point in time has no JSON form; Rhai's own words for it are the next best.
        serde_json::to_string(&value).unwrap_or_else(|_| value.to_string())
    };
    limits.finished(output)
}

/// A script that does not parse.
pub(in crate::engine) fn of_parse_error(error: &ParseError) -> Outcome {
    failed(ErrorKind::InvalidScript, format!("{}{}", place(error.position()), error.err_type()))
}

/// A script that failed while it ran.
pub(in crate::engine) fn of_run_error(error: &EvalAltResult) -> Outcome {
    let inner = error.unwrap_inner();
    let words = match inner {
        EvalAltResult::ErrorStackOverflow(..) => {
            "the functions call each other too deep; a recursion that does not end?".to_owned()
        }
        EvalAltResult::ErrorDataTooLarge(what, ..) => {
            format!("a value became too large: {what} is over the limit")
        }
        EvalAltResult::ErrorTooManyOperations(..) => "the script takes too many steps".to_owned(),
        EvalAltResult::ErrorTooManyVariables(..) => "there are too many variables at once".to_owned(),
        // What `throw` was given, without Rhai's frame around it.
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        EvalAltResult::ErrorRuntime(value, _) if !value.is_unit() => {
            serde_json::to_string(value).unwrap_or_else(|_| value.to_string())
        }
        other => without_position(other),
    };
    failed(ErrorKind::ScriptFailed, format!("{}{words}{}", place(inner.position()), calls(error)))
}

/// A script that held more memory than it may.
pub(super) fn out_of_memory(most: usize) -> Outcome {
    failed(
        ErrorKind::ScriptFailed,
        format!("the script's values together take more memory than {most} bytes"),
    )
}

/// Whether the error says that the script was made to end.
pub(super) fn is_termination(error: &EvalAltResult) -> bool {
    matches!(error.unwrap_inner(), EvalAltResult::ErrorTerminated(..))
}

fn failed(kind: ErrorKind, error: String) -> Outcome {
    Outcome::Failed { kind, error, output: None }
}

fn place(position: Position) -> String {
    match (position.line(), position.position()) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        (Some(line), None) => format!("line {line}: "),
        _ => String::new(),
    }
}

/// The error's words; Rhai writes the position behind them, and we write it before them.
fn without_position(error: &EvalAltResult) -> String {
    let words = error.to_string();
    let behind = format!(" ({})", error.position());
    words.strip_suffix(behind.as_str()).unwrap_or(&words).to_owned()
}

/// Through which functions the script came to the place of the error, innermost first.
fn calls(error: &EvalAltResult) -> String {
    /// More would say nothing new.
    const MOST: usize = 8;
    let mut names = Vec::new();
    let mut error = error;
    while let EvalAltResult::ErrorInFunctionCall(name, _, inner, position) = error {
        names.push(match position.line() {
            Some(line) => format!("`{name}` called in line {line}"),
            None => format!("`{name}`"),
        });
        error = inner;
    }
    let left_out = names.len().saturating_sub(MOST);
    let mut text: String = names.iter().rev().take(MOST).map(|name| format!("\n  in {name}")).collect();
    if left_out > 0 {
        text.push_str(&format!("\n  and {left_out} calls more"));
    }
    text
}
