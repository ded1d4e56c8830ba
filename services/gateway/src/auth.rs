//! Who is calling. The supervisor's `Keys` port knows; its answers are kept for a short time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use hero_auth::PublicKey;
use hero_domain::{
    ApiError, Caller, CircleKey, DEFAULT_CALLER, Reason, Result, Scope,
    ports::{Circles, Keys, Ports},
};
use http::{HeaderMap, header};
use parking_lot::Mutex;

use crate::config::AuthConfig;

/// Tells callers by their secrets.
#[derive(Debug)]
pub(crate) struct Authenticator<P> {
    ports: P,
    config: AuthConfig,
    /// Whether a caller without a secret may be served.
    serves_anonymous: bool,
    hashers: [RandomState; 2],
    cache: Mutex<HashMap<Fingerprint, Known>>,
    circles: Mutex<HashMap<CircleKey, Instant>>,
}

/// Who has come to a circle.
#[derive(Debug)]
pub(crate) enum Visitor {
    /// Somebody who is known.
    Caller(Arc<Caller>),
    /// Somebody who has to prove a key first.
    Guest,
}

/// What stands for a secret in memory: two keyed 64-bit hashes, whose keys are this process's own. None: no
/// secret was brought.
type Fingerprint = Option<[u64; 2]>;

#[derive(Debug)]
struct Known {
    caller: Arc<Caller>,
    until: Instant,
}

impl<P: Ports> Authenticator<P> {
    pub(crate) fn new(ports: P, config: AuthConfig, serves_anonymous: bool) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        let (cache, circles) = (Mutex::default(), Mutex::default());
        Self { ports, config, serves_anonymous, hashers, cache, circles }
    }

    /// The caller behind a request at the root.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Caller>> {
        let caller = self.slowed(bearer(headers)?).await?;
        if caller.circle.is_none() {
            return Ok(caller);
        }
        let words = "this key is a circle's; bring it to the path of its circle";
        Err(ApiError::new(Reason::ScopeInsufficient, words))
    }

    /// Who is behind a request at a circle. Beside those who belong to it an admin of the node may come in, and
    /// sees no more than they do.
    pub(crate) async fn identify_in(&self, circle: &CircleKey, headers: &HeaderMap) -> Result<Visitor> {
        let Some(secret) = bearer(headers)? else { return self.without_secret(circle).await };
        let caller = self.slowed(Some(secret)).await?;
        match (&caller.circle, caller.scope) {
            (Some(own), _) if own == circle => Ok(Visitor::Caller(caller)),
            // Where nobody is told apart, a secret tells nothing either.
            (None, _) if caller.name == DEFAULT_CALLER => self.without_secret(circle).await,
            (None, Scope::Admin) => Ok(Visitor::Caller(Arc::new(within(&caller, circle)))),
            _ => {
                let words =
                    "this key is not this circle's; prove one that is: fetch_nonce, then authenticate";
                Err(ApiError::new(Reason::ScopeInsufficient, words))
            }
        }
    }

    async fn without_secret(&self, circle: &CircleKey) -> Result<Visitor> {
        match self.lookup(None).await {
            Ok(caller) => {
                let tenant = Caller { scope: Scope::User, ..within(&caller, circle) };
                Ok(Visitor::Caller(Arc::new(tenant)))
            }
            Err(error) if error.reason() == Reason::AuthenticationRequired => Ok(Visitor::Guest),
            Err(error) => Err(error),
        }
    }

    /// The circle of a path, in the one spelling of its key; none: no such circle is served.
    pub(crate) async fn circle(&self, path: &str) -> Result<Option<CircleKey>> {
        let Ok(key) = PublicKey::parse(path) else { return Ok(None) };
        let now = Instant::now();
        if self.circles.lock().get(key.name()).is_some_and(|until| *until > now) {
            return Ok(Some(key.name().clone()));
        }
        let found = match self.ports.circles().find(key.name()).await {
            Ok(circle) => circle.public_key,
            Err(error) if error.reason() == Reason::CircleUnknown => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut circles = self.circles.lock();
        if circles.len() >= self.config.max_cached {
            circles.clear();
        }
        circles.insert(found.clone(), now + Duration::from_millis(self.config.circle_cache_ms));
        Ok(Some(found))
    }

    /// Whoever guesses guesses slowly; the connection limit bounds how many do so at once.
    async fn slowed(&self, secret: Option<&str>) -> Result<Arc<Caller>> {
        let known = self.lookup(secret).await;
        if matches!(&known, Err(error) if error.reason() == Reason::AuthenticationRequired) {
            tokio::time::sleep(Duration::from_millis(self.config.failure_delay_ms)).await;
        }
        known
    }

    /// Whether the supervisor answers, and whether it would serve callers that this gateway must not serve.
    pub(crate) async fn probe(&self) -> Result<Probe> {
        match self.ports.keys().identify(None).await {
            Ok(_) if !self.serves_anonymous => Ok(Probe::Open),
            Err(error) if error.reason() != Reason::AuthenticationRequired => Err(error),
            _ => Ok(Probe::Fine),
        }
    }

    async fn lookup(&self, secret: Option<&str>) -> Result<Arc<Caller>> {
        if secret.is_none() && !self.serves_anonymous {
            return Err(ApiError::new(
                Reason::AuthenticationRequired,
                "this address serves nobody without a secret; send it as `Authorization: Bearer <secret>`",
            ));
        }
        let fingerprint = secret.map(|secret| self.hashers.each_ref().map(|hasher| hasher.hash_one(secret)));
        let now = Instant::now();
        if let Some(known) = self.cache.lock().get(&fingerprint).filter(|known| known.until > now) {
            return Ok(Arc::clone(&known.caller));
        }
        let caller = self.ports.keys().identify(secret).await?;
        if !self.serves_anonymous && caller.name == DEFAULT_CALLER {
            return Err(ApiError::new(
                Reason::AuthenticationRequired,
                "the supervisor has no secret configured, so nobody can be told apart; configure one there",
            ));
        }
        let caller = Arc::new(caller);
        self.keep(fingerprint, &caller, now);
        Ok(caller)
    }

    fn keep(&self, fingerprint: Fingerprint, caller: &Arc<Caller>, now: Instant) {
        if self.config.cache_ms == 0 {
            return;
        }
        let mut cache = self.cache.lock();
        if cache.len() >= self.config.max_cached {
            cache.retain(|_, known| known.until > now);
            if cache.len() >= self.config.max_cached {
                cache.clear();
            }
        }
        let until = now + Duration::from_millis(self.config.cache_ms);
        cache.insert(fingerprint, Known { caller: Arc::clone(caller), until });
    }
}

/// What a look at the supervisor found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It answers.
    Fine,
    /// It answers, but has no secret configured, and this gateway must not serve without one.
    Open,
}

/// The same caller, confined to a circle.
fn within(caller: &Caller, circle: &CircleKey) -> Caller {
    Caller { circle: Some(circle.clone()), ..caller.clone() }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let secret = value.to_str().ok().and_then(|text| {
        let (scheme, secret) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim()).filter(|secret| !secret.is_empty())
    });
    let malformed = || {
        ApiError::new(
            Reason::AuthenticationRequired,
            "the Authorization header is not understood; send `Authorization: Bearer <secret>`",
        )
    };
    secret.map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use hero_domain::{Caller, Reason, Scope};
    use hero_testing::FakeNode;
    use http::{HeaderMap, HeaderValue, header};

    use super::{Authenticator, Probe, Visitor};
    use crate::config::AuthConfig;

    fn with(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        headers
    }

    fn ops() -> Caller {
        Caller { name: "ops".to_owned(), scope: Scope::User, circle: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_time_and_a_refusal_is_not() {
        let node = FakeNode::new();
        node.add_key("s3cret", ops());
        let keys = Authenticator::new(node.clone(), AuthConfig::default(), true);
        for _ in 0..3 {
            assert_eq!(keys.identify(&with("bearer s3cret")).await.unwrap().name, "ops");
        }
        assert_eq!(node.calls().len(), 1);
        for _ in 0..2 {
            let refused = keys.identify(&with("Bearer wrong")).await.unwrap_err();
            assert_eq!(refused.reason(), Reason::AuthenticationRequired);
        }
        assert_eq!(node.calls().len(), 3);
        let never =
            Authenticator::new(node.clone(), AuthConfig { cache_ms: 0, ..AuthConfig::default() }, true);
        for _ in 0..2 {
            never.identify(&with("Bearer s3cret")).await.unwrap();
        }
        assert_eq!(node.calls().len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_has_a_bound() {
        let node = FakeNode::new();
        let config = AuthConfig { max_cached: 2, ..AuthConfig::default() };
        let keys = Authenticator::new(node.clone(), config, true);
        for secret in ["Bearer a", "Bearer b", "Bearer c", "Bearer d"] {
            node.add_key(&secret[7..], ops());
            keys.identify(&with(secret)).await.unwrap();
            assert!(keys.cache.lock().len() <= 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_without_a_secret_is_served_where_others_can_reach() {
        let node = FakeNode::new();
        let keys = Authenticator::new(node.clone(), AuthConfig::default(), false);
        assert_eq!(
            keys.identify(&HeaderMap::new()).await.unwrap_err().reason(),
            Reason::AuthenticationRequired
        );
        assert_eq!(keys.probe().await.unwrap(), Probe::Open);
        node.add_key("anonymous", Caller::local());
        let local = keys.identify(&with("Bearer anonymous")).await.unwrap_err();
        assert_eq!(local.reason(), Reason::AuthenticationRequired);
        node.add_key("s3cret", ops());
        assert_eq!(keys.probe().await.unwrap(), Probe::Fine);
        assert_eq!(keys.identify(&with("Bearer s3cret")).await.unwrap().name, "ops");
    }

    #[tokio::test(start_paused = true)]
    async fn another_scheme_is_refused_rather_than_overlooked() {
        let keys = Authenticator::new(FakeNode::new(), AuthConfig::default(), true);
        assert_eq!(keys.identify(&HeaderMap::new()).await.unwrap().name, "anonymous");
        for value in ["Basic b3BzOnM=", "Bearer", "Bearer  ", "s3cret"] {
            let refused = keys.identify(&with(value)).await.unwrap_err();
            assert!(refused.message().contains("Bearer <secret>"), "{value}");
        }
    }

    const CIRCLE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const OTHER: &str = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";

    #[tokio::test(start_paused = true)]
    async fn a_circle_has_its_own_an_admin_guests_and_nobody_else() {
        let node = FakeNode::new();
        let circle: hero_domain::CircleKey = CIRCLE.parse().unwrap();
        let keys = Authenticator::new(node.clone(), AuthConfig::default(), true);
        let Visitor::Caller(tenant) = keys.identify_in(&circle, &HeaderMap::new()).await.unwrap() else {
            panic!()
        };
        assert_eq!((tenant.scope, tenant.circle.as_ref()), (Scope::User, Some(&circle)), "auth is off");
        let own = Caller { circle: Some(circle.clone()), ..ops() };
        node.add_key("own", own.clone());
        node.add_key("other", Caller { circle: OTHER.parse().ok(), ..ops() });
        node.add_key("user", ops());
        node.add_key("admin", Caller { scope: Scope::Admin, ..ops() });
        let keys = Authenticator::new(node, AuthConfig::default(), true);
        assert!(matches!(keys.identify_in(&circle, &HeaderMap::new()).await.unwrap(), Visitor::Guest));
        let Visitor::Caller(caller) = keys.identify_in(&circle, &with("Bearer own")).await.unwrap() else {
            panic!()
        };
        assert_eq!(*caller, own);
        let Visitor::Caller(admin) = keys.identify_in(&circle, &with("Bearer admin")).await.unwrap() else {
            panic!()
        };
        assert_eq!((admin.scope, admin.circle.as_ref()), (Scope::Admin, Some(&circle)));
        for refused in ["Bearer other", "Bearer user"] {
            let error = keys.identify_in(&circle, &with(refused)).await.unwrap_err();
            assert_eq!(error.reason(), Reason::ScopeInsufficient, "{refused}");
        }
        let error = keys.identify_in(&circle, &with("Bearer wrong")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::AuthenticationRequired);
        let error = keys.identify(&with("Bearer own")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ScopeInsufficient, "a circle's key is none at the root");
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_a_circle_in_any_spelling_and_nothing_else() {
        let node = FakeNode::new();
        node.add_circle(CIRCLE.parse().unwrap());
        let keys = Authenticator::new(node.clone(), AuthConfig::default(), true);
        let long = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                    483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        for path in [CIRCLE, long, &CIRCLE.to_uppercase(), &format!("0x{CIRCLE}")] {
            assert_eq!(keys.circle(path).await.unwrap().unwrap().as_str(), CIRCLE);
        }
        assert_eq!(node.calls(), ["find_circle"], "asked once");
        for path in ["", "x", OTHER, "../metrics", &"a".repeat(4_096)] {
            assert_eq!(keys.circle(path).await.unwrap(), None, "{path}");
        }
    }
}
