//! One layer of values, each of which remembers where it was written.

use config::{ConfigError, Map, Source, ValueKind};

/// A value of a layer: text, a number, a switch, or a list of them.
pub type Value = ValueKind;

/// Values with their origins, by key path (`redis.url`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer(pub(crate) Vec<Entry>);

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: String,
    pub(crate) value: ValueKind,
}

impl Layer {
    pub(crate) fn push(&mut self, key: String, origin: String, value: ValueKind) {
        self.0.push(Entry { key, origin, value });
    }

    /// Takes a tree of JSON or TOML apart into its leaves, so that each is laid over the layer below alone.
    pub(crate) fn push_tree(&mut self, prefix: &str, origin: &str, tree: serde_json::Value) {
        match tree {
            serde_json::Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    self.push_tree(&join(prefix, &name), origin, member);
                }
            }
            leaf => self.push(prefix.to_owned(), origin.to_owned(), kind_of(leaf)),
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        Ok(self
            .0
            .iter()
            .map(|entry| (entry.key.clone(), config::Value::new(Some(&entry.origin), entry.value.clone())))
            .collect())
    }
}

/// What the flags say, as key paths and values. A flag that was not given adds nothing.
#[derive(Debug, Clone, Default)]
pub struct Overrides(pub(crate) Layer);

impl Overrides {
    /// No flags given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a flag (`--redis-url`) for a key (`redis.url`), if it was given.
    #[must_use]
    pub fn set(mut self, key: &str, flag: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.push(key.to_owned(), format!("flag {flag}"), value.into());
        }
        self
    }

    /// A list flag (`-k a -k b`) for a key, if it was given at least once.
    #[must_use]
    pub fn set_list(self, key: &str, flag: &str, values: Vec<String>) -> Self {
        self.set(key, flag, (!values.is_empty()).then_some(values))
    }

    /// A switch (`--debug`) that turns a key on when it was given, and says nothing when it was not.
    #[must_use]
    pub fn set_switch(self, key: &str, flag: &str, given: bool) -> Self {
        self.set(key, flag, given.then_some(true))
    }
}

pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

pub(crate) fn kind_of(value: serde_json::Value) -> ValueKind {
    use serde_json::Value as Json;
    match value {
        Json::Null => ValueKind::Nil,
        Json::Bool(switch) => ValueKind::Boolean(switch),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => ValueKind::I64(signed),
            (None, Some(unsigned)) => ValueKind::U64(unsigned),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text),
        Json::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| config::Value::new(None, kind_of(item))).collect())
        }
        Json::Object(members) => ValueKind::Table(
            members
                .into_iter()
                .map(|(name, member)| (name, config::Value::new(None, kind_of(member))))
                .collect(),
        ),
    }
}
