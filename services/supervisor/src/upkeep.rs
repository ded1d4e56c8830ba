//! What goes on without a caller: finding out whether Redis is there and fit, and sweeping (promoting what is
//! due, requeueing what lost runners held, forgetting what is gone). Every replica does it; each step is one
//! script, so that two of them never do the same work twice.

use std::{
    error::Error as StdError,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hero_domain::{Reason, ScriptType, Timestamp};
use hero_runtime::{Condition, Shutdown};
use hero_store::{Error, JobStore, LONGEST_SWEEP_PAUSE_MS, Store, Strays, Swept};
use hero_telemetry::{Attributes, metrics, names};
use tokio::time::Instant;

use crate::{config::UpkeepConfig, readiness::Gate};

/// The shortest pause before a sweep for a job that is due soon.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// The upkeep of one replica.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Store,
    pub(crate) gate: Gate,
    pub(crate) condition: Condition,
    pub(crate) config: UpkeepConfig,
    /// How many jobs of a context run at once; 0: as many as there are slots.
    pub(crate) max_running_per_context: u32,
}

/// What one round leaves for the next.
#[derive(Default)]
struct Round {
    /// When Redis was found fit last, none if it was not.
    checked_at: Option<Instant>,
    /// When strays were looked for last.
    looked_at: Option<Instant>,
    strays: Strays,
}

impl Upkeep {
    /// Goes on until the shutdown is requested.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut round = Round::default();
        loop {
            let pause = tokio::select! {
                pause = self.step(&mut round) => pause,
                () = shutdown.requested() => return Ok(()),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    /// One round; the pause until the next.
    async fn step(&self, round: &mut Round) -> Duration {
        let interval = Duration::from_millis(self.config.sweep_interval_ms.min(LONGEST_SWEEP_PAUSE_MS));
        let check_interval = Duration::from_millis(self.config.check_interval_ms);
        let checked_at = &mut round.checked_at;
        if checked_at.is_none_or(|at| at.elapsed() >= check_interval) {
            let was_fit = checked_at.is_some();
            *checked_at = if self.check(was_fit).await { Some(Instant::now()) } else { None };
        }
        if checked_at.is_none() {
            return interval;
        }
        match self.sweep(round, interval).await {
            Ok(swept) => {
                count(&swept);
                pause_after(&swept, interval)
            }
            Err(error) => {
                // What is wrong is for the next check to say.
                tracing::debug!(error = %words(&error), "sweep failed");
                round.checked_at = None;
                SHORTEST_PAUSE
            }
        }
    }

    /// One step of the sweep, and once an interval a look for what no lease leads to.
    async fn sweep(&self, round: &mut Round, interval: Duration) -> hero_store::Result<Swept> {
        let mut swept = self.store.sweep().await?;
        if round.looked_at.is_none_or(|at| at.elapsed() >= interval) {
            self.store.take_strays_back(&mut round.strays).await?;
            round.looked_at = Some(Instant::now());
            swept.requeued += round.strays.requeued;
            swept.ended += round.strays.ended;
        }
        Ok(swept)
    }

    /// Looks at Redis; whether it is fit.
    async fn check(&self, was_fit: bool) -> bool {
        let address = self.store.address();
        let checked = async {
            let fitness = self.store.check().await?;
            if !was_fit {
                // A Redis that is new, or has come back without its memory, does not know it.
                self.store
                    .limit_running(None, Some(self.max_running_per_context).filter(|most| *most > 0))
                    .await?;
            }
            Ok(fitness)
        };
        match checked.await {
            Ok(fitness) => {
                if !was_fit {
                    for warning in fitness.warnings {
                        tracing::warn!(
                            redis = address,
                            version = fitness.version,
                            warning,
                            "redis is not set up for keeping jobs safely"
                        );
                    }
                }
                self.gate.open();
                self.condition.ready();
                self.observe_depths().await;
                return true;
            }
            Err(Error::Unfit(why)) => {
                self.condition.unready(format!("redis at {address} cannot keep jobs: {why}"));
                self.gate.close(Reason::StoreUnfit, format!("the job store cannot keep jobs: {why}"));
            }
            Err(error @ Error::Unavailable { .. }) => {
                self.condition.unready(format!(
                    "{}; start it, or set redis.url; it is tried again all the time",
                    words(&error)
                ));
            }
            Err(error) => {
                let why = words(&error);
                self.condition.unready(format!("redis at {address} refuses to be used: {why}"));
                self.gate
                    .close(Reason::StoreUnfit, "the job store refuses to be used; its log and ours say why");
            }
        }
        false
    }

    async fn observe_depths(&self) {
        if let Ok(parked) = self.store.parked_jobs().await {
            metrics().jobs_parked.set(parked, &Attributes::default());
        }
        let Ok(depths) = self.store.queue_depths().await else { return };
        for script_type in ScriptType::ALL {
            let waiting =
                depths.iter().filter(|depth| depth.script_type == *script_type).map(|depth| depth.waiting);
            let attributes = Attributes::new(&[(names::SCRIPT_TYPE, script_type.as_key())]);
            metrics().queue_depth.set(waiting.sum(), &attributes);
        }
    }
}

/// At once while there is more, when the next delayed job is due, else after the interval.
fn pause_after(swept: &Swept, interval: Duration) -> Duration {
    if swept.more {
        return Duration::ZERO;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = Timestamp::from_millis(i64::try_from(now).unwrap_or(i64::MAX));
    pause_until(swept.next_due, now, interval)
}

/// `next_due` is told by Redis' clock, `now` by ours. What ought to be due already, and was not, shows that the
/// two differ; then the interval has to do.
fn pause_until(next_due: Option<Timestamp>, now: Timestamp, interval: Duration) -> Duration {
    let Some(due) = next_due else { return interval };
    match u64::try_from(due.millis_since(now)) {
        Ok(millis) => Duration::from_millis(millis).clamp(SHORTEST_PAUSE, interval),
        Err(_) => interval,
    }
}

fn count(swept: &Swept) {
    for (kind, amount) in [
        ("promoted", swept.promoted),
        ("requeued", swept.requeued),
        ("ended", swept.ended),
        ("released", swept.released),
        ("forgotten", swept.forgotten),
    ] {
        if amount > 0 {
            metrics().swept.add(amount, &Attributes::new(&[(names::KIND, kind)]));
        }
    }
    if swept.requeued + swept.ended > 0 {
        tracing::warn!(requeued = swept.requeued, ended = swept.ended, "runners were lost with jobs");
    }
}

/// An error with its sources, for a person.
fn words(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hero_domain::Timestamp;

    use super::{SHORTEST_PAUSE, pause_until};

    #[test]
    fn a_sweep_comes_when_the_next_job_is_due() {
        let interval = Duration::from_secs(1);
        let now = Timestamp::from_millis(1_000_000);
        let pause = |due: i64| pause_until(Some(Timestamp::from_millis(due)), now, interval);
        assert_eq!(pause_until(None, now, interval), interval);
        assert_eq!(pause(1_000_300), Duration::from_millis(300));
        assert_eq!(pause(1_000_001), SHORTEST_PAUSE);
        assert_eq!(pause(9_000_000), interval);
        assert_eq!(pause(999_999), interval, "our clock is ahead");
    }
}
