//! Circles, and the proof of their keys.

use serde_json::{Value, json};

use crate::{Circle, CircleLimits, Client, Result};

impl Client {
    /// A line for the owner of a key to sign, once and soon.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn fetch_nonce(&self, pubkey: &str) -> Result<String> {
        self.ask("fetch_nonce", json!({ "pubkey": pubkey })).await
    }

    /// Binds a key to this connection, if the signature proves it; over a WebSocket only.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn authenticate(&self, pubkey: &str, signature: &str, nonce: &str) -> Result<bool> {
        let proof = json!({ "pubkey": pubkey, "signature": signature, "nonce": nonce });
        self.tell("authenticate", proof).await
    }

    /// A secret for a while, if the signature proves the key.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn login(&self, pubkey: &str, signature: &str, nonce: &str) -> Result<String> {
        self.tell("login", json!({ "pubkey": pubkey, "signature": signature, "nonce": nonce })).await
    }

    /// Serves a circle; a repeat replaces its members and limits.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn add_circle(
        &self,
        public_key: &str,
        members: &[String],
        limits: CircleLimits,
    ) -> Result<Circle> {
        let params = json!({ "public_key": public_key, "members": members, "limits": limits });
        self.ask("add_circle", params).await
    }

    /// Serves a circle no more.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn remove_circle(&self, public_key: &str) -> Result<()> {
        self.tell("remove_circle", json!({ "public_key": public_key })).await
    }

    /// The circles that are served.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_circles(&self) -> Result<Vec<Circle>> {
        self.ask("list_circles", Value::Null).await
    }
}
