//! The secrets of a node's configuration, and who brings one.

use hero_config::{Invalid, Secret, Validate};
use hero_domain::{ApiError, Caller, Reason, Result, Scope};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

/// Bytes of one secret. Both sides of a comparison are laid out to this length, so that time does not tell how
/// long a configured one is.
const MAX_SECRET_BYTES: usize = 256;

/// The configured secrets, by what they allow. Each scope may have several, so that one can be replaced while
/// the other still works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Secrets {
    /// Everything.
    pub admin: Vec<Secret>,
    /// Jobs.
    pub user: Vec<Secret>,
    /// Runners and heartbeats.
    pub register: Vec<Secret>,
}

impl Secrets {
    /// Whether none is configured: then everybody is the local caller, so serve loopback only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_scope().next().is_none()
    }

    /// The caller that a secret stands for.
    #[must_use]
    pub fn identify(&self, secret: &str) -> Option<Caller> {
        let mut found = None;
        // No early return: every configured secret is compared, whichever one matches.
        for (scope, configured) in self.by_scope() {
            if bool::from(is_same(configured.expose(), secret)) {
                found.get_or_insert(scope);
            }
        }
        found.map(|scope| Caller { name: scope.as_str().to_owned(), scope, circle: None })
    }

    /// The caller of a call that brought this secret, or none.
    ///
    /// # Errors
    /// [`Reason::AuthenticationRequired`] where secrets are configured and none of them was brought.
    pub fn caller(&self, secret: Option<&str>) -> Result<Caller> {
        if self.is_empty() {
            return Ok(Caller::local());
        }
        let Some(secret) = secret else {
            return Err(ApiError::new(
                Reason::AuthenticationRequired,
                "this server wants a secret; send one",
            ));
        };
        self.identify(secret).ok_or_else(|| {
            ApiError::new(
                Reason::AuthenticationRequired,
                "nobody knows this secret; check it, or ask for a new one",
            )
        })
    }

    fn by_scope(&self) -> impl Iterator<Item = (Scope, &Secret)> {
        [(Scope::Admin, &self.admin), (Scope::User, &self.user), (Scope::Register, &self.register)]
            .into_iter()
            .flat_map(|(scope, secrets)| secrets.iter().map(move |secret| (scope, secret)))
    }
}

impl Validate for Secrets {
    fn validate(&self) -> Result<(), Invalid> {
        let mut seen: Vec<(Scope, &Secret)> = Vec::new();
        for (scope, secret) in self.by_scope() {
            let refuse = |message: String| Err(Invalid::new(scope.as_str(), message));
            if secret.is_empty() {
                return refuse("a secret must not be empty; leave it out to have none".to_owned());
            }
            if secret.expose().len() > MAX_SECRET_BYTES {
                return refuse(format!("a secret must be at most {MAX_SECRET_BYTES} bytes"));
            }
            if let Some((other, _)) = seen.iter().find(|(other, known)| *known == secret && *other != scope) {
                return refuse(format!(
                    "the same secret is configured for {}; use another one",
                    other.as_str()
                ));
            }
            seen.push((scope, secret));
        }
        Ok(())
    }
}

fn is_same(configured: &str, brought: &str) -> Choice {
    let is_same_length = configured.len().ct_eq(&brought.len());
    laid_out(configured).ct_eq(&laid_out(brought)) & is_same_length
}

fn laid_out(secret: &str) -> [u8; MAX_SECRET_BYTES] {
    let mut bytes = [0; MAX_SECRET_BYTES];
    let kept = secret.len().min(MAX_SECRET_BYTES);
    bytes[..kept].copy_from_slice(&secret.as_bytes()[..kept]);
    bytes
}

#[cfg(test)]
mod tests {
    use hero_config::{Secret, Validate as _};
    use hero_domain::{Caller, Reason, Scope};

    use super::{MAX_SECRET_BYTES, Secrets};

    fn secrets() -> Secrets {
        Secrets {
            admin: vec!["admin123".into(), "admin456".into()],
            user: vec!["user123".into()],
            register: vec!["register123".into()],
        }
    }

    #[test]
    fn each_secret_stands_for_its_scope() {
        for (secret, scope) in [
            ("admin123", Scope::Admin),
            ("admin456", Scope::Admin),
            ("user123", Scope::User),
            ("register123", Scope::Register),
        ] {
            let caller = secrets().identify(secret).unwrap();
            assert_eq!((caller.scope, caller.name.as_str(), caller.circle), (scope, scope.as_str(), None));
        }
    }

    #[test]
    fn what_is_nearly_a_secret_is_none() {
        let long = "x".repeat(MAX_SECRET_BYTES);
        let mut secrets = secrets();
        secrets.user.push(Secret::new(long.clone()));
        assert!(secrets.identify(&long).is_some());
        for wrong in ["", "admin12", "admin1234", "ADMIN123", "admin123\0", "123admin", &format!("{long}x")] {
            assert_eq!(secrets.identify(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn without_secrets_everybody_is_the_local_caller() {
        let none = Secrets::default();
        assert_eq!(none.caller(None).unwrap(), Caller::local());
        assert_eq!(none.caller(Some("whatever")).unwrap(), Caller::local());
        assert_eq!(none.identify(""), None);
    }

    #[test]
    fn with_secrets_nobody_comes_in_without_one() {
        for brought in [None, Some(""), Some("wrong")] {
            assert_eq!(secrets().caller(brought).unwrap_err().reason(), Reason::AuthenticationRequired);
        }
        assert_eq!(secrets().caller(Some("user123")).unwrap().scope, Scope::User);
    }

    #[test]
    fn a_secret_that_cannot_be_used_names_its_key() {
        secrets().validate().unwrap();
        let cases = [
            ("user", Secrets { user: vec!["".into()], ..secrets() }),
            ("admin", Secrets { admin: vec!["x".repeat(MAX_SECRET_BYTES + 1).into()], ..secrets() }),
            ("register", Secrets { register: vec!["user123".into()], ..secrets() }),
        ];
        for (key, case) in cases {
            let invalid = case.validate().unwrap_err();
            assert_eq!(invalid.key, key);
            assert!(!invalid.message.contains("user123"));
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        assert!(!format!("{:?}", secrets()).contains("123"));
    }
}
