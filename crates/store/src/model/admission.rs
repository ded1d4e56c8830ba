//! How many jobs of a context run at once.

use std::collections::BTreeSet;

use hero_domain::{JobId, JobStatus, Parked, Timestamp};

use super::state::{State, queue_of};

/// A job that counts is believed to for so long, then it is looked at again.
const LOOK_AFTER_MS: i64 = 30_000;

impl State {
    pub(super) fn limit_running(&mut self, context: Option<&str>, most: Option<u32>) {
        let name = context.unwrap_or_default().to_owned();
        match most {
            Some(most) => self.limits.insert(name, most),
            None => self.limits.remove(&name),
        };
    }

    /// What a runner is told when it signs in and when it renews: whether it has to look at limits, and the
    /// general one.
    pub(super) fn limits_in_force(&self) -> Option<u32> {
        (!self.limits.is_empty()).then(|| self.limits.get("").copied().unwrap_or_default())
    }

    fn limit_of(&self, context: &str) -> Option<usize> {
        let most = self.limits.get(context).or_else(|| self.limits.get("")).copied().unwrap_or_default();
        (most > 0).then_some(most as usize)
    }

    fn running_in(&self, context: &str) -> usize {
        self.admitted.get(context).map_or(0, |ids| ids.len())
    }

    fn look_again_at(&self) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis() + LOOK_AFTER_MS)
    }

    /// Whether a job whose turn has come may run now; one that may not is parked.
    pub(super) fn admit(&mut self, id: JobId) -> bool {
        let context = self.record(id).job.context_id.clone();
        if self.admitted.get(&context).is_some_and(|ids| ids.contains_key(&id)) {
            return true;
        }
        let Some(most) = self.limit_of(&context) else { return true };
        if self.running_in(&context) < most {
            let at = self.look_again_at();
            self.admitted.entry(context).or_default().insert(id, at);
            return true;
        }
        self.remove_from_places(id);
        self.parked.entry(context).or_default().push_back(id);
        false
    }

    /// Lets parked jobs out to the tails of their queues, as far as the limit of their context goes.
    pub(super) fn let_out(&mut self, context: &str) {
        let most = self.limit_of(context);
        while most.is_none_or(|most| self.running_in(context) < most) {
            let Some(id) = self.parked.get_mut(context).and_then(|ids| ids.pop_front()) else { return };
            if most.is_some() {
                let at = self.look_again_at();
                self.admitted.entry(context.to_owned()).or_default().insert(id, at);
            }
            let name = queue_of(&self.record(id).job);
            self.queues.entry(name).or_default().push_back(id);
        }
    }

    /// A job does not run any more, nor is it about to; when it counted, another one may.
    pub(super) fn leave(&mut self, id: JobId) {
        let context = self.record(id).job.context_id.clone();
        if self.admitted.get_mut(&context).is_some_and(|ids| ids.remove(&id).is_some()) {
            self.let_out(&context);
        }
    }

    /// Finds what counts and waits for a type that nobody serves, and room that a higher limit has made.
    pub(super) fn look_at_contexts(&mut self) {
        let contexts: BTreeSet<String> = self.admitted.keys().chain(self.parked.keys()).cloned().collect();
        let now = self.now;
        for context in contexts {
            let admitted = self.admitted.get(&context).into_iter().flatten();
            let old: Vec<JobId> = admitted.filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
            for id in old {
                let still_counts = self.still_counts(id);
                let at = self.look_again_at();
                let ids = self.admitted.entry(context.clone()).or_default();
                if still_counts {
                    ids.insert(id, at);
                } else {
                    ids.remove(&id);
                }
            }
            self.let_out(&context);
        }
    }

    fn still_counts(&self, id: JobId) -> bool {
        let job = &self.jobs[&id].job;
        let serves = |circles: &[hero_domain::CircleKey]| match &job.circle {
            None => circles.is_empty(),
            Some(circle) => circles.contains(circle),
        };
        job.status == JobStatus::Started
            || self.runners.values().any(|it| {
                it.lease_until > self.now
                    && it.sign_in.script_types.contains(&job.script_type)
                    && serves(&it.sign_in.circles)
            })
    }

    pub(super) fn parked_of(&self, id: JobId) -> Option<Parked> {
        let context = &self.jobs[&id].job.context_id;
        let place = self.parked.get(context)?.iter().position(|it| *it == id)?;
        Some(Parked {
            context_id: context.clone(),
            running: u32::try_from(self.running_in(context)).unwrap_or(u32::MAX),
            limit: self.limit_of(context).map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            ahead: hero_domain::Ahead { jobs: place as u64, is_least: false },
        })
    }
}
