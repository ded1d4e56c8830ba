//! Circles: tenants of a node, each with a path, runners and members of its own.

use serde::{Deserialize, Serialize};

use crate::{CircleKey, Timestamp};

/// What a circle may use. None: as much as the node allows everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircleLimits {
    /// Run time of one of its jobs, in seconds.
    pub max_timeout_s: Option<u32>,
    /// How many of its jobs run at once; 0: as many as there are slots.
    pub max_running: Option<u32>,
}

/// A circle that somebody wants to be served. Its keys are checked where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCircle {
    /// Its public key, in any spelling.
    pub public_key: String,
    /// Public keys of those who may use it beside the owner of its own, in any spelling.
    pub members: Vec<String>,
    /// What it may use.
    pub limits: CircleLimits,
}

/// A circle that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// Its public key, compressed: its name everywhere.
    pub public_key: CircleKey,
    /// Who may use it beside the owner of its own key, compressed.
    pub members: Vec<CircleKey>,
    /// What it may use.
    pub limits: CircleLimits,
    /// Whether it comes from the configuration, so that it cannot be removed at run time.
    pub is_configured: bool,
    /// When it was added; none: it was not, it is only configured.
    pub created_at: Option<Timestamp>,
}

impl Circle {
    /// The most members.
    pub const MAX_MEMBERS: usize = 1_000;

    /// Whether the owner of `key` may use it.
    #[must_use]
    pub fn admits(&self, key: &CircleKey) -> bool {
        self.public_key == *key || self.members.contains(key)
    }
}
