//! API keys, the proof of a key's owner, and the record of who did what.

use crate::{Caller, CircleKey, Scope, Timestamp};

/// What the owner of a public key brings to prove it. Its form is checked where it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The public key, in any spelling.
    pub pubkey: String,
    /// The signature, in hex.
    pub signature: String,
    /// The line that was signed, as it was given out.
    pub nonce: String,
}

/// Somebody who has proved a key to a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who that is.
    pub caller: Caller,
    /// What stands for the proof for some time, where there is no connection to bind it to.
    pub token: String,
}

/// An API key that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The circle that it is confined to, in any spelling; none: it is the node's.
    pub circle: Option<String>,
}

/// What is known of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The circle that it is confined to.
    pub circle: Option<CircleKey>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was used last, to the minute; none: never.
    pub last_used_at: Option<Timestamp>,
}

/// An API key that was just made: the only time that it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedKey {
    /// What is known of it.
    pub info: KeyInfo,
    /// The key itself.
    pub secret: String,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey").field("info", &self.info).finish_non_exhaustive()
    }
}

/// One line of the record of who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the record.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What, such as `create_key`.
    pub action: String,
    /// To what, such as the name of a key.
    pub subject: String,
}
