//! Who is calling. The supervisor's `Keys` port knows; its answers are kept for a short time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use hero_domain::{ApiError, Caller, DEFAULT_CALLER, Reason, Result, ports::Keys};
use http::{HeaderMap, header};
use parking_lot::Mutex;

use crate::config::AuthConfig;

/// Tells callers by their secrets.
#[derive(Debug)]
pub(crate) struct Authenticator<K> {
    keys: K,
    config: AuthConfig,
    /// Whether a caller without a secret may be served.
    serves_anonymous: bool,
    hashers: [RandomState; 2],
    cache: Mutex<HashMap<Fingerprint, Known>>,
}

/// What stands for a secret in memory: two keyed 64-bit hashes, whose keys are this process's own. None: no
/// secret was brought.
type Fingerprint = Option<[u64; 2]>;

#[derive(Debug)]
struct Known {
    caller: Arc<Caller>,
    until: Instant,
}

impl<K: Keys> Authenticator<K> {
    pub(crate) fn new(keys: K, config: AuthConfig, serves_anonymous: bool) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { keys, config, serves_anonymous, hashers, cache: Mutex::default() }
    }

    /// The caller behind a request.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Caller>> {
        let secret = bearer(headers)?;
        let known = self.lookup(secret).await;
        if matches!(&known, Err(error) if error.reason() == Reason::AuthenticationRequired) {
            // Whoever guesses guesses slowly; the connection limit bounds how many do so at once.
            tokio::time::sleep(Duration::from_millis(self.config.failure_delay_ms)).await;
        }
        known
    }

    /// Whether the supervisor answers, and whether it would serve callers that this gateway must not serve.
    pub(crate) async fn probe(&self) -> Result<Probe> {
        match self.keys.identify(None).await {
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
        let caller = self.keys.identify(secret).await?;
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

    use super::{Authenticator, Probe};
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
}
