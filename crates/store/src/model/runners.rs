//! Runners: who is there, what they hold, and what happens when they are gone.

use std::collections::BTreeSet;

use hero_domain::{ErrorKind, JobId, JobStatus, Runner, RunnerId, RunnerState, Timestamp};

use super::state::{Presence, State};
use crate::{
    Error,
    api::{Renewed, Result, Session, SignIn, Swept},
    keys::OUTAGE_MS,
};

impl State {
    pub(super) fn sign_in(&mut self, runner: &SignIn) -> Session {
        self.take_all_back(&runner.id);
        let presence = Presence {
            sign_in: runner.clone(),
            busy: 0,
            limited: self.limits_in_force(),
            is_draining: false,
            started_at: self.now,
            last_seen_at: self.now,
            lease_until: self.lease_from_now(runner),
            unknown: BTreeSet::new(),
            stops: BTreeSet::new(),
        };
        self.runners.insert(runner.id.clone(), presence);
        Session { runner: runner.id.clone(), session: runner.session.clone() }
    }

    pub(super) fn check_session(&self, session: &Session) -> Result<()> {
        match self.runners.get(&session.runner) {
            Some(presence) if presence.sign_in.session == session.session => Ok(()),
            _ => Err(Error::RunnerReplaced(session.runner.clone())),
        }
    }

    pub(super) fn renew(&mut self, session: &Session, busy: u32, known: &[JobId]) -> Result<Renewed> {
        self.check_session(session)?;
        let held = self.inflight.get(&session.runner).cloned().unwrap_or_default();
        let unknown: Vec<JobId> = held.iter().copied().filter(|id| !known.contains(id)).collect();
        let lease_until = self.lease_from_now(&self.runners[&session.runner].sign_in);
        let now = self.now;
        let limited = self.limits_in_force();
        let presence = self.runners.get_mut(&session.runner).expect("the session was checked");
        presence.busy = busy;
        presence.limited = limited;
        presence.last_seen_at = now;
        presence.lease_until = lease_until;
        // It is told again until its process is gone.
        presence.stops.retain(|id| held.contains(id) || known.contains(id));
        let lost: Vec<JobId> = unknown.iter().copied().filter(|id| presence.unknown.contains(id)).collect();
        presence.unknown = unknown.into_iter().filter(|id| !lost.contains(id)).collect();
        let renewed =
            Renewed { stop: presence.stops.iter().copied().collect(), draining: presence.is_draining };
        for id in lost {
            self.take_back(id);
        }
        Ok(renewed)
    }

    pub(super) fn sign_out(&mut self, session: &Session) -> Result<()> {
        self.check_session(session)?;
        self.take_all_back(&session.runner);
        self.runners.remove(&session.runner);
        Ok(())
    }

    pub(super) fn drain(&mut self, runner: &RunnerId, draining: bool) -> Result<()> {
        let presence = self.runners.get_mut(runner);
        presence.ok_or_else(|| Error::RunnerNotFound(runner.clone()))?.is_draining = draining;
        Ok(())
    }

    pub(super) fn remove(&mut self, runner: &RunnerId) -> Result<()> {
        let presence = self.runners.get(runner).ok_or_else(|| Error::RunnerNotFound(runner.clone()))?;
        if presence.lease_until > self.now {
            return Err(Error::RunnerAlive { id: runner.clone(), until: presence.lease_until });
        }
        self.take_all_back(runner);
        self.runners.remove(runner);
        Ok(())
    }

    pub(super) fn runners(&self) -> Vec<Runner> {
        self.runners.values().map(|presence| self.as_runner(presence)).collect()
    }

    fn as_runner(&self, presence: &Presence) -> Runner {
        let sign_in = presence.sign_in.clone();
        let state = if presence.lease_until <= self.now {
            RunnerState::Lost
        } else if presence.is_draining {
            RunnerState::Draining
        } else {
            RunnerState::Alive
        };
        Runner {
            id: sign_in.id,
            script_types: sign_in.script_types,
            circles: sign_in.circles,
            slots: sign_in.slots,
            slots_by_type: sign_in.slots_by_type,
            not_offered: sign_in.not_offered,
            max_running_per_context: presence.limited.filter(|most| *most > 0),
            busy: presence.busy,
            host: sign_in.host,
            version: sign_in.version,
            sandbox: sign_in.sandbox,
            started_at: presence.started_at,
            last_seen_at: presence.last_seen_at,
            lease_until: presence.lease_until,
            state,
        }
    }

    pub(super) fn sweep(&mut self) -> Swept {
        let mut swept = Swept::default();
        let now = self.now;
        let mut due: Vec<(Timestamp, JobId)> =
            self.delayed.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, *id)).collect();
        due.sort_unstable();
        for (_, id) in due {
            self.delayed.remove(&id);
            self.enqueue(id);
            swept.promoted += 1;
        }
        // While nothing is swept, nobody can renew a lease either: it is given once more.
        if self.swept_at.is_some_and(|at| now.millis_since(at) > OUTAGE_MS as i64) {
            self.back_at = Some(now);
        }
        self.swept_at = Some(now);
        if let Some(back_at) = self.back_at {
            for presence in self.runners.values_mut().filter(|presence| presence.lease_until <= now) {
                presence.lease_until = presence.lease_until.max(lease_from(back_at, &presence.sign_in));
            }
        }
        let over = self.runners.iter().filter(|(_, presence)| presence.lease_until <= now);
        let mut lost: Vec<(Timestamp, RunnerId)> =
            over.map(|(id, presence)| (presence.lease_until, id.clone())).collect();
        lost.sort_unstable();
        for (_, runner) in lost {
            let (requeued, ended) = self.take_all_back(&runner);
            swept.requeued += requeued;
            swept.ended += ended;
            self.runners.remove(&runner);
        }
        self.look_at_contexts();
        swept.next_due = self.delayed.values().min().copied();
        swept
    }

    /// Takes everything back that a runner holds; how many were requeued, how many ended.
    fn take_all_back(&mut self, runner: &RunnerId) -> (u64, u64) {
        let (mut requeued, mut ended) = (0, 0);
        let held = self.inflight.remove(runner).unwrap_or_default();
        // From the last to the first, so that the first is at the head again.
        for id in held.into_iter().rev() {
            match self.take_back(id) {
                JobStatus::Dispatched => requeued += 1,
                _ => ended += 1,
            }
        }
        (requeued, ended)
    }

    /// Takes one job back from a runner that lost it, or that is lost.
    fn take_back(&mut self, id: JobId) -> JobStatus {
        if self.record(id).job.status == JobStatus::Dispatched {
            // Taken by the wait for work and never claimed: nothing has begun.
            self.remove_from_places(id);
            self.put_back(id);
            return JobStatus::Dispatched;
        }
        let now = self.now;
        let record = self.record(id);
        let run_ms = record.job.started_at.map_or(0, |started_at| now.millis_since(started_at));
        record.losses += 1;
        let reason_to_end = if run_ms > i64::from(record.job.timeout_s) * 1000 {
            Some(ErrorKind::Timeout)
        } else if record.losses >= record.job.max_deliveries {
            Some(ErrorKind::RunnerLost)
        } else {
            None
        };
        self.give_back(id, reason_to_end)
    }

    fn lease_from_now(&self, runner: &SignIn) -> Timestamp {
        lease_from(self.now, runner)
    }
}

fn lease_from(begin: Timestamp, runner: &SignIn) -> Timestamp {
    let lease_ms = i64::try_from(runner.lease.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(begin.as_millis().saturating_add(lease_ms))
}
