//! Identifiers. Each is checked where it enters, so that a key or a path can be built from it safely.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// An identifier that is not of its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {rule}")]
pub struct IdError {
    /// Which identifier was expected, such as `job id`.
    pub kind: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The form that it must have.
    pub rule: &'static str,
}

impl IdError {
    pub(crate) fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        Self { kind, text: text.chars().take(80).collect(), rule }
    }
}

/// A job's id: a UUID. Minted ids are version 7, so that they sort by time; a caller may bring any UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// A new version 7 id.
    #[must_use]
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID itself.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The time inside a version 7 id, in milliseconds since the epoch; none for other versions.
    #[must_use]
    pub fn minted_at_millis(&self) -> Option<i64> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        i64::try_from(seconds).ok().map(|s| s * 1000 + i64::from(nanos) / 1_000_000)
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // Only the hyphenated form: an id is compared whole and becomes a key, so it has one spelling.
        if text.len() != 36 {
            return Err(IdError::new("job id", text, "a UUID of 36 characters with hyphens"));
        }
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| IdError::new("job id", text, "a UUID of 36 characters with hyphens"))
    }
}

/// A runner's id: 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunnerId(String);

impl RunnerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunnerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
            return Err(IdError::new("runner id", text, "1 to 128 characters of A-Z a-z 0-9 . _ -"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A node's id: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first and the last a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(String);

impl NodeId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_framed = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !is_framed || text.len() > 128 || !text.chars().all(allowed) {
            let rule = "1 to 128 characters of A-Z a-z 0-9 . _ -, a letter or digit at both ends";
            return Err(IdError::new("node id", text, rule));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A circle's secp256k1 public key as hex, lower-case, compressed (66 characters) or uncompressed (130).
///
/// Only the form is checked here; whether it is a point on the curve is `hero-auth`'s to say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CircleKey(String);

impl CircleKey {
    /// The normalised key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CircleKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let text = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        let form = match text.len() {
            66 => text.starts_with("02") || text.starts_with("03"),
            130 => text.starts_with("04"),
            _ => false,
        };
        if !form || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError::new(
                "circle public key",
                &text,
                "secp256k1 in hex, 66 characters starting with 02 or 03, or 130 starting with 04",
            ));
        }
        Ok(Self(text))
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

text_traits!(RunnerId, NodeId, CircleKey);
serde_as_text!(JobId, RunnerId, NodeId, CircleKey);

#[cfg(test)]
mod tests {
    use super::{CircleKey, JobId, NodeId, RunnerId};

    #[test]
    fn minted_job_ids_sort_by_time_and_tell_it() {
        let (first, second) = (JobId::mint(), JobId::mint());
        assert!(first < second);
        assert!(first.minted_at_millis().unwrap() > 1_700_000_000_000);
        assert_eq!(first.to_string().parse::<JobId>().unwrap(), first);
    }

    #[test]
    fn a_job_id_has_one_spelling() {
        for text in ["", "42", "0193e2d07c7a7b0e8f8e0123456789ab", "{0193e2d0-7c7a-7b0e-8f8e-0123456789ab}"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        let random: JobId = "9f0c3e6a-58a4-4f6e-9d5a-2b8a4d1b7c11".parse().unwrap();
        assert_eq!(random.minted_at_millis(), None);
    }

    #[test]
    fn a_runner_id_can_be_part_of_a_key() {
        assert!("node-1.python_0".parse::<RunnerId>().is_ok());
        for text in ["", "a b", "a:b", "../x", "é"] {
            assert!(text.parse::<RunnerId>().is_err(), "{text}");
        }
        assert!("a".repeat(129).parse::<RunnerId>().is_err());
    }

    #[test]
    fn a_node_id_can_be_part_of_a_key() {
        assert!("kitchen-1.example.org".parse::<NodeId>().is_ok());
        for text in ["", "a b", "a:b", ".a", "a-", &"a".repeat(129)] {
            assert!(text.parse::<NodeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_circle_key_is_normalised() {
        let key = format!("02{}", "AB".repeat(32));
        assert_eq!(key.parse::<CircleKey>().unwrap().as_str(), key.to_ascii_lowercase());
        assert!(format!("0x{key}").parse::<CircleKey>().is_ok());
        for bad in [format!("05{}", "ab".repeat(32)), format!("04{}", "ab".repeat(32)), "zz".repeat(33)] {
            assert!(bad.parse::<CircleKey>().is_err(), "{bad}");
        }
    }
}
