//! A wallet: a key on secp256k1, and signatures as wallets make them, without any code of ours.

use k256::ecdsa::SigningKey;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::client::Client;

/// The owner of a key.
pub(crate) struct Wallet(SigningKey);

impl Wallet {
    /// The owner of the key that these bytes are.
    pub(crate) fn of(byte: u8) -> Self {
        Self(SigningKey::from_slice(&[byte; 32]).expect("a key"))
    }

    /// The public key, compressed.
    pub(crate) fn pubkey(&self) -> String {
        hex::encode(self.0.verifying_key().to_sec1_point(true).as_bytes())
    }

    /// The public key, uncompressed.
    pub(crate) fn long_pubkey(&self) -> String {
        hex::encode(self.0.verifying_key().to_sec1_point(false).as_bytes())
    }

    /// The signature of a text that a person reads (EIP-191): r, s and v.
    pub(crate) fn sign(&self, text: &str) -> String {
        let message = format!("\x19Ethereum Signed Message:\n{}{text}", text.len());
        let (signature, recovery) = self.0.sign_prehash_recoverable(&Keccak256::digest(message));
        format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + recovery.to_byte())
    }

    /// What `authenticate` and `login` take, with a fresh nonce.
    pub(crate) async fn proof(&self, client: &Client) -> Value {
        let nonce = client.text("fetch_nonce", json!([self.pubkey()])).await;
        json!({"pubkey": self.pubkey(), "signature": self.sign(&nonce), "nonce": nonce})
    }
}
