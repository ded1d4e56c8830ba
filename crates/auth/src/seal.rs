//! What is given out now and recognised later, by any replica, without being kept: the text that a key's owner is
//! asked to sign, and the token of who has done so.
//!
//! Both end in a seal (HMAC-SHA-256 under a key that all replicas share). A stranger who asks for a thousand nonces
//! leaves nothing behind; only a nonce that was used is remembered, until it would have expired anyway.

use std::fmt;

use hero_domain::CircleKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngCore as _;
use sha2::Sha256;

use crate::PublicKey;

/// Bytes of a seal, of 32 that there could be.
const SEAL_BYTES: usize = 16;
/// No nonce and no token is longer; what is, is not looked at.
const MAX_BYTES: usize = 512;
const NONCE_WORDS: [&str; 6] = ["hero-login", "circle", "key", "nonce", "expires", "seal"];
const TOKEN_PREFIX: &str = "ht1";

/// The key under which a node's replicas seal. It prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// A fresh one.
    #[must_use]
    pub fn mint() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads one that was kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// For keeping it, never for a log.
    #[must_use]
    pub fn expose(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[seal key]")
    }
}

/// Seals, and recognises its seals.
#[derive(Debug, Clone)]
pub struct Seal(SealKey);

/// What a circle asks a key's owner to sign, read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// The circle that asks.
    pub circle: CircleKey,
    /// Whose signature it asks for.
    pub key: CircleKey,
    /// Its random part, by which it is known to be used.
    pub random: String,
    /// Seconds since the epoch.
    pub expires_at: i64,
}

/// Who has proved a key, read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginToken {
    /// The circle that was proved to.
    pub circle: CircleKey,
    /// The key that was proved.
    pub key: CircleKey,
    /// Seconds since the epoch.
    pub expires_at: i64,
}

impl Seal {
    /// Seals under this key.
    #[must_use]
    pub fn new(key: SealKey) -> Self {
        Self(key)
    }

    /// A line for the owner of `key` to sign.
    #[must_use]
    pub fn nonce(&self, circle: &CircleKey, key: &CircleKey, expires_at: i64) -> String {
        let mut random = [0; 16];
        rand::rng().fill_bytes(&mut random);
        let [title, of_circle, of_key, of_nonce, of_expiry, of_seal] = NONCE_WORDS;
        let random = hex::encode(random);
        let text = format!(
            "{title} {of_circle} {circle} {of_key} {key} {of_nonce} {random} {of_expiry} {expires_at} {of_seal} "
        );
        let seal = self.of(&text);
        text + &seal
    }

    /// The nonce that a line is; none unless this seal is on it, whole, and its time is not over.
    #[must_use]
    pub fn open_nonce(&self, text: &str, now: i64) -> Option<Nonce> {
        let body = self.body(text, ' ')?;
        let words: Vec<&str> = body.split(' ').collect();
        let [_, _, circle, _, key, _, random, _, expires_at, _, ""] = words[..] else { return None };
        let nonce = Nonce {
            circle: circle.parse().ok()?,
            key: key.parse().ok()?,
            random: random.to_owned(),
            expires_at: expires_at.parse().ok()?,
        };
        (words[0] == NONCE_WORDS[0] && nonce.expires_at > now).then_some(nonce)
    }

    /// A token for who has proved `key` to `circle`.
    #[must_use]
    pub fn token(&self, circle: &CircleKey, key: &PublicKey, expires_at: i64) -> String {
        let text = format!("{TOKEN_PREFIX}.{circle}.{}.{expires_at}.", key.name());
        let seal = self.of(&text);
        text + &seal
    }

    /// Whether a secret is of the form of a token.
    #[must_use]
    pub fn is_token(secret: &str) -> bool {
        secret.strip_prefix(TOKEN_PREFIX).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whose token it is; none unless this seal is on it, whole, and its time is not over.
    #[must_use]
    pub fn open_token(&self, text: &str, now: i64) -> Option<LoginToken> {
        let body = self.body(text, '.')?;
        let words: Vec<&str> = body.split('.').collect();
        let [TOKEN_PREFIX, circle, key, expires_at, ""] = words[..] else { return None };
        let token = LoginToken {
            circle: circle.parse().ok()?,
            key: key.parse().ok()?,
            expires_at: expires_at.parse().ok()?,
        };
        (token.expires_at > now).then_some(token)
    }

    /// What the seal at the end is on, with what separates the two.
    fn body<'a>(&self, text: &'a str, separator: char) -> Option<&'a str> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (body, seal) = text.split_at(text.rfind(separator)? + separator.len_utf8());
        // In one spelling only: what is changed in any letter is another text.
        if seal.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut brought = [0; SEAL_BYTES];
        hex::decode_to_slice(seal, &mut brought).ok()?;
        // In constant time.
        self.mac(body).verify_truncated_left(&brought).ok()?;
        Some(body)
    }

    fn of(&self, text: &str) -> String {
        hex::encode(&self.mac(text).finalize().into_bytes()[..SEAL_BYTES])
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        // A shorter key is the same as one that is filled up with zeros to a block.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::CircleKey;
    use proptest::prelude::*;

    use super::{MAX_BYTES, Seal, SealKey};
    use crate::PublicKey;

    const CIRCLE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const KEY: &str = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
    const NOW: i64 = 1_800_000_000;

    fn circle() -> CircleKey {
        CIRCLE.parse().unwrap()
    }

    fn nonce(seal: &Seal) -> String {
        seal.nonce(&circle(), &KEY.parse().unwrap(), NOW + 300)
    }

    fn token(seal: &Seal) -> String {
        seal.token(&circle(), &PublicKey::parse(KEY).unwrap(), NOW + 3_600)
    }

    #[test]
    fn a_seal_in_capitals_is_none() {
        let seal = Seal::new(SealKey::mint());
        for text in [nonce(&seal), token(&seal)] {
            let at = text.rfind([' ', '.']).unwrap();
            let capitals = text[..at].to_owned() + &text[at..].to_uppercase();
            assert!(seal.open_nonce(&capitals, NOW).is_none() && seal.open_token(&capitals, NOW).is_none());
        }
    }

    #[test]
    fn a_nonce_is_one_line_that_names_circle_key_and_expiry_and_never_comes_twice() {
        let seal = Seal::new(SealKey::mint());
        let text = nonce(&seal);
        assert!(text.contains(CIRCLE) && text.contains(KEY) && text.contains("1800000300"), "{text}");
        assert!(!text.contains('\n') && text.len() < MAX_BYTES);
        assert_ne!(text, nonce(&seal));
        let opened = seal.open_nonce(&text, NOW).unwrap();
        assert_eq!((opened.circle.as_str(), opened.key.as_str()), (CIRCLE, KEY));
        assert_eq!((opened.random.len(), opened.expires_at), (32, NOW + 300));
    }

    #[test]
    fn another_replica_knows_it_by_the_shared_key_and_a_stranger_does_not() {
        let key = SealKey::mint();
        let (here, there) = (Seal::new(key.clone()), Seal::new(SealKey::parse(&key.expose()).unwrap()));
        let stranger = Seal::new(SealKey::mint());
        assert!(there.open_nonce(&nonce(&here), NOW).is_some());
        assert!(there.open_token(&token(&here), NOW).is_some());
        assert!(stranger.open_nonce(&nonce(&here), NOW).is_none());
        assert!(stranger.open_token(&token(&here), NOW).is_none());
    }

    #[test]
    fn it_ends_when_it_says() {
        let seal = Seal::new(SealKey::mint());
        assert!(seal.open_nonce(&nonce(&seal), NOW + 299).is_some());
        assert!(seal.open_nonce(&nonce(&seal), NOW + 300).is_none());
        assert!(seal.open_token(&token(&seal), NOW + 3_599).is_some());
        assert!(seal.open_token(&token(&seal), NOW + 3_600).is_none());
    }

    #[test]
    fn one_is_not_taken_for_the_other_and_nothing_prints_the_key() {
        let key = SealKey::mint();
        let seal = Seal::new(key.clone());
        assert!(seal.open_token(&nonce(&seal), NOW).is_none());
        assert!(seal.open_nonce(&token(&seal), NOW).is_none());
        assert!(Seal::is_token(&token(&seal)) && !Seal::is_token(&nonce(&seal)) && !Seal::is_token("ht1"));
        assert!(!format!("{seal:?}").contains(&key.expose()));
        assert!(SealKey::parse("ab").is_none() && SealKey::parse(&"zz".repeat(32)).is_none());
    }

    proptest! {
        #[test]
        fn no_text_is_opened_that_was_not_sealed(text in ".{0,600}") {
            let seal = Seal::new(SealKey::mint());
            prop_assert!(seal.open_nonce(&text, 0).is_none() && seal.open_token(&text, 0).is_none());
        }

        #[test]
        fn a_changed_letter_breaks_the_seal(at in 0_usize..200, letter in "[0-9a-z .]") {
            let seal = Seal::new(SealKey::mint());
            for text in [nonce(&seal), token(&seal)] {
                let at = at % text.len();
                prop_assume!(text[at..=at] != letter);
                let mut changed = text.clone();
                changed.replace_range(at..=at, &letter);
                prop_assert!(seal.open_nonce(&changed, NOW).is_none() && seal.open_token(&changed, NOW).is_none());
            }
        }
    }
}
