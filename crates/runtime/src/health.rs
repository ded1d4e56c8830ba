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
    conditions: Mutex<BTreeMap<String, Option<String>>>,
    changes: watch::Sender<()>,
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
        self.shared.lock().entry(name.to_string()).or_insert_with(|| Some("starting".to_owned()));
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
        let words =
            own.map(|(name, wrong)| (name.clone(), wrong.as_deref().unwrap_or("ok").to_owned())).collect();
        drop(conditions);
        Report { ready: self.is_ready(), conditions: words }
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
        self.set(Some(why.into()));
    }

    /// Whether it holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.lock().get(&*self.name).is_none_or(Option::is_none)
    }

    fn set(&self, wrong: Option<String>) {
        let before = self.shared.lock().insert(self.name.to_string(), wrong.clone()).flatten();
        if before == wrong {
            return;
        }
        match &wrong {
            None => tracing::info!(condition = &*self.name, "ready"),
            Some(why) => tracing::warn!(condition = &*self.name, why, "not ready"),
        }
        self.shared.changes.send_replace(());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
