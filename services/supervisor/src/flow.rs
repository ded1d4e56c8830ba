//! Jobs in and out over the last minutes, for overviews. Nothing is counted while jobs run: a sample is two numbers
//! that the store has anyway, and what has ended is what was created and is not open any more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hero_domain::FlowSample;
use hero_runtime::Shutdown;
use hero_store::{Store, Tally};

use crate::readiness::Gate;

/// The time between two samples.
const EVERY: Duration = Duration::from_secs(2);
/// Samples that are kept: four minutes.
const KEPT: usize = 120;

/// What is known of the last minutes. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Flow(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    last: Option<Tally>,
    samples: VecDeque<FlowSample>,
}

impl Flow {
    /// The samples, the oldest first.
    pub(crate) fn samples(&self) -> Vec<FlowSample> {
        self.lock().samples.iter().copied().collect()
    }

    /// Takes samples until the shutdown is requested. One that cannot be taken is left out.
    pub(crate) async fn watch(self, store: Store, gate: Gate, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            if gate.check().is_ok() {
                self.add(store.tally().await.ok().flatten());
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    fn add(&self, tally: Option<Tally>) {
        let mut kept = self.lock();
        let last = std::mem::replace(&mut kept.last, tally);
        let (Some(from), Some(to)) = (last, tally) else { return };
        let Some(sample) = between(from, to) else { return };
        if kept.samples.len() == KEPT {
            kept.samples.pop_front();
        }
        kept.samples.push_back(sample);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None: no time has passed, or all jobs were removed in between.
fn between(from: Tally, to: Tally) -> Option<FlowSample> {
    let millis = u32::try_from(to.at.millis_since(from.at)).ok().filter(|millis| *millis > 0)?;
    let seconds = f64::from(millis) / 1e3;
    let created = to.created.checked_sub(from.created)?;
    let ended = (created + from.open).saturating_sub(to.open);
    let a_second = |jobs: u64| u32::try_from(jobs).map_or(f64::MAX, f64::from) / seconds;
    Some(FlowSample { at: to.at, created: a_second(created), ended: a_second(ended) })
}

#[cfg(test)]
mod tests {
    use hero_domain::Timestamp;
    use hero_store::Tally;

    use super::{Flow, KEPT};

    fn tally(second: i64, created: u64, open: u64) -> Option<Tally> {
        Some(Tally { at: Timestamp::from_millis(second * 1_000), created, open })
    }

    #[test]
    fn what_has_ended_is_what_came_and_is_not_open_any_more() {
        let flow = Flow::default();
        flow.add(tally(0, 100, 10));
        flow.add(tally(2, 120, 6));
        // Two were started again.
        flow.add(tally(4, 120, 8));
        // All jobs were removed.
        flow.add(tally(6, 0, 0));
        flow.add(tally(8, 4, 4));
        // Nobody could be asked.
        flow.add(None);
        flow.add(tally(12, 8, 0));
        let told: Vec<(f64, f64)> = flow.samples().iter().map(|it| (it.created, it.ended)).collect();
        assert_eq!(told, [(10.0, 12.0), (0.0, 0.0), (2.0, 0.0)]);
    }

    #[test]
    fn the_oldest_samples_go() {
        let flow = Flow::default();
        for second in 0..500 {
            flow.add(tally(second, second.unsigned_abs(), 0));
        }
        let samples = flow.samples();
        assert_eq!(samples.len(), KEPT);
        assert_eq!(samples[KEPT - 1].at, Timestamp::from_millis(499_000));
    }
}
