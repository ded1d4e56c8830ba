//! Public keys of circles and their members, and what they have signed.

use hero_domain::{ApiError, CircleKey, Reason, Result};
use k256::ecdsa::{Signature as Ecdsa, VerifyingKey, signature::hazmat::PrehashVerifier as _};
use sha3::{Digest as _, Keccak256};

/// A point on secp256k1: the key of a circle, or of one of its members.
///
/// It has one spelling, the compressed one in lower case, whichever it was given in. So two spellings of a key are
/// one circle, one queue and one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: VerifyingKey,
    name: CircleKey,
}

impl PublicKey {
    /// Reads a key in hex: compressed (66 characters) or uncompressed (130), with `0x` or without.
    ///
    /// # Errors
    /// [`Reason::IdMalformed`], when it is not of that form or no point on the curve.
    pub fn parse(text: &str) -> Result<Self> {
        let form: CircleKey = text
            .parse()
            .map_err(|error: hero_domain::IdError| ApiError::new(Reason::IdMalformed, error.to_string()))?;
        let point =
            hex::decode(form.as_str()).ok().and_then(|bytes| VerifyingKey::from_sec1_bytes(&bytes).ok());
        let point = point.ok_or_else(|| {
            let words =
                format!("`{form}` is of the form of a public key, but is none: it is not on secp256k1");
            ApiError::new(Reason::IdMalformed, words)
        })?;
        let name = hex::encode(point.to_sec1_point(true).as_bytes());
        let name = name.parse().map_err(|error: hero_domain::IdError| ApiError::internal(error))?;
        Ok(Self { point, name })
    }

    /// Its one spelling.
    #[must_use]
    pub fn name(&self) -> &CircleKey {
        &self.name
    }

    /// Whether the owner of this key signed `text`, the way that wallets sign a text that a person reads (EIP-191).
    #[must_use]
    pub fn has_signed(&self, text: &str, signature: &Signature) -> bool {
        // A wallet signs with the lower of two values of s; other libraries do not care, and either is proof.
        self.point.verify_prehash(&personal_message(text), &signature.0.normalize_s()).is_ok()
    }
}

/// The hash that a wallet signs: the text behind a prefix, so that no text is a transaction.
fn personal_message(text: &str) -> [u8; 32] {
    let mut hash = Keccak256::new();
    hash.update(b"\x19Ethereum Signed Message:\n");
    hash.update(text.len().to_string().as_bytes());
    hash.update(text.as_bytes());
    hash.finalize().into()
}

/// A signature over secp256k1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Ecdsa);

impl Signature {
    /// Reads r, s and perhaps v in hex: 64 or 65 bytes, with `0x` or without.
    ///
    /// # Errors
    /// [`Reason::InvalidParams`], when it is not of that form.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = || {
            ApiError::new(Reason::InvalidParams, "a signature is r, s and perhaps v in hex: 64 or 65 bytes")
        };
        let text = text.strip_prefix("0x").unwrap_or(text);
        // Nothing is decoded that is longer than what is wanted.
        if !matches!(text.len(), 128 | 130) {
            return Err(malformed());
        }
        let bytes = hex::decode(text).map_err(|_| malformed())?;
        let (rs, v) = bytes.split_at(64);
        // v says which key it is; that is known here, so only its form is looked at.
        if v.iter().any(|v| !matches!(v, 0 | 1 | 27 | 28)) {
            return Err(malformed());
        }
        Ecdsa::from_slice(rs).map(Self).map_err(|_| malformed())
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::Reason;
    use proptest::prelude::*;

    use super::{PublicKey, Signature};

    /// Made with eth-account 0.14.0: key, uncompressed key without its 04, text, signature.
    const VECTORS: &[(&str, &str, &str, &str)] = &[
        (
            "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
            "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1",
            "",
            "008f5fb3ee6d29e767bfb729dc8764c5178f4e8a872450f6a33f62442f9ecd883c3d1dc059a5a809bde6ed6299b99b3d5c4f0ed46d79ba01658ad7b7ef8f61151c",
        ),
        (
            "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
            "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1",
            "hello",
            "f186a035b50de31ac4d913b550ae6fe2fe9e7225c635f108c71e9135de228a2a567dd55d0a4d2115d30c9226903b0feef967ae4d2daf2c07c7fb70676600c15d1b",
        ),
        (
            "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f",
            "1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1",
            "grüße, 世界\n",
            "2404a4a9df315b69470f6e41c4dcc41245d5e5840b2bb0a2ac1a591a710105fd3d59104d214d9159b610c9d420c9f6d277a08890eb30f5e6d10f5f424b954db81c",
        ),
        (
            "024e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e",
            "4e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e47fd35c4215d1edf53e6f83de344615ce719bdb0fd878f6ed76f06dd277956de",
            "",
            "8a68b4e66cd2b575338e16069d7b65f6f67c7ceae8945dccf8cb7bdb06278d933dd9c888f3444ca4698464079a067ad3cfffe96d493b8ecf56885169d0fdfe7d1b",
        ),
        (
            "024e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e",
            "4e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e47fd35c4215d1edf53e6f83de344615ce719bdb0fd878f6ed76f06dd277956de",
            "hello",
            "a5d58782075bdf09490159d634d1aae66a8f6777c7247d2f233e9511cfd7c64c34f288cdbcea5370e4863fdbe9f4d86654c2ba1d86589e9ebb64494c649008591b",
        ),
        (
            "024e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e",
            "4e3b81af9c2234cad09d679ce6035ed1392347ce64ce405f5dcd36228a25de6e47fd35c4215d1edf53e6f83de344615ce719bdb0fd878f6ed76f06dd277956de",
            "grüße, 世界\n",
            "f8fc5c8e425356cbe26d5206fcd6cdd391754551128db1e12150867fc507febd77eff9fb6e3b15c99ec9379b3c7e0891a20e86c8cfb3f82fc64ecd65fc7cedcc1c",
        ),
        (
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
            "",
            "0ac02a3eb3039b7a3ebb6a35f1e0dd31a4ed51781205a2c193354752a25edad50593868baf38c519b78bdc61a23c3f55e058c29f8b83d79ae48cc47d931afaed1b",
        ),
        (
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
            "hello",
            "e5ddc160e4c8f92de507c7db9b982d4f9b7197bfa421864aeadc586bc96b09ae0ba0c5b131650ae4994cff1839341d00f3735ef5abc62ac8fe2cf50f65208e2a1b",
        ),
        (
            "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
            "grüße, 世界\n",
            "14a2306dc51cbe184974fce31376ed8f960eb7a004edfdd684a4a84f14e121fb66078da441815cce75dde1cd576ee1fd09c98a0211609795e983c79efdeda7e91b",
        ),
    ];

    #[test]
    fn what_an_independent_wallet_signed_is_verified() {
        for (key, long, text, signed) in VECTORS {
            let public = PublicKey::parse(key).unwrap();
            assert_eq!(PublicKey::parse(&format!("04{long}")).unwrap(), public, "two spellings of a key");
            assert_eq!(public.name().as_str(), *key);
            let whole = Signature::parse(signed).unwrap();
            let short = Signature::parse(&format!("0x{}", &signed[..128])).unwrap();
            assert!(public.has_signed(text, &whole) && public.has_signed(text, &short), "{text}");
            assert!(!public.has_signed(&format!("{text} "), &whole));
        }
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        for (at, (key, ..)) in VECTORS.iter().enumerate() {
            for (other, (_, _, text, signed)) in VECTORS.iter().enumerate() {
                let is_own =
                    PublicKey::parse(key).unwrap().has_signed(text, &Signature::parse(signed).unwrap());
                let same = VECTORS[at].0 == VECTORS[other].0;
                assert_eq!(is_own, same, "{key} {text}");
            }
        }
    }

    #[test]
    fn what_is_no_point_is_no_key() {
        // x = 5 has no y on secp256k1.
        let not_on_curve = format!("02{}5", "0".repeat(63));
        assert!(PublicKey::parse(&not_on_curve).unwrap_err().message().contains("not on secp256k1"));
        for text in ["", "02", "0x", "é", &format!("02{}", "f".repeat(64)), &format!("04{}", "0".repeat(128))]
        {
            assert_eq!(PublicKey::parse(text).unwrap_err().reason(), Reason::IdMalformed, "{text}");
        }
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let zeros = "0".repeat(128);
        let wrong_v = format!("{}1d", &VECTORS[0].3[..128]);
        for text in ["", "0x", &zeros, &"f".repeat(128), &wrong_v, &"é".repeat(64), &"ab".repeat(1 << 20)] {
            assert_eq!(Signature::parse(text).unwrap_err().reason(), Reason::InvalidParams);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,160}", hex in "(0x)?[0-9a-fA-F]{0,140}") {
            for text in [&text, &hex] {
                let _ = PublicKey::parse(text);
                let _ = Signature::parse(text);
            }
        }

        #[test]
        fn a_changed_signature_proves_nothing(at in 0_usize..128, digit in 0_u32..16) {
            let (key, _, text, signed) = VECTORS[0];
            let digit = char::from_digit(digit, 16).unwrap();
            prop_assume!(!signed[at..].starts_with(digit));
            let mut changed = signed.to_owned();
            changed.replace_range(at..=at, &digit.to_string());
            if let Ok(changed) = Signature::parse(&changed) {
                prop_assert!(!PublicKey::parse(key).unwrap().has_signed(text, &changed));
            }
        }
    }
}
