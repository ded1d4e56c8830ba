//! How a process stops: in steps, each with a bound.

use std::{sync::Arc, time::Duration};

use hero_config::{Invalid, Validate, ensure};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

/// How long the steps of stopping may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainConfig {
    /// How long it says "not ready" and still serves, so that load balancers look elsewhere.
    pub drain_delay_ms: u64,
    /// How long what is in flight may take after that.
    pub grace_ms: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { drain_delay_ms: 0, grace_ms: 20_000 }
    }
}

impl DrainConfig {
    /// See [`DrainConfig::drain_delay_ms`].
    #[must_use]
    pub const fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }

    /// See [`DrainConfig::grace_ms`].
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

impl Validate for DrainConfig {
    fn validate(&self) -> Result<(), Invalid> {
        const DAY_MS: u64 = 86_400_000;
        ensure(self.drain_delay_ms <= DAY_MS, "drain_delay_ms", "it must be at most a day (86400000)")?;
        ensure(self.grace_ms <= DAY_MS, "grace_ms", "it must be at most a day (86400000)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Told to stop: not ready, still accepting.
    Draining,
    /// The delay is over: accept nothing more, finish by the deadline.
    Stopping(Instant),
}

/// A service's view of being told to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
    grace: Duration,
    /// Kept so that a shutdown nobody triggers stays quiet instead of looking like a lost trigger.
    _trigger: Arc<watch::Sender<Phase>>,
}

/// Tells services to stop. Dropping it tells them nothing.
#[derive(Debug, Clone)]
pub struct ShutdownTrigger {
    phase: Arc<watch::Sender<Phase>>,
    config: DrainConfig,
}

impl Shutdown {
    /// A shutdown and what triggers it.
    #[must_use]
    pub fn new(config: DrainConfig) -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(Phase::Running);
        let phase = Arc::new(sender);
        let shutdown = Self { phase: receiver, grace: config.grace(), _trigger: Arc::clone(&phase) };
        (ShutdownTrigger { phase, config }, shutdown)
    }

    /// Waits until new work must no longer be accepted.
    pub async fn requested(&self) {
        self.wait(|phase| matches!(phase, Phase::Stopping(_))).await;
    }

    /// Waits until the process begins to stop: earlier than [`Shutdown::requested`] by the drain delay. For what
    /// has no load balancer before it: a runner stops claiming here.
    pub async fn draining(&self) {
        self.wait(|phase| *phase != Phase::Running).await;
    }

    /// Waits until the grace is over: what is still in flight now is handed back or cut off.
    pub async fn grace_over(&self) {
        self.requested().await;
        let phase = *self.phase.borrow();
        if let Phase::Stopping(deadline) = phase {
            tokio::time::sleep_until(deadline).await;
        }
    }

    /// Whether new work must no longer be accepted.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Stopping(_))
    }

    /// Whether the process has begun to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// How long what is in flight may take after [`Shutdown::requested`].
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    async fn wait(&self, reached: impl Fn(&Phase) -> bool) {
        // The sender lives as long as this does, so waiting cannot fail.
        let _ = self.phase.clone().wait_for(reached).await;
    }
}

impl ShutdownTrigger {
    /// Begins to stop, waits the drain delay, then requests the stop. Does nothing that was done before.
    pub async fn drain(&self) {
        self.begin();
        if self.config.drain_delay_ms > 0 {
            tokio::time::sleep(self.config.drain_delay()).await;
        }
        self.stop();
    }

    /// Begins to stop without an end to the delay; [`ShutdownTrigger::stop`] is the end.
    pub fn begin(&self) {
        self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            if first {
                *phase = Phase::Draining;
            }
            first
        });
    }

    /// Requests the stop now, without a delay.
    pub fn stop(&self) {
        let deadline = Instant::now() + self.config.grace();
        self.phase.send_if_modified(|phase| {
            let first = !matches!(phase, Phase::Stopping(_));
            if first {
                *phase = Phase::Stopping(deadline);
            }
            first
        });
    }
}
