//! The port of circles: those of the configuration, and those that were added at run time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hero_auth::PublicKey;
use hero_domain::{
    ApiError, Caller, Circle, CircleKey, CircleLimits, NewCircle, Reason, Result, Scope, ports::Circles,
};
use hero_store::Store;

use crate::readiness::Gate;

/// Circles that are remembered at once; beyond, all are asked for again.
const MAX_REMEMBERED: usize = 4_096;

/// The circles of this node. Cheap to clone.
///
/// Every call of a circle is checked against them, so what is asked of the store is remembered for a moment: as
/// long may a circle that another replica has removed still be served.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    gate: Gate,
    configured: Vec<CircleKey>,
    remembered_for: Duration,
    remembered: Mutex<HashMap<CircleKey, (Arc<Circle>, Instant)>>,
}

impl Directory {
    pub(crate) fn new(
        store: Store,
        gate: Gate,
        configured: Vec<CircleKey>,
        remembered_for: Duration,
    ) -> Self {
        let remembered = Mutex::default();
        Self(Arc::new(Inner { store, gate, configured, remembered_for, remembered }))
    }

    /// The circle that a call is confined to; none: it is not. A gateway that says a circle which is not served, or
    /// a key which is no member of it (any more), is not believed.
    pub(crate) async fn check(&self, caller: &Caller) -> Result<Option<Arc<Circle>>> {
        let Some(key) = &caller.circle else { return Ok(None) };
        let circle = self.known(key).await?;
        // Who has proved a key is called by it; no other name is of that form.
        if let Ok(member) = caller.name.parse::<CircleKey>()
            && !circle.admits(&member)
        {
            let words = "this key may not use the circle (any more); ask its owner to be a member";
            return Err(ApiError::new(Reason::AuthenticationRequired, words));
        }
        Ok(Some(circle))
    }

    /// The circle of this key.
    pub(crate) async fn known(&self, key: &CircleKey) -> Result<Arc<Circle>> {
        let now = Instant::now();
        if let Some((circle, until)) = self.lock().get(key)
            && *until > now
        {
            return Ok(Arc::clone(circle));
        }
        let stored = self.0.store.circle(key).await?;
        let is_configured = self.0.configured.contains(key);
        let circle = match stored {
            Some(circle) => Circle { is_configured, ..circle },
            None if is_configured => configured(key.clone()),
            None => return Err(unknown(key.as_str())),
        };
        let circle = Arc::new(circle);
        let mut remembered = self.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key.clone(), (Arc::clone(&circle), now + self.0.remembered_for));
        Ok(circle)
    }

    /// The keys of all of them.
    pub(crate) async fn all(&self) -> Result<Vec<CircleKey>> {
        let stored = self.0.store.circles().await?.into_iter().map(|circle| circle.public_key);
        Ok(self.0.configured.iter().cloned().chain(stored).collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CircleKey, (Arc<Circle>, Instant)>> {
        self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, caller: &Caller) -> Result<()> {
        of_the_node(caller)?;
        self.0.gate.check()
    }
}

/// What only an admin of the whole node may do.
pub(crate) fn of_the_node(caller: &Caller) -> Result<()> {
    caller.require(Scope::Admin)?;
    if caller.circle.is_none() {
        return Ok(());
    }
    let words = "this is the node's, not a circle's; call it at the root path";
    Err(ApiError::new(Reason::ScopeInsufficient, words))
}

/// The one spelling of a key, or why it is none.
pub(crate) fn normalised(text: &str, field: &str) -> Result<CircleKey> {
    PublicKey::parse(text).map(|key| key.name().clone()).map_err(|error| error.with_field(field))
}

fn configured(public_key: CircleKey) -> Circle {
    let limits = CircleLimits::default();
    Circle { public_key, members: Vec::new(), limits, is_configured: true, created_at: None }
}

fn unknown(key: &str) -> ApiError {
    ApiError::new(
        Reason::CircleUnknown,
        format!("circle {key} is not served here; list_circles names those that are"),
    )
}

impl Circles for Directory {
    async fn find(&self, key: &CircleKey) -> Result<Circle> {
        self.0.gate.check()?;
        Ok(Circle::clone(&*self.known(key).await?))
    }

    async fn add(&self, caller: &Caller, circle: NewCircle) -> Result<Circle> {
        self.enter(caller)?;
        let public_key = normalised(&circle.public_key, "public_key")?;
        if circle.members.len() > Circle::MAX_MEMBERS {
            let words = format!("at most {} members are taken", Circle::MAX_MEMBERS);
            return Err(ApiError::new(Reason::InvalidParams, words).with_field("members"));
        }
        if circle.limits.max_timeout_s == Some(0) {
            let words = "it must be at least 1; leave it out to have the node's own";
            return Err(ApiError::new(Reason::InvalidParams, words).with_field("limits.max_timeout_s"));
        }
        let mut members = Vec::with_capacity(circle.members.len());
        for (index, member) in circle.members.iter().enumerate() {
            let member = normalised(member, &format!("members[{index}]"))?;
            if !members.contains(&member) {
                members.push(member);
            }
        }
        let circle = Circle {
            is_configured: self.0.configured.contains(&public_key),
            public_key,
            members,
            limits: circle.limits,
            created_at: Some(self.0.store.time().await?),
        };
        self.0.store.record(&caller.name, "add_circle", circle.public_key.as_str()).await?;
        self.0.store.put_circle(&circle).await?;
        self.lock().remove(&circle.public_key);
        tracing::info!(circle = %circle.public_key, caller = caller.name, "serves a circle");
        Ok(circle)
    }

    async fn remove(&self, caller: &Caller, public_key: &str) -> Result<()> {
        self.enter(caller)?;
        let key = normalised(public_key, "public_key")?;
        if self.0.configured.contains(&key) {
            let words = "the circle comes from the configuration (-k); take it out there, and restart";
            return Err(ApiError::new(Reason::CircleConfigured, words));
        }
        self.0.store.record(&caller.name, "remove_circle", key.as_str()).await?;
        let was_there = self.0.store.remove_circle(&key).await?;
        self.lock().remove(&key);
        if !was_there {
            return Err(unknown(key.as_str()));
        }
        tracing::info!(circle = %key, caller = caller.name, "serves a circle no more");
        Ok(())
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Circle>> {
        self.enter(caller)?;
        let mut all: BTreeMap<CircleKey, Circle> =
            self.0.configured.iter().map(|key| (key.clone(), configured(key.clone()))).collect();
        for stored in self.0.store.circles().await? {
            let is_configured = all.contains_key(&stored.public_key);
            all.insert(stored.public_key.clone(), Circle { is_configured, ..stored });
        }
        Ok(all.into_values().collect())
    }
}
