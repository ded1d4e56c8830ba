//! Why this exists: a service reads its settings from four places, and whoever runs it must be able to tell
//! which one won, what is wrong with it, and what to write instead.
//!
//! It promises: defaults, then the file, then the environment, then flags, each over the one before; an
//! unknown key is refused by name; every [`Error`] names the key, where its value came from and what is wrong
//! with it; a [`Secret`] is never printed. It knows nothing of any service.
//!
//! A configuration is a plain struct that derives `Serialize` and `Deserialize` with `#[serde(default)]` and
//! implements [`Default`] and [`Validate`]. `#[serde(flatten)]` is not supported: it hides unknown keys.

mod error;
mod layer;
mod load;
mod secret;

pub mod example;

pub use error::Error;
pub use layer::{Overrides, Value};
pub use load::{Source, load, load_with, print};
pub use secret::Secret;

/// Whether somebody has set this variable, which a library reads by itself.
#[must_use]
pub fn is_in_environment(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What serde cannot check: ranges, and fields that depend on one another.
pub trait Validate {
    /// Refuses a configuration that can be read but not used.
    ///
    /// # Errors
    /// The key of the first value that cannot be used, and why.
    fn validate(&self) -> Result<(), Invalid>;
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The path of the key, for example `redis.url`.
    pub key: String,
    /// What is wrong with its value, and what would be right.
    pub message: String,
}

impl Invalid {
    /// Names a key and what is wrong with its value.
    #[must_use]
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// The same complaint, about a key one section further down: `url` becomes `redis.url`.
    #[must_use]
    pub fn within(mut self, section: &str) -> Self {
        self.key = format!("{section}.{}", self.key);
        self
    }
}

/// Refuses with a message unless a condition holds; for the common one-line checks in [`Validate`].
///
/// # Errors
/// [`Invalid`] with the key and the message when the condition does not hold.
pub fn ensure(holds: bool, key: &str, message: impl Into<String>) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid::new(key, message)) }
}
