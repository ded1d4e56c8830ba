//! Lays the layers over each other and reads the result.

use std::{collections::HashMap, fs, path::Path};

use config::{Config, ConfigError, ValueKind};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use crate::{
    Error, Overrides, Result, Validate,
    layer::{Layer, join, kind_of},
    secret::REDACTED,
};

const DEFAULTS: &str = "the defaults";

/// Where the settings of one service come from.
#[derive(Debug, Default)]
pub struct Source<'a> {
    /// The service's name, `mycelium-bridge`: its variables begin with `HERO_MYCELIUM_BRIDGE__`.
    pub service: &'a str,
    /// The TOML file, if there is one.
    pub file: Option<&'a Path>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Names that are promised for a key beside its regular one: (`EXPLORER_TCP_ADDR`, `tcp.listen`).
    pub aliases: &'a [(&'a str, &'a str)],
    /// What the flags say.
    pub overrides: Overrides,
}

/// Loads the settings of `service` from a file, this process's environment and flags.
///
/// # Errors
/// See [`Error`].
pub fn load<T>(service: &str, file: Option<&Path>, overrides: Overrides) -> Result<T>
where
    T: DeserializeOwned + Serialize + Default + Validate,
{
    // Names or values that are not Unicode cannot be settings of ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    load_with(Source { service, file, env, aliases: &[], overrides })
}

/// Loads the settings from the given layers.
///
/// # Errors
/// See [`Error`].
pub fn load_with<T>(source: Source<'_>) -> Result<T>
where
    T: DeserializeOwned + Serialize + Default + Validate,
{
    let defaults = tree_of(&T::default())?;
    let file = match source.file {
        Some(path) => Some(file_layer(path)?),
        None => None,
    };
    let layers = [
        default_layer(&defaults),
        file.unwrap_or_default(),
        env_layer(&source, &defaults)?,
        source.overrides.0,
    ];
    let effective: T = merge(&layers, &defaults)?;
    effective.validate().map_err(|invalid| Error::Value {
        origin: origin_of(&layers, &invalid.key),
        key: invalid.key,
        message: invalid.message,
    })?;
    Ok(effective)
}

/// The effective settings as TOML, with every secret redacted.
///
/// # Errors
/// When the settings have no TOML form.
pub fn print(config: &impl Serialize) -> Result<String> {
    toml::to_string_pretty(config).map_err(|error| Error::Other { message: error.to_string() })
}

pub(crate) fn tree_of(config: &impl Serialize) -> Result<Json> {
    serde_json::to_value(config).map_err(|error| Error::Other { message: error.to_string() })
}

/// The defaults as the service states them, so that a section given in part keeps the service's own defaults for
/// the rest. Absent values stay absent, and a redacted one is not a value.
fn default_layer(defaults: &Json) -> Layer {
    let mut layer = Layer::default();
    layer.push_tree("", DEFAULTS, defaults.clone());
    layer.0.retain(|entry| match &entry.value {
        ValueKind::Nil => false,
        ValueKind::String(text) => text != REDACTED,
        _ => true,
    });
    layer
}

fn file_layer(path: &Path) -> Result<Layer> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    text_layer(&text, path)
}

pub(crate) fn text_layer(text: &str, path: &Path) -> Result<Layer> {
    let table: toml::Table = toml::from_str(text)
        .map_err(|error| Error::Syntax { path: path.to_owned(), message: place(text, &error) })?;
    let mut layer = Layer::default();
    layer.push_tree("", &format!("file {}", path.display()), tree_of(&table)?);
    Ok(layer)
}

/// Line, column and complaint, without the excerpt that the parser would print: it may hold a secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("line {line}, column {column}: {}", error.message())
}

/// The variables of this service. An empty one counts as not set: that is how compose files pass on what nobody
/// has set.
fn env_layer(source: &Source<'_>, defaults: &Json) -> Result<Layer> {
    let prefix = format!("HERO_{}__", source.service.replace('-', "_").to_uppercase());
    let mut layer = Layer::default();
    for (name, value) in source.env.iter().filter(|(_, value)| !value.is_empty()) {
        let alias = source.aliases.iter().find(|(alias, _)| alias == name).map(|(_, key)| (*key).to_owned());
        let regular = || name.strip_prefix(&prefix).map(|rest| rest.to_lowercase().replace("__", "."));
        let Some(key) = alias.or_else(regular) else { continue };
        let origin = format!("environment variable {name}");
        let value = env_value(value, at(defaults, &key)).map_err(|message| Error::Value {
            key: key.clone(),
            origin: origin.clone(),
            message,
        })?;
        layer.push(key, origin, value);
    }
    Ok(layer)
}

/// Text for a setting that is a list is split at commas, or read as a TOML list or table; numbers and switches
/// are converted when the setting is read.
fn env_value(text: &str, default: Option<&Json>) -> Result<ValueKind, String> {
    let wants_list = matches!(default, Some(Json::Array(_)));
    let wants_table = matches!(default, Some(Json::Object(_)));
    let is_list = text.starts_with('[') && matches!(default, Some(Json::Array(_) | Json::Null) | None);
    if is_list || wants_table {
        let table: toml::Table = toml::from_str(&format!("v = {text}"))
            .map_err(|error| format!("not a TOML value: {}", error.message()))?;
        return Ok(kind_of(serde_json::json!(table)["v"].take()));
    }
    if wants_list {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Ok(ValueKind::from(items.collect::<Vec<_>>()));
    }
    Ok(ValueKind::from(text))
}

fn merge<T: DeserializeOwned>(layers: &[Layer], defaults: &Json) -> Result<T> {
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer.clone());
    }
    let merged = builder.build().map_err(|error| refusal(layers, defaults, error))?;
    let mut unknown = Vec::new();
    let effective = serde_ignored::deserialize(merged, |path| unknown.push(path.to_string()));
    // An unknown key is told first: a key that was misspelt is often also a key that is missing.
    if let Some(key) = unknown.into_iter().min() {
        return Err(unknown_key(layers, defaults, key.replace(".?", "")));
    }
    effective.map_err(|error| refusal(layers, defaults, error))
}

fn refusal(layers: &[Layer], defaults: &Json, error: ConfigError) -> Error {
    let (section, message) = key_and_message(error);
    // A struct that denies unknown fields speaks up before we can.
    let unknown = message.as_deref().and_then(|message| message.strip_prefix("unknown field `"));
    if let Some((name, _)) = unknown.and_then(|rest| rest.split_once('`')) {
        return unknown_key(layers, defaults, join(section.as_deref().unwrap_or_default(), name));
    }
    match (section, message) {
        (Some(key), None) => Error::Missing { key },
        (Some(key), Some(message)) => Error::Value { origin: origin_of(layers, &key), key, message },
        (None, message) => Error::Other { message: message.unwrap_or_default() },
    }
}

fn unknown_key(layers: &[Layer], defaults: &Json, key: String) -> Error {
    Error::UnknownKey { origin: origin_of(layers, &key), hint: hint(defaults, &key), key }
}

/// The key of an error and what is wrong; no message means that the key is missing.
fn key_and_message(error: ConfigError) -> (Option<String>, Option<String>) {
    match error {
        ConfigError::NotFound(key) => (Some(key), None),
        ConfigError::Type { unexpected, expected, key, .. } => {
            (key, Some(format!("it is {unexpected}, and should be {expected}")))
        }
        ConfigError::At { error, key, .. } => match key_and_message(*error) {
            (inner, None) => (inner, None),
            (_, message) => (key, message),
        },
        other => (None, Some(reword(other.to_string()))),
    }
}

/// The words of the config crate for a choice that does not exist are about Rust, not about settings.
fn reword(message: String) -> String {
    match message.split_once(" does not have variant constructor ") {
        Some((_, value)) => format!("it is `{value}`, which is none of the choices; see config.example.toml"),
        None => message,
    }
}

/// The highest layer that has the key, something above it (a list whose element is wrong) or below it.
fn origin_of(layers: &[Layer], key: &str) -> String {
    let is_part = |whole: &str, part: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    layers
        .iter()
        .rev()
        .flat_map(|layer| &layer.0)
        .find(|entry| is_part(&entry.key, key) || is_part(key, &entry.key))
        .map_or_else(|| DEFAULTS.to_owned(), |entry| entry.origin.clone())
}

/// The setting at a key path in a tree.
fn at<'a>(tree: &'a Json, key: &str) -> Option<&'a Json> {
    key.split('.').try_fold(tree, |node, name| node.get(name))
}

/// Names what would have been known where an unknown key stands.
fn hint(defaults: &Json, key: &str) -> String {
    let (section, _) = key.rsplit_once('.').unwrap_or(("", key));
    let members = if section.is_empty() { Some(defaults) } else { at(defaults, section) };
    let place = if section.is_empty() { "at the top".to_owned() } else { format!("in [{section}]") };
    match members.and_then(Json::as_object) {
        Some(members) if !members.is_empty() => {
            let names: Vec<_> = members.keys().map(String::as_str).collect();
            format!("known {place} are {}", names.join(", "))
        }
        _ => "no such setting exists".to_owned(),
    }
}

/// Every setting of a configuration by key path, with its default.
pub(crate) fn leaves(prefix: &str, tree: &Json, into: &mut HashMap<String, Json>) {
    match tree {
        Json::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                leaves(&join(prefix, name), member, into);
            }
        }
        leaf => drop(into.insert(prefix.to_owned(), leaf.clone())),
    }
}

pub(crate) fn read_layer<T>(layer: Layer) -> Result<T>
where
    T: DeserializeOwned + Serialize + Default,
{
    let defaults = tree_of(&T::default())?;
    merge(&[default_layer(&defaults), layer], &defaults)
}
