//! What can be wrong with a configuration, in words for whoever wrote it.

use std::path::PathBuf;

/// Why a configuration was refused. Each names the key (where there is one) and the origin of its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: check the path given with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key that no setting has.
    #[error("unknown key `{key}` in {origin}: {hint}")]
    UnknownKey {
        /// The path of the key.
        key: String,
        /// The layer that has it.
        origin: String,
        /// The keys that would have been known there.
        hint: String,
    },
    /// A value of the wrong type, or one that cannot be used.
    #[error("bad value for `{key}` from {origin}: {message}")]
    Value {
        /// The path of the key.
        key: String,
        /// The layer that the value came from.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
    /// A key without which nothing works.
    #[error("`{key}` is missing: set it in the file, in the environment or by a flag")]
    Missing {
        /// The path of the key.
        key: String,
    },
    /// Something about the configuration as a whole.
    #[error("the configuration cannot be used: {message}")]
    Other {
        /// What is wrong.
        message: String,
    },
}

impl Error {
    /// The key that the error is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. } | Self::Value { key, .. } | Self::Missing { key } => Some(key),
            Self::Read { .. } | Self::Syntax { .. } | Self::Other { .. } => None,
        }
    }
}
