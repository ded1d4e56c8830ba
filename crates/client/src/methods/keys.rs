//! API keys, and the record of who did what.

use serde_json::{Value, json};

use crate::{AuditEntry, Client, CreatedKey, Key, Result, Scope};

impl Client {
    /// Makes an API key, which is shown this once; with a circle (its public key) it is confined to that.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn create_key(&self, name: &str, scope: Scope, circle: Option<&str>) -> Result<CreatedKey> {
        self.tell("create_key", json!({ "name": name, "scope": scope, "circle": circle })).await
    }

    /// What is known of the API keys.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_keys(&self) -> Result<Vec<Key>> {
        self.ask("list_keys", Value::Null).await
    }

    /// Forgets an API key.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn remove_key(&self, name: &str) -> Result<()> {
        self.tell("remove_key", json!({ "name": name })).await
    }

    /// Replaces an API key by another of the same name.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn rotate_key(&self, name: &str) -> Result<CreatedKey> {
        self.tell("rotate_key", json!({ "name": name })).await
    }

    /// Who did what, the latest first.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_audit(&self, limit: Option<usize>) -> Result<Vec<AuditEntry>> {
        self.ask("list_audit", json!({ "limit": limit })).await
    }
}
