//! A file and flags become the params of a job.

use std::{io::Read as _, path::Path};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    args::{Language, Script},
    failure::{Failure, Result},
};

/// The name of a language in the API.
pub(crate) const fn name_of(language: Language) -> &'static str {
    match language {
        Language::Osis => "OSIS",
        Language::Sal => "SAL",
        Language::V => "V",
        Language::Python => "Python",
    }
}

/// The job that the command line describes.
pub(crate) fn job(script: &Script) -> Result<Value> {
    let language = script.language.map_or_else(|| by_ending(&script.file), Ok)?;
    let mut job = Map::new();
    job.insert("script".into(), read(&script.file)?.into());
    job.insert("script_type".into(), name_of(language).into());
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            job.insert(name.to_owned(), value);
        }
    };
    add("timeout", script.timeout.map(Value::from));
    add("retries", script.retries.map(Value::from));
    add("priority", script.priority.clone().map(Value::from));
    add("run_at", script.run_at.clone().map(Value::from));
    add("idempotency_key", script.idempotency_key.clone().map(Value::from));
    add("node", script.node.as_deref().map(node));
    add("prerequisites", (!script.after.is_empty()).then(|| json!(script.after)));
    let env: Map<String, Value> =
        script.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    add("env_vars", (!env.is_empty()).then(|| env.into()));
    Ok(job.into())
}

/// A node as the API takes it: a selector is an object, everything else a name.
pub(crate) fn node(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(selector @ Value::Object(_)) => selector,
        _ => text.into(),
    }
}

fn by_ending(file: &Path) -> Result<Language> {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("rhai" | "osis") => Ok(Language::Osis),
        Some("sal") => Ok(Language::Sal),
        Some("py") => Ok(Language::Python),
        Some("v" | "vsh") => Ok(Language::V),
        _ => Err(Failure::Usage(format!(
            "{} does not say its language by its ending (.rhai .sal .py .v); say it with --type",
            file.display()
        ))),
    }
}

fn read(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("the script cannot be read from the input")?;
        return Ok(text);
    }
    Ok(std::fs::read_to_string(file)
        .with_context(|| format!("the script {} cannot be read", file.display()))?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use crate::args::{Arguments, Command};

    fn job(arguments: &[&str]) -> Result<serde_json::Value, String> {
        let all = ["hero", "submit"].iter().chain(arguments);
        let Command::Submit(submit) = Arguments::try_parse_from(all).unwrap().command else { unreachable!() };
        super::job(&submit.script).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_and_its_flags_become_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.py");
        std::fs::write(&file, "print(1)").unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(job(&[file]).unwrap(), json!({"script": "print(1)", "script_type": "Python"}));
        let all = [file, "-t", "rhai", "-e", "A=1=2", "--timeout", "5", "--after", "x", "--priority", "high"];
        assert_eq!(
            job(&all).unwrap(),
            json!({
                "script": "print(1)", "script_type": "OSIS", "env_vars": {"A": "1=2"}, "timeout": 5,
                "prerequisites": ["x"], "priority": "high",
            })
        );
        assert_eq!(job(&[file, "--node", "any"]).unwrap()["node"], "any");
        assert_eq!(job(&[file, "--node", r#"{"label": "oven"}"#]).unwrap()["node"], json!({"label": "oven"}));
        assert!(job(&["no.py"]).unwrap_err().contains("cannot be read"));
        assert!(job(&["script.txt"]).unwrap_err().contains("--type"));
    }
}
