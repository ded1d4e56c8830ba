//! The port of runners over the store.

use hero_domain::{ApiError, Caller, Reason, Result, Runner, RunnerId, Scope, ports::Runners};
use hero_store::{JobStore as _, Store};

use crate::readiness::Gate;

/// The runners that have signed in to the store.
pub(crate) struct StoredRunners {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
}

impl StoredRunners {
    /// Those that the caller may see: in a circle, the ones that serve it.
    async fn seen_by(&self, caller: &Caller) -> Result<Vec<Runner>> {
        caller.require(Scope::Register)?;
        self.gate.check()?;
        let mut runners = self.store.runners().await?;
        if let Some(circle) = &caller.circle {
            runners.retain(|runner| runner.circles.contains(circle));
        }
        Ok(runners)
    }
}

impl Runners for StoredRunners {
    async fn list(&self, caller: &Caller) -> Result<Vec<Runner>> {
        self.seen_by(caller).await
    }

    async fn get(&self, caller: &Caller, id: RunnerId) -> Result<Runner> {
        let runners = self.seen_by(caller).await?;
        runners.into_iter().find(|runner| runner.id == id).ok_or_else(|| {
            ApiError::new(
                Reason::RunnerNotFound,
                format!("there is no runner {id}; list_runners names those that are"),
            )
        })
    }
}
