//! No silent stall: a lane with a free slot must fetch a job, or prove its queues empty, within a bound.
//!
//! The keeper of the lease looks at it, from its own thread and through its own connections: when Redis answers there
//! and a lane has got no answer for too long, the fault is on this side. The lane is told to open its connections
//! anew and the runner is not ready; when that has not helped either, it is not alive, and whoever started it may
//! start it again.

use std::{sync::Arc, time::Duration};

use hero_runtime::Condition;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// After so many bounds a lane is given up.
const BOUNDS_TO_DEATH: u32 = 3;
/// A look that comes so late shows that the process itself stood still: it has not had the time to ask.
const LATE: u32 = 4;

/// When a lane last heard of its queues.
#[derive(Debug)]
pub(crate) struct Pulse {
    lane: String,
    /// Since when it could have taken a job and has heard nothing; none while it has no free slot, or rests.
    owed_since: Mutex<Option<Instant>>,
    restart: Notify,
}

impl Pulse {
    /// Whether the lane could take a job now.
    pub(crate) fn set_open(&self, is_open: bool) {
        let mut owed_since = self.owed_since.lock();
        if is_open != owed_since.is_some() {
            *owed_since = is_open.then(Instant::now);
        }
    }

    /// The lane has fetched jobs, or found none.
    pub(crate) fn beat(&self) {
        if let Some(owed_since) = self.owed_since.lock().as_mut() {
            *owed_since = Instant::now();
        }
    }

    /// Resolves when the lane shall open its connections anew.
    pub(crate) async fn restart(&self) {
        self.restart.notified().await;
    }
}

/// The pulses of all lanes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulses(Arc<Mutex<Vec<Arc<Pulse>>>>);

impl Pulses {
    /// That of one more lane.
    pub(crate) fn add(&self, lane: impl Into<String>) -> Arc<Pulse> {
        let pulse =
            Arc::new(Pulse { lane: lane.into(), owed_since: Mutex::default(), restart: Notify::new() });
        self.0.lock().push(Arc::clone(&pulse));
        pulse
    }
}

/// Looks at the pulses.
pub(crate) struct Watch {
    pulses: Pulses,
    bound: Duration,
    condition: Condition,
    /// The latest look, and since when the looks have come in time.
    looked_at: Instant,
    awake_since: Instant,
    restarted_at: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(pulses: Pulses, bound: Duration, condition: Condition) -> Self {
        condition.ready();
        let now = Instant::now();
        Self { pulses, bound, condition, looked_at: now, awake_since: now, restarted_at: None }
    }

    /// The pause between two looks.
    pub(crate) fn pause(&self) -> Duration {
        self.bound / 8
    }

    /// Looks, given since when Redis has answered without a break; none: it does not, and that is said elsewhere.
    pub(crate) fn look(&mut self, answers_since: Option<Instant>) {
        let now = Instant::now();
        if now - std::mem::replace(&mut self.looked_at, now) > self.pause() * LATE {
            self.awake_since = now;
        }
        let Some(answers_since) = answers_since else { return };
        let begin = answers_since.max(self.awake_since);
        let stalled = self.stalled(now, begin);
        let Some(longest) = stalled.iter().map(|(_, age)| *age).max() else {
            self.restarted_at = None;
            return self.condition.ready();
        };
        let lanes: Vec<&str> = stalled.iter().map(|(pulse, _)| pulse.lane.as_str()).collect();
        let words = format!(
            "Redis answers, and yet the queues of {} were not heard of for {} ms and more; connecting anew",
            lanes.join(", "),
            self.bound.as_millis()
        );
        if self.restarted_at.is_none_or(|at| now - at >= self.bound) {
            stalled.iter().for_each(|(pulse, _)| pulse.restart.notify_one());
            self.restarted_at = Some(now);
        }
        if longest >= self.bound * BOUNDS_TO_DEATH {
            self.condition.stalled(words);
        } else {
            self.condition.unready(words);
        }
    }

    /// The lanes that owe a sign for longer than the bound, and for how long.
    fn stalled(&self, now: Instant, begin: Instant) -> Vec<(Arc<Pulse>, Duration)> {
        let pulses = self.pulses.0.lock();
        let age = |pulse: &Arc<Pulse>| {
            let since = (*pulse.owed_since.lock())?.max(begin);
            Some((Arc::clone(pulse), now.saturating_duration_since(since)))
        };
        pulses.iter().filter_map(age).filter(|(_, age)| *age >= self.bound).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use hero_runtime::Health;
    use tokio::time::{Instant, advance};

    use super::{Pulses, Watch};

    const BOUND: Duration = Duration::from_secs(20);

    struct Bench {
        health: Health,
        watch: Watch,
        answers_since: Instant,
    }

    impl Bench {
        fn new(pulses: &Pulses) -> Self {
            let health = Health::new();
            let watch = Watch::new(pulses.clone(), BOUND, health.condition("work"));
            Self { health, watch, answers_since: Instant::now() }
        }

        /// So much time goes by, with a look now and then.
        async fn pass(&mut self, time: Duration) {
            let until = Instant::now() + time;
            while Instant::now() < until {
                advance(self.watch.pause()).await;
                self.watch.look(Some(self.answers_since));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_hears_of_its_queues_or_has_no_slot_is_well() {
        let pulses = Pulses::default();
        let (busy, idle) = (pulses.add("OSIS"), pulses.add("Python"));
        let mut bench = Bench::new(&pulses);
        busy.set_open(false);
        idle.set_open(true);
        for _ in 0..10 {
            bench.pass(BOUND / 2).await;
            idle.beat();
            idle.set_open(true);
        }
        assert!(bench.health.is_ready());
        assert_eq!(busy.restart().now_or_never(), None);
        assert_eq!(idle.restart().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hears_nothing_is_restarted_then_unready_then_dead_and_comes_back() {
        let pulses = Pulses::default();
        let pulse = pulses.add("OSIS");
        let mut bench = Bench::new(&pulses);
        pulse.set_open(true);
        bench.pass(BOUND / 2).await;
        assert!(bench.health.is_ready());
        bench.pass(BOUND).await;
        let words = bench.health.report().conditions["work"].clone();
        assert!(words.contains("OSIS") && words.contains("20000 ms"), "{words}");
        assert_eq!(pulse.restart().now_or_never(), Some(()));
        assert_eq!(bench.health.stalls(), Vec::<String>::new(), "there is hope yet");
        bench.pass(BOUND * 2).await;
        assert_eq!(bench.health.stalls(), [format!("work: {words}")]);
        assert_eq!(pulse.restart().now_or_never(), Some(()), "it is tried all the same");
        pulse.beat();
        bench.pass(BOUND / 8).await;
        assert!(bench.health.is_ready());
        assert_eq!(bench.health.stalls(), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn time_while_redis_was_away_or_the_process_stood_still_does_not_count() {
        let pulses = Pulses::default();
        let pulse = pulses.add("OSIS");
        let mut bench = Bench::new(&pulses);
        pulse.set_open(true);
        advance(BOUND * 10).await;
        bench.watch.look(Some(bench.answers_since));
        assert!(bench.health.is_ready(), "it was frozen: {:?}", bench.health.report());
        pulse.beat();
        for _ in 0..100 {
            advance(bench.watch.pause()).await;
            bench.watch.look(None);
        }
        bench.answers_since = Instant::now();
        bench.pass(BOUND / 2).await;
        assert!(bench.health.is_ready(), "redis was away: {:?}", bench.health.report());
    }
}
