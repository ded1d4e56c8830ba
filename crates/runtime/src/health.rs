//! Whether a process can do its work, in words: named conditions that services set and `/readyz` reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

/// The conditions of a process, or of one service in it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
    /// `supervisor/`, or empty for the whole process.
    prefix: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    conditions: Mutex<BTreeMap<String, Option<Wrong>>>,
    changes: watch::Sender<()>,
}

/// Why a condition does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    why: String,
    /// It will not by itself.
    is_stall: bool,
}

/// One thing that a service needs, or a state it must not be in.
#[derive(Debug, Clone)]
pub struct Condition {
    shared: Arc<Shared>,
    name: Arc<str>,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every condition holds.
    pub ready: bool,
    /// Each condition: `ok`, or what is wrong in words.
    pub conditions: BTreeMap<String, String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Ready until a condition says otherwise.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { conditions: Mutex::default(), changes: watch::Sender::new(()) };
        Self { shared: Arc::new(shared), prefix: Arc::from("") }
    }

    /// The part of one service: its conditions are named `<service>/<name>`, and it is ready when they hold.
    #[must_use]
    pub fn scope(&self, service: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), prefix: format!("{}{service}/", self.prefix).into() }
    }

    /// The condition of that name; a new one does not hold yet ("starting").
    #[must_use]
    pub fn condition(&self, name: &str) -> Condition {
        let name: Arc<str> = format!("{}{name}", self.prefix).into();
        self.shared
            .lock()
            .entry(name.to_string())
            .or_insert_with(|| Some(Wrong { why: "starting".to_owned(), is_stall: false }));
        self.shared.changes.send_replace(());
        Condition { shared: Arc::clone(&self.shared), name }
    }

    /// Whether every condition holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let conditions = self.shared.lock();
        conditions
            .iter()
            .filter(|(name, _)| name.starts_with(&*self.prefix))
            .all(|(_, wrong)| wrong.is_none())
    }

    /// Every condition in words.
    #[must_use]
    pub fn report(&self) -> Report {
        let conditions = self.shared.lock();
        let own = conditions.iter().filter(|(name, _)| name.starts_with(&*self.prefix));
        let words = own
            .map(|(name, wrong)| (name.clone(), wrong.as_ref().map_or("ok", |it| &it.why).to_owned()))
            .collect();
        drop(conditions);
        Report { ready: self.is_ready(), conditions: words }
    }

    /// What will not come back by itself, each in words: the process had better be started again.
    #[must_use]
    pub fn stalls(&self) -> Vec<String> {
        let conditions = self.shared.lock();
        let wrong = conditions.iter().filter_map(|(name, wrong)| Some((name, wrong.as_ref()?)));
        let own = wrong.filter(|(name, wrong)| wrong.is_stall && name.starts_with(&*self.prefix));
        own.map(|(name, wrong)| format!("{name}: {}", wrong.why)).collect()
    }

    /// Waits until every condition holds.
    pub async fn ready(&self) {
        self.wait(true).await;
    }

    /// Waits until readiness is what is asked for.
    pub async fn wait(&self, ready: bool) {
        let mut changes = self.shared.changes.subscribe();
        // The sender lives as long as this does, so waiting cannot fail.
        let _ = changes.wait_for(|()| self.is_ready() == ready).await;
    }
}

impl Condition {
    /// It holds.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It does not hold; the words say why, for `/readyz` and the log.
    pub fn unready(&self, why: impl Into<String>) {
        self.set(Some(Wrong { why: why.into(), is_stall: false }));
    }

    /// It does not hold, and will not by itself, though all that it needs is there: `/livez` says so.
    pub fn stalled(&self, why: impl Into<String>) {
        self.set(Some(Wrong { why: why.into(), is_stall: true }));
    }

    /// Whether it holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.lock().get(&*self.name).is_none_or(Option::is_none)
    }

    fn set(&self, wrong: Option<Wrong>) {
        let before = self.shared.lock().insert(self.name.to_string(), wrong.clone()).flatten();
        if before == wrong {
            return;
        }
        match &wrong {
            None => tracing::info!(condition = &*self.name, "ready"),
            Some(Wrong { why, is_stall: false }) => {
                tracing::warn!(condition = &*self.name, why, "not ready");
            }
            Some(Wrong { why, is_stall: true }) => {
                tracing::error!(condition = &*self.name, why, "not alive");
            }
        }
        self.shared.changes.send_replace(());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Wrong>>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
