//! API keys: minted here, shown once, kept as a hash only.

use std::fmt;

use hero_domain::{ApiError, Reason, Result};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "hk1";
/// Bytes of its random part: too many to guess, so a plain hash of it is as good as a slow one.
const RANDOM_BYTES: usize = 32;
const MAX_NAME_BYTES: usize = 64;

/// An API key: `hk1.<name>.<random>`. It prints without its random part.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    name: String,
    random: String,
}

impl ApiKey {
    /// A fresh key of this name.
    ///
    /// # Errors
    /// [`Reason::InvalidParams`], when the name is not 1 to 64 characters of `A-Z a-z 0-9 _ -`.
    pub fn mint(name: &str) -> Result<Self> {
        if !is_name(name) {
            let words = "the name of a key is 1 to 64 characters of A-Z a-z 0-9 _ -";
            return Err(ApiError::new(Reason::InvalidParams, words).with_field("name"));
        }
        let mut random = [0; RANDOM_BYTES];
        rand::rng().fill_bytes(&mut random);
        Ok(Self { name: name.to_owned(), random: hex::encode(random) })
    }

    /// The key that a secret is; none: it is not of that form.
    #[must_use]
    pub fn parse(secret: &str) -> Option<Self> {
        let (name, random) = secret.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
        let is_random = random.len() == 2 * RANDOM_BYTES && random.bytes().all(|b| b.is_ascii_hexdigit());
        (is_name(name) && is_random).then(|| Self { name: name.to_owned(), random: random.to_owned() })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole key: for its owner, once.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{PREFIX}.{}.{}", self.name, self.random)
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.expose().as_bytes()))
    }

    /// Whether it is the key whose hash was kept; in constant time.
    #[must_use]
    pub fn is(&self, hash: &str) -> bool {
        self.hash().as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ApiKey;

    #[test]
    fn a_key_is_known_by_its_hash_and_no_other_is() {
        let (key, other) = (ApiKey::mint("ci-1").unwrap(), ApiKey::mint("ci-1").unwrap());
        let read = ApiKey::parse(&key.expose()).unwrap();
        assert!(read == key && read.is(&key.hash()) && read.name() == "ci-1");
        assert!(!other.is(&key.hash()) && !key.is("") && !key.is(&key.expose()));
        assert!(!format!("{key:?}").contains(&key.random) && !key.hash().contains(&key.random));
    }

    #[test]
    fn a_name_has_its_form() {
        for name in ["", "a.b", "a b", "é", "a:b", &"a".repeat(65)] {
            assert_eq!(ApiKey::mint(name).unwrap_err().field(), Some("name"), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_key_is_none(text in ".{0,200}", tail in "[0-9a-f]{0,70}") {
            prop_assert!(ApiKey::parse(&text).is_none());
            prop_assert_eq!(ApiKey::parse(&format!("hk1.a.{tail}")).is_some(), tail.len() == 64);
        }
    }
}
