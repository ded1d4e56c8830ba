//! Who is calling, as the edge found out; every port takes it first.

use serde::{Deserialize, Serialize};

use crate::{ApiError, CircleKey, Reason, Result};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Jobs.
    User,
    /// Runners and heartbeats.
    Register,
}

impl Scope {
    /// The lower-case name: `admin`, `user`, `register`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Register => "register",
        }
    }

    /// Whether a key of this scope may do what `needed` asks for: admin may do all, others only their own.
    #[must_use]
    pub const fn covers(self, needed: Self) -> bool {
        matches!(
            (self, needed),
            (Self::Admin, _) | (Self::User, Self::User) | (Self::Register, Self::Register)
        )
    }
}

/// An authenticated caller. Made only by an edge (gateway, bridge, relay) and carried along unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's name, or `anonymous`.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// The circle that the call is confined to; none at the root.
    pub circle: Option<CircleKey>,
}

impl Caller {
    /// The caller of a server without secrets, which serves loopback only.
    #[must_use]
    pub fn local() -> Self {
        Self { name: crate::DEFAULT_CALLER.to_owned(), scope: Scope::Admin, circle: None }
    }

    /// Fails with PermissionDenied unless the caller's scope covers `needed`.
    ///
    /// # Errors
    /// [`Reason::ScopeInsufficient`], naming both scopes.
    pub fn require(&self, needed: Scope) -> Result<()> {
        if self.scope.covers(needed) {
            return Ok(());
        }
        Err(ApiError::new(
            Reason::ScopeInsufficient,
            format!("this needs scope {}; the key has scope {}", needed.as_str(), self.scope.as_str()),
        ))
    }

    /// Whether a job of `context_id` is visible to this caller: in a circle, only that circle's own.
    #[must_use]
    pub fn sees_context(&self, context_id: &str) -> bool {
        self.circle.as_ref().is_none_or(|circle| circle.as_str() == context_id)
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, Scope};

    #[test]
    fn admin_covers_all_and_the_others_only_themselves() {
        use Scope::{Admin, Register, User};
        for needed in [Admin, User, Register] {
            assert!(Admin.covers(needed));
        }
        assert!(User.covers(User) && !User.covers(Admin) && !User.covers(Register));
        assert!(Register.covers(Register) && !Register.covers(User) && !Register.covers(Admin));
    }

    #[test]
    fn a_circle_caller_sees_only_its_own_context() {
        let key = format!("02{}", "ab".repeat(32));
        let inside = Caller { circle: Some(key.parse().unwrap()), ..Caller::local() };
        assert!(inside.sees_context(&key));
        assert!(!inside.sees_context("default"));
        assert!(Caller::local().sees_context("default"));
    }
}
