//! A twin's key: how it is derived, how it signs, and how a peer's signature is checked.
//!
//! Source of the contract: `contracts/msgbus.md`, section 4. A signature is hex of a type byte (`e` ed25519,
//! `s` sr25519) and 64 bytes over the message's challenge; the type byte, not the twin's record, picks the
//! algorithm, and the public key is the twin's 32-byte account id.

use std::{fmt, str::FromStr, sync::OnceLock};

use ed25519_dalek::{Signer, Verifier};
use schnorrkel::{ExpansionMode, MiniSecretKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::message::Message;

/// The signing context of sr25519 on Substrate.
const CONTEXT: &[u8] = b"substrate";
const TYPE_ED25519: u8 = b'e';
const TYPE_SR25519: u8 = b's';

/// Which algorithm a twin signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Edwards curve signatures.
    Ed25519,
    /// Schnorr signatures on Ristretto, Substrate's default.
    #[default]
    Sr25519,
}

impl FromStr for KeyType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ed25519" => Ok(Self::Ed25519),
            "sr25519" => Ok(Self::Sr25519),
            other => Err(Error::UnknownType { name: other.chars().take(40).collect() }),
        }
    }
}

/// Why a key or a signature is not accepted. The signature variants' words are those of the old daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a key type.
    #[error("`{name}` is not a key type; known are sr25519 and ed25519")]
    UnknownType {
        /// What was given.
        name: String,
    },
    /// Neither a mnemonic nor a hex seed; never says what was given.
    #[error("the secret is neither a mnemonic of 12 to 24 words nor a seed of 32 bytes in hex (0x…)")]
    BadSecret,
    /// No signature.
    #[error("signature field is empty, message is not signed")]
    Unsigned,
    /// Not hex.
    #[error("couldn't decode signature: {reason}")]
    NotHex {
        /// What the decoder said.
        reason: String,
    },
    /// A type byte that nobody knows.
    #[error("unrecognized signature prefix {prefix:02x}")]
    UnknownPrefix {
        /// The byte.
        prefix: u8,
    },
    /// It does not match.
    #[error("couldn't verify signature")]
    Mismatch,
}

/// A twin's secret key. Debug prints nothing of it.
pub struct Key(Inner);

enum Inner {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Sr25519(Box<schnorrkel::Keypair>),
}

impl Key {
    /// Derives the key from a BIP-39 mnemonic, or from a 32-byte seed in hex, the way Substrate does: the
    /// mini secret comes from the mnemonic's entropy, not from its words.
    ///
    /// # Errors
    /// [`Error::BadSecret`], without a word of the secret.
    pub fn from_secret(key_type: KeyType, secret: &str) -> Result<Self, Error> {
        let seed = seed_of(secret.trim())?;
        let inner = match key_type {
            KeyType::Ed25519 => Inner::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))),
            KeyType::Sr25519 => {
                let mini = MiniSecretKey::from_bytes(&*seed).map_err(|_| Error::BadSecret)?;
                Inner::Sr25519(Box::new(mini.expand_to_keypair(ExpansionMode::Ed25519)))
            }
        };
        Ok(Self(inner))
    }

    /// The 32-byte public key, which is the twin's account id.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        match &self.0 {
            Inner::Ed25519(key) => key.verifying_key().to_bytes(),
            Inner::Sr25519(key) => key.public.to_bytes(),
        }
    }

    /// Signs a message in place; call it when no signed member will change any more.
    pub fn sign(&self, message: &mut Message) {
        let challenge = message.challenge();
        let (prefix, signature) = match &self.0 {
            Inner::Ed25519(key) => (TYPE_ED25519, key.sign(&challenge).to_bytes()),
            Inner::Sr25519(key) => (TYPE_SR25519, key.sign_simple(CONTEXT, &challenge).to_bytes()),
        };
        message.sig = hex::encode([&[prefix], &signature[..]].concat());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// A twin's account: its 32-byte public key, of whichever algorithm it signs with. Reading a key costs a third of
/// checking a signature with it, so each is read once.
#[derive(Clone)]
pub struct Account {
    id: [u8; 32],
    ed25519: OnceLock<Option<ed25519_dalek::VerifyingKey>>,
    sr25519: OnceLock<Option<schnorrkel::PublicKey>>,
}

impl Account {
    /// Checks a message's signature.
    ///
    /// # Errors
    /// Which of the checks failed, in the old daemon's words.
    pub fn verify(&self, message: &Message) -> Result<(), Error> {
        if message.sig.is_empty() {
            return Err(Error::Unsigned);
        }
        let bytes = hex::decode(&message.sig).map_err(|error| Error::NotHex { reason: error.to_string() })?;
        let (prefix, signature) = bytes.split_first().ok_or(Error::Unsigned)?;
        let challenge = message.challenge();
        let valid = match *prefix {
            TYPE_ED25519 => self.verify_ed25519(&challenge, signature),
            TYPE_SR25519 => self.verify_sr25519(&challenge, signature),
            prefix => return Err(Error::UnknownPrefix { prefix }),
        };
        valid.ok_or(Error::Mismatch)
    }

    fn verify_ed25519(&self, challenge: &[u8], signature: &[u8]) -> Option<()> {
        let read = || ed25519_dalek::VerifyingKey::from_bytes(&self.id).ok();
        let key = self.ed25519.get_or_init(read).as_ref()?;
        key.verify(challenge, &ed25519_dalek::Signature::from_slice(signature).ok()?).ok()
    }

    fn verify_sr25519(&self, challenge: &[u8], signature: &[u8]) -> Option<()> {
        let read = || schnorrkel::PublicKey::from_bytes(&self.id).ok();
        let key = self.sr25519.get_or_init(read).as_ref()?;
        key.verify_simple(CONTEXT, challenge, &schnorrkel::Signature::from_bytes(signature).ok()?).ok()
    }
}

impl From<[u8; 32]> for Account {
    fn from(id: [u8; 32]) -> Self {
        Self { id, ed25519: OnceLock::new(), sr25519: OnceLock::new() }
    }
}

impl PartialEq<[u8; 32]> for Account {
    fn eq(&self, id: &[u8; 32]) -> bool {
        self.id == *id
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Account {}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.id))
    }
}

fn seed_of(secret: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let digits = secret.strip_prefix("0x").unwrap_or(secret);
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, &mut *seed).map_err(|_| Error::BadSecret)?;
        return Ok(seed);
    }
    let mnemonic = bip39::Mnemonic::parse_normalized(secret).map_err(|_| Error::BadSecret)?;
    let (entropy, length) = mnemonic.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    let long = Zeroizing::new(
        substrate_bip39::seed_from_entropy(&entropy[..length], "").map_err(|_| Error::BadSecret)?,
    );
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&long[..32]);
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::{Account, Error, Key, KeyType};
    use crate::message::Message;

    const SEED: &str = "0x0101010101010101010101010101010101010101010101010101010101010101";

    fn vector() -> Message {
        Message {
            ver: 1,
            uid: "1002.117".into(),
            cmd: "wallet.stellar.balance.tft".into(),
            dat: "aGVsbG8=".into(),
            src: 1001,
            dst: vec![1002],
            ret: "msgbus.system.reply".into(),
            now: 1_621_944_461,
            ..Message::default()
        }
    }

    fn account(hex_text: &str) -> Account {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex_text, &mut bytes).unwrap();
        bytes.into()
    }

    #[test]
    fn ed25519_signs_the_contracts_vectors() {
        let key = Key::from_secret(KeyType::Ed25519, SEED).unwrap();
        assert_eq!(
            hex::encode(key.public()),
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
        );
        let mut message = vector();
        key.sign(&mut message);
        assert_eq!(
            message.sig,
            "65bbb023169c38a83f6ebb91699b8ccdf1645eb5020d7faf82098c8e17fa34b12650b1534b2f53e83ea806d1c99be8e4529a8d13436cdaa4f509b89a16c58b4a0b"
        );
        message.dst.push(1003);
        message.pxy = true;
        key.sign(&mut message);
        assert_eq!(
            message.sig,
            "65cbdc83b6f6fb76bad18f3637e77ef40f887ce67c6addbe32664dcef7dee6a30d365895a1dc21618e5aa408b5409203c57470dec6cde20565a6ff708b2c87500d"
        );
    }

    #[test]
    fn sr25519_verifies_the_contracts_vector_and_its_own() {
        let public = account("189dac29296d31814dc8c56cf3d36a0543372bba7538fa322a4aebfebc39e056");
        let mut message = vector();
        message.sig = "73123639eae1cb1042fe9bc92e31bb3ba716b5fc89431282ddaa3b797cbf4bca48c21f6de0da8f889009aa1e52dc7f28896e4e6130105a25374fb6af1ee622248a".into();
        public.verify(&message).unwrap();
        let key = Key::from_secret(KeyType::Sr25519, SEED).unwrap();
        assert_eq!(public, key.public());
        message.sig.clear();
        key.sign(&mut message);
        public.verify(&message).unwrap();
        message.sig.make_ascii_uppercase();
        public.verify(&message).unwrap();
        message.dat = "b3RoZXI=".into();
        assert_eq!(public.verify(&message), Err(Error::Mismatch));
    }

    /// The development phrase of Substrate and the account that `subkey inspect` prints for it.
    #[test]
    fn a_mnemonic_gives_substrates_key() {
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
        let key = Key::from_secret(KeyType::Sr25519, phrase).unwrap();
        assert_eq!(
            hex::encode(key.public()),
            "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a"
        );
    }

    #[test]
    fn a_bad_secret_is_refused_without_repeating_it() {
        for secret in ["", "hunter2", "bottom drive obey", "0x01"] {
            let error = Key::from_secret(KeyType::Sr25519, secret).unwrap_err();
            assert_eq!(error, Error::BadSecret);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn each_failed_check_has_its_words() {
        let public = Account::from([7; 32]);
        let with = |sig: &str| Message { sig: sig.into(), ..vector() };
        assert_eq!(public.verify(&with("")), Err(Error::Unsigned));
        assert!(matches!(public.verify(&with("zz")), Err(Error::NotHex { .. })));
        assert_eq!(public.verify(&with("aa00")), Err(Error::UnknownPrefix { prefix: 0xaa }));
        assert_eq!(public.verify(&with("6500")), Err(Error::Mismatch));
    }
}
