//! The port of keys: the configured secrets, API keys, and who owns the key of a circle.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hero_auth::{ApiKey, PublicKey, Seal, SealKey, Secrets, Signature};
use hero_domain::{
    ApiError, AuditEntry, Caller, CircleKey, CreatedKey, KeyInfo, Login, NewKey, Proof, Reason, Result,
    Scope, ports::Keys,
};
use hero_store::{MAX_KEYS, Store, StoredKey};
use tokio::sync::OnceCell;

use crate::{
    circles::{Directory, normalised, of_the_node},
    config::AuthConfig,
    readiness::Gate,
};

/// A use of an API key is written down once in so long.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// Lines of the record that one call shows.
const MAX_AUDIT_LINES: usize = 1_000;

/// Who a secret belongs to, and the keys that are kept in the store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StoredKeys(Arc<Inner>);

struct Inner {
    store: Store,
    gate: Gate,
    secrets: Secrets,
    /// Whether everybody has to bring something, even where no secret is configured.
    is_required: bool,
    circles: Directory,
    config: AuthConfig,
    seal: OnceCell<Seal>,
    noted: Mutex<HashMap<String, Instant>>,
}

impl StoredKeys {
    pub(crate) fn new(
        store: Store,
        gate: Gate,
        secrets: Secrets,
        is_required: bool,
        circles: Directory,
        config: AuthConfig,
    ) -> Self {
        let (seal, noted) = (OnceCell::new(), Mutex::default());
        Self(Arc::new(Inner { store, gate, secrets, is_required, circles, config, seal, noted }))
    }

    async fn seal(&self) -> Result<&Seal> {
        let load = || async {
            let kept = self.0.store.seal_key(&SealKey::mint().expose()).await?;
            let key =
                SealKey::parse(&kept).ok_or_else(|| ApiError::internal("the key of the seal is damaged"))?;
            Ok(Seal::new(key))
        };
        self.0.seal.get_or_try_init(load).await
    }

    /// Redis' clock, so that replicas agree.
    async fn now_s(&self) -> Result<i64> {
        Ok(self.0.store.time().await?.as_millis() / 1_000)
    }

    async fn of_token(&self, token: &str) -> Result<Caller> {
        self.0.gate.check()?;
        let opened = self.seal().await?.open_token(token, self.now_s().await?);
        let opened = opened
            .ok_or_else(|| refused("the token is not known here, or its time is over; log in again"))?;
        let caller = member(opened.key, opened.circle);
        self.0.circles.check(&caller).await?;
        Ok(caller)
    }

    async fn of_api_key(&self, key: &ApiKey) -> Result<Caller> {
        self.0.gate.check()?;
        let stored = self.0.store.api_key(key.name()).await?.filter(|stored| key.is(&stored.hash));
        let stored =
            stored.ok_or_else(|| refused("nobody knows this key; check it, or ask for a new one"))?;
        self.note_use(key.name()).await?;
        let KeyInfo { name, scope, circle, .. } = stored.info;
        Ok(Caller { name, scope, circle })
    }

    async fn note_use(&self, name: &str) -> Result<()> {
        let now = Instant::now();
        {
            let mut noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(name).is_some_and(|at| now.duration_since(*at) < USE_NOTED_EVERY) {
                return Ok(());
            }
            if noted.len() as u64 > MAX_KEYS {
                noted.clear();
            }
            noted.insert(name.to_owned(), now);
        }
        Ok(self.0.store.touch_api_key(name, self.0.store.time().await?).await?)
    }

    fn enter(&self, caller: &Caller) -> Result<()> {
        of_the_node(caller)?;
        self.0.gate.check()
    }

    async fn keep(&self, caller: &Caller, info: KeyInfo, action: &str, replace: bool) -> Result<CreatedKey> {
        let key = ApiKey::mint(&info.name)?;
        self.0.store.record(&caller.name, action, &info.name).await?;
        let kept = StoredKey { info, hash: key.hash() };
        let is_kept = self.0.store.put_api_key(&kept, replace).await?;
        let info = kept.info;
        if !is_kept && !replace {
            let words =
                format!("there is a key called {} already; take another name, or rotate it", info.name);
            return Err(ApiError::new(Reason::KeyExists, words).with_field("name"));
        }
        tracing::info!(
            key = info.name,
            scope = info.scope.as_str(),
            caller = caller.name,
            action,
            "made an API key"
        );
        Ok(CreatedKey { secret: key.expose(), info })
    }
}

fn refused(words: &str) -> ApiError {
    ApiError::new(Reason::AuthenticationRequired, words)
}

/// Who has proved a key is called by it.
fn member(key: CircleKey, circle: CircleKey) -> Caller {
    Caller { name: key.to_string(), scope: Scope::User, circle: Some(circle) }
}

fn not_found(name: &str) -> ApiError {
    let name: String = name.chars().take(80).collect();
    ApiError::new(
        Reason::KeyNotFound,
        format!("there is no key called {name}; list_keys names those that there are"),
    )
}

impl Keys for StoredKeys {
    async fn identify(&self, secret: Option<&str>) -> Result<Caller> {
        if let Some(token) = secret.filter(|secret| Seal::is_token(secret)) {
            return self.of_token(token).await;
        }
        if let Some(key) = secret.and_then(ApiKey::parse) {
            return self.of_api_key(&key).await;
        }
        if self.0.is_required && self.0.secrets.is_empty() {
            return Err(refused("this server wants a key; log in to a circle, or bring an API key"));
        }
        self.0.secrets.caller(secret)
    }

    async fn nonce(&self, circle: &CircleKey, pubkey: &str) -> Result<String> {
        self.0.gate.check()?;
        let circle = self.0.circles.known(circle).await?;
        let key = normalised(pubkey, "pubkey")?;
        let expires_at = self.now_s().await? + i64::from(self.0.config.nonce_s);
        Ok(self.seal().await?.nonce(&circle.public_key, &key, expires_at))
    }

    async fn login(&self, circle: &CircleKey, proof: Proof) -> Result<Login> {
        self.0.gate.check()?;
        let circle = self.0.circles.known(circle).await?;
        let key = PublicKey::parse(&proof.pubkey).map_err(|error| error.with_field("pubkey"))?;
        let signature = Signature::parse(&proof.signature).map_err(|error| error.with_field("signature"))?;
        let now = self.now_s().await?;
        let seal = self.seal().await?;
        // One answer for every cause: a stranger learns neither who is a member nor which part was wrong.
        let proves_nothing =
            || refused("this proves nothing; fetch a nonce and sign it, with the key of a member");
        let nonce = seal.open_nonce(&proof.nonce, now).ok_or_else(proves_nothing)?;
        let is_ours = nonce.circle == circle.public_key && nonce.key == *key.name();
        if !is_ours || !circle.admits(key.name()) || !key.has_signed(&proof.nonce, &signature) {
            return Err(proves_nothing());
        }
        let kept_s = u64::try_from(nonce.expires_at - now).unwrap_or_default() + 1;
        if !self.0.store.use_nonce(&nonce.random, kept_s).await? {
            return Err(proves_nothing());
        }
        self.0.store.record(key.name().as_str(), "login", circle.public_key.as_str()).await?;
        let token = seal.token(&circle.public_key, &key, now + i64::from(self.0.config.token_s));
        let caller = member(key.name().clone(), circle.public_key.clone());
        tracing::info!(circle = %circle.public_key, key = %key.name(), "somebody has proved a key");
        Ok(Login { caller, token })
    }

    async fn create(&self, caller: &Caller, key: NewKey) -> Result<CreatedKey> {
        self.enter(caller)?;
        let circle = match &key.circle {
            Some(circle) => {
                let circle = normalised(circle, "circle")?;
                Some(self.0.circles.known(&circle).await?.public_key.clone())
            }
            None => None,
        };
        if circle.is_some() && key.scope != Scope::User {
            let words = "a key of a circle has scope user; leave the circle out for another scope";
            return Err(ApiError::new(Reason::InvalidParams, words).with_field("scope"));
        }
        let info = KeyInfo {
            name: key.name,
            scope: key.scope,
            circle,
            created_by: caller.name.clone(),
            created_at: self.0.store.time().await?,
            last_used_at: None,
        };
        self.keep(caller, info, "create_key", false).await
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<KeyInfo>> {
        self.enter(caller)?;
        Ok(self.0.store.api_keys().await?.into_iter().map(|key| key.info).collect())
    }

    async fn remove(&self, caller: &Caller, name: &str) -> Result<()> {
        self.enter(caller)?;
        let Some(key) = self.0.store.api_key(name).await? else { return Err(not_found(name)) };
        self.0.store.record(&caller.name, "remove_key", &key.info.name).await?;
        if !self.0.store.remove_api_key(name).await? {
            return Err(not_found(name));
        }
        tracing::info!(key = key.info.name, caller = caller.name, "forgot an API key");
        Ok(())
    }

    async fn rotate(&self, caller: &Caller, name: &str) -> Result<CreatedKey> {
        self.enter(caller)?;
        let Some(old) = self.0.store.api_key(name).await? else { return Err(not_found(name)) };
        let created_at = self.0.store.time().await?;
        let info = KeyInfo { created_by: caller.name.clone(), created_at, last_used_at: None, ..old.info };
        self.keep(caller, info, "rotate_key", true).await
    }

    async fn audit(&self, caller: &Caller, limit: usize) -> Result<Vec<AuditEntry>> {
        self.enter(caller)?;
        Ok(self.0.store.recorded(limit.min(MAX_AUDIT_LINES)).await?)
    }
}
