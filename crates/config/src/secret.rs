//! A value that is used and never shown.

use std::{fmt, fs};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What stands in the place of a secret wherever it would be printed.
pub(crate) const REDACTED: &str = "[redacted]";

/// A password, key or URL with a password in it. Debug, Display and Serialize print `[redacted]`.
///
/// In a configuration it is written as it is, or as `file:/run/secrets/name`: then the file's text, without the
/// newline at its end, is the secret. So a mounted secret works for every layer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself. Whoever calls this must not print it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { REDACTED })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let Some(path) = written.strip_prefix("file:") else {
            return Ok(Self(written));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(D::Error::custom(format!("cannot read the secret's file {path}: {error}"))),
        }
    }
}
