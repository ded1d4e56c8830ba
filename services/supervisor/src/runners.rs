//! The port of runners over the store.

use hero_domain::{ApiError, Caller, Reason, Result, Runner, RunnerId, Scope, ports::Runners};
use hero_store::{JobStore as _, Store};

use crate::{circles::Directory, readiness::Gate};

/// The runners that have signed in to the store.
pub(crate) struct StoredRunners {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) circles: Directory,
}

impl StoredRunners {
    /// Those that the caller may see: in a circle, the ones that serve it.
    async fn seen_by(&self, caller: &Caller) -> Result<Vec<Runner>> {
        caller.require(Scope::Register)?;
        self.gate.check()?;
        self.circles.check(caller).await?;
        let mut runners = self.store.runners().await?;
        if let Some(circle) = &caller.circle {
            runners.retain(|runner| runner.circles.contains(circle));
        }
        Ok(runners)
    }

    async fn one_seen_by(&self, caller: &Caller, id: &RunnerId) -> Result<Runner> {
        let runners = self.seen_by(caller).await?;
        runners.into_iter().find(|runner| runner.id == *id).ok_or_else(|| {
            ApiError::new(
                Reason::RunnerNotFound,
                format!("there is no runner {id}; list_runners names those that are"),
            )
        })
    }

    /// A caller of a circle may look at the runners that serve it, and nothing more: they may serve others too.
    async fn own(&self, caller: &Caller, id: &RunnerId) -> Result<()> {
        self.one_seen_by(caller, id).await?;
        if caller.circle.is_some() {
            return Err(ApiError::new(
                Reason::ScopeInsufficient,
                "a runner is the node's; drain or remove it there, not in a circle",
            ));
        }
        Ok(())
    }
}

impl Runners for StoredRunners {
    async fn list(&self, caller: &Caller) -> Result<Vec<Runner>> {
        self.seen_by(caller).await
    }

    async fn get(&self, caller: &Caller, id: RunnerId) -> Result<Runner> {
        self.one_seen_by(caller, &id).await
    }

    async fn drain(&self, caller: &Caller, id: RunnerId, draining: bool) -> Result<()> {
        self.own(caller, &id).await?;
        self.store.drain(&id, draining).await?;
        tracing::info!(runner_id = %id, draining, caller = caller.name, "told a runner whether to take new jobs");
        Ok(())
    }

    async fn remove(&self, caller: &Caller, id: RunnerId) -> Result<()> {
        self.own(caller, &id).await?;
        self.store.remove(&id).await?;
        tracing::info!(runner_id = %id, caller = caller.name, "removed a runner whose lease was over");
        Ok(())
    }
}
