//! Keeps a service's `config.example.toml` true: it must parse, and show every setting.

use std::{collections::HashMap, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result, Validate, Value,
    layer::Layer,
    load::{leaves, read_layer, text_layer, tree_of},
};

/// Checks that an example file parses as it is and with its commented settings (`# key = value`, `# [section]`)
/// turned on, that it holds no unknown key, and that it shows every setting of `T`.
///
/// # Panics
/// When it does not; the message says which setting is at fault.
pub fn assert_covers<T>(text: &str)
where
    T: DeserializeOwned + Serialize + Default + Validate,
{
    if let Err(message) = check::<T>(text) {
        panic!("config.example.toml: {message}");
    }
}

fn check<T>(text: &str) -> Result<(), String>
where
    T: DeserializeOwned + Serialize + Default + Validate,
{
    let as_written = shown(text).map_err(|error| error.to_string())?;
    let config: T = read_layer(as_written).map_err(|error| error.to_string())?;
    config.validate().map_err(|invalid| format!("`{}`: {}", invalid.key, invalid.message))?;

    let whole = shown(&uncomment(text)).map_err(|error| error.to_string())?;
    let keys: Vec<String> = whole.0.iter().map(|entry| entry.key.clone()).collect();
    read_layer::<T>(whole).map_err(|error| error.to_string())?;

    let mut settings = HashMap::new();
    leaves("", &tree_of(&T::default()).map_err(|error| error.to_string())?, &mut settings);
    let covered =
        |key: &str| keys.iter().any(|k| k == key || k.strip_prefix(key).is_some_and(|r| r.starts_with('.')));
    let mut missing: Vec<_> = settings.into_keys().filter(|key| !covered(key)).collect();
    missing.sort_unstable();
    if missing.is_empty() { Ok(()) } else { Err(format!("does not show {}", missing.join(", "))) }
}

/// The settings of an example. The secrets' files that it names are on some other machine.
fn shown(text: &str) -> Result<Layer> {
    let mut layer = text_layer(text, Path::new("config.example.toml"))?;
    for entry in &mut layer.0 {
        if matches!(&entry.value, Value::String(text) if text.starts_with("file:")) {
            entry.value = "a secret".into();
        }
    }
    Ok(layer)
}

/// Turns `# key = value` and `# [section]` into settings; prose stays a comment.
fn uncomment(text: &str) -> String {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
    };
    let line = |line: &str| {
        let Some(body) = line.strip_prefix('#').map(str::trim_start) else { return line.to_owned() };
        let section = body.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_name);
        let setting = body.split_once('=').is_some_and(|(name, _)| is_name(name.trim_end()));
        if section || setting { body.to_owned() } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
