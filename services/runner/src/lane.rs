//! One script type's way between the store and its engine.
//!
//! One task claims jobs into free slots, hands them to the engine and reports their ends. An end waits for
//! nothing: it is reported at once when no call is in flight, and those that come while one is are reported
//! together by the next, which asks for new jobs too. So a lone job costs two round trips, and under load a
//! call carries as many jobs as have ended meanwhile.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use hero_domain::{CircleKey, JobId};
use hero_store::{Claim, Claimed, Error, Exchanged, Finish, JobStore, Outcome, Session, Store, Work};
use hero_telemetry::{Attributes, metrics, names};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{Attempt, Ended, Reports, Run},
    backoff::Backoff,
    engine::Engine,
    holdings::Holdings,
    stall::{Pulse, Pulses},
};

/// A second call sets out while one is in flight, so that the store is not idle while an answer travels.
const MOST_CALLS: usize = 2;
/// One call asks for so many jobs at most, and reports so many.
const MOST_JOBS_A_CALL: usize = 128;
/// One call reports ends with so many bytes of output at most, one that is larger apart.
const MOST_BYTES_A_CALL: usize = 4 << 20;
/// Once in so many claims the low list comes first, so that low jobs move while high ones keep coming.
const LOW_FIRST_EVERY: u32 = 8;
/// A lane that waits for work looks at its queues itself so often: what the wait has missed is found.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What lanes shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Take jobs and run them.
    Serve,
    /// Take no new ones; an operator said so, and may take it back.
    Rest,
    /// Take no new ones, and end with the last.
    End,
}

/// What the lanes of a signed-in runner share.
#[derive(Clone)]
pub(crate) struct Shift {
    pub(crate) store: Store,
    pub(crate) session: Session,
    pub(crate) holdings: Holdings,
    pub(crate) mode: watch::Receiver<Mode>,
    /// The session is over: somebody else is this runner now, or the lease is.
    pub(crate) lost: CancellationToken,
    pub(crate) logging: mpsc::UnboundedSender<Arc<Attempt>>,
    pub(crate) pulses: Pulses,
    /// How often a lane that waits looks at its queues itself.
    pub(crate) look_every: Duration,
}

/// The task of one lane.
pub(crate) struct Lane {
    shift: Shift,
    lane: hero_store::Lane,
    engine: Arc<dyn Engine>,
    slots: usize,
    reports: Reports,
    ended: mpsc::UnboundedReceiver<Ended>,
    calls: FuturesUnordered<Call>,
    /// Ends that no call has taken with it yet.
    pending: VecDeque<Report>,
    /// Ids that the wait for work has moved to this runner.
    taken: Vec<JobId>,
    /// Jobs in the engine.
    running: usize,
    /// Slots that calls in flight have asked jobs for.
    reserved: usize,
    /// The queues were empty when they were looked at last.
    is_dry: bool,
    /// The next look at queues that were empty.
    look_at: Instant,
    pulse: Arc<Pulse>,
    claims: u32,
    trouble: Option<Trouble>,
    attributes: Attributes,
}

/// An end on its way to the store.
struct Report {
    attempt: Arc<Attempt>,
    finish: Finish,
}

/// The store refused the last call.
struct Trouble {
    backoff: Backoff,
    /// No call before this time.
    until: Option<Instant>,
    /// Ends are reported one by one, so that one that cannot be taken does not hold up the others.
    is_careful: bool,
}

type Call = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// A call that has come back.
struct Settled {
    attempts: Vec<Arc<Attempt>>,
    finished: Vec<Finish>,
    taken: Vec<JobId>,
    reserved: usize,
    answer: Result<Exchanged, Error>,
}

impl Lane {
    pub(crate) fn new(
        shift: Shift,
        circle: Option<CircleKey>,
        engine: Arc<dyn Engine>,
        slots: usize,
    ) -> Self {
        let (sender, ended) = mpsc::unbounded_channel();
        let script_type = engine.script_type();
        let attributes = Attributes::new(&[
            (names::MESSAGING_SYSTEM, "redis"),
            (names::MESSAGING_OPERATION, "process"),
            (names::SCRIPT_TYPE, script_type.as_key()),
        ]);
        Self {
            reports: Reports { ended: sender, logging: shift.logging.clone() },
            lane: hero_store::Lane { script_type, circle },
            pulse: shift.pulses.add(script_type.as_str()),
            shift,
            engine,
            slots,
            ended,
            calls: FuturesUnordered::new(),
            pending: VecDeque::new(),
            taken: Vec::new(),
            running: 0,
            reserved: 0,
            is_dry: false,
            look_at: Instant::now(),
            claims: 0,
            trouble: None,
            attributes,
        }
    }

    /// Works until the runner ends and the last end is reported, or the session is lost.
    pub(crate) async fn work(mut self) {
        metrics().runner_slots.set(self.slots as u64, &self.attributes);
        let mut wait = self.shift.store.wait_for_work(&self.shift.session, &self.lane);
        let (lost, pulse) = (self.shift.lost.clone(), Arc::clone(&self.pulse));
        loop {
            self.send_calls();
            if self.is_done() {
                return;
            }
            pulse.set_open(self.mode() == Mode::Serve && self.running < self.slots);
            let wants_ids = self.is_dry && self.wants_jobs();
            let pause = self.trouble.as_ref().and_then(|trouble| trouble.until);
            let look_at = pause.or(wants_ids.then_some(self.look_at));
            tokio::select! {
                biased;
                () = lost.cancelled() => return,
                Some(settled) = self.calls.next() => self.settle(settled),
                Some(ended) = self.ended.recv() => self.take_ends(ended),
                id = next_id(&mut wait, wants_ids) => self.take_id(id),
                _ = self.shift.mode.changed() => self.is_dry = false,
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => self.resume(),
                () = pulse.restart() => self.start_over(&mut wait),
            }
        }
    }

    fn mode(&self) -> Mode {
        *self.shift.mode.borrow()
    }

    fn is_done(&self) -> bool {
        self.mode() == Mode::End
            && self.running == 0
            && self.pending.is_empty()
            && self.calls.is_empty()
            && self.taken.is_empty()
    }

    fn free(&self) -> usize {
        self.slots.saturating_sub(self.running + self.reserved + self.pending.len())
    }

    fn is_pausing(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.until.is_some())
    }

    fn is_careful(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.is_careful) && !self.pending.is_empty()
    }

    fn wants_jobs(&self) -> bool {
        self.free() > 0 && !self.is_pausing() && !self.is_careful() && self.mode() == Mode::Serve
    }

    fn take_ends(&mut self, first: Ended) {
        let mut next = Some(first);
        while let Some(ended) = next {
            self.running -= 1;
            self.measure(&ended);
            self.pending.push_back(Report::of(ended));
            next = self.ended.try_recv().ok();
        }
    }

    fn measure(&self, ended: &Ended) {
        let metrics = metrics();
        metrics.runner_busy.add(-1, &self.attributes);
        metrics.process_duration.record(ended.attempt.elapsed(), &self.attributes);
        if let Outcome::Failed { kind, error, .. } = &ended.outcome {
            hero_telemetry::spans::end(ended.attempt.span(), kind.as_key(), Some(kind.as_key()), false);
            tracing::debug!(job_id = %ended.attempt.id(), kind = kind.as_key(), error, "job failed");
        }
    }

    fn take_id(&mut self, id: hero_store::Result<JobId>) {
        match id {
            Ok(id) => self.taken.push(id),
            Err(error) => self.refuse(&error, false),
        }
    }

    /// Sends what is worth a call.
    fn send_calls(&mut self) {
        while self.calls.len() < MOST_CALLS && self.is_worth_a_call() {
            self.send_call();
        }
    }

    fn is_worth_a_call(&self) -> bool {
        if self.is_pausing() {
            return false;
        }
        if self.calls.is_empty() {
            let can_claim = !self.is_dry && self.wants_jobs();
            return !self.pending.is_empty() || !self.taken.is_empty() || can_claim;
        }
        // A call for few ends would only take its turn before one for many.
        !self.taken.is_empty() || self.pending.len() * 4 >= self.slots.min(MOST_JOBS_A_CALL)
    }

    fn send_call(&mut self) {
        let can_claim = self.mode() == Mode::Serve && !self.is_careful();
        let (attempts, finished) = self.next_reports();
        let want = if can_claim { self.free().min(MOST_JOBS_A_CALL) } else { 0 };
        let taken = std::mem::take(&mut self.taken);
        let claim = (want > 0 || !taken.is_empty()).then(|| {
            self.claims = self.claims.wrapping_add(1);
            let low_first = self.claims.is_multiple_of(LOW_FIRST_EVERY);
            Claim { lane: self.lane.clone(), taken: taken.clone(), want, low_first }
        });
        self.reserved += want;
        let (store, session) = (self.shift.store.clone(), self.shift.session.clone());
        self.calls.push(Box::pin(async move {
            let answer = store.exchange(&session, &finished, claim.as_ref()).await;
            Settled { attempts, finished, taken, reserved: want, answer }
        }));
    }

    /// The ends that go with the next call.
    fn next_reports(&mut self) -> (Vec<Arc<Attempt>>, Vec<Finish>) {
        let most = if self.is_careful() { 1 } else { MOST_JOBS_A_CALL };
        let room = self.pending.len().min(most);
        let (mut attempts, mut finished) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut bytes = 0;
        while let Some(next) = self.pending.front() {
            bytes += next.bytes();
            if finished.len() == most || (bytes > MOST_BYTES_A_CALL && !finished.is_empty()) {
                break;
            }
            if let Some(Report { attempt, finish }) = self.pending.pop_front() {
                attempts.push(attempt);
                finished.push(finish);
            }
        }
        (attempts, finished)
    }

    fn settle(&mut self, settled: Settled) {
        self.reserved -= settled.reserved;
        let exchanged = match settled.answer {
            Ok(exchanged) => exchanged,
            Err(_) => return self.keep_for_later(settled),
        };
        self.pulse.beat();
        // While ends are reported one by one, each of them may still be the one that is refused.
        if !self.is_careful() {
            self.trouble = None;
        }
        if settled.reserved > 0 {
            self.is_dry = exchanged.drained;
            self.look_at = Instant::now() + self.shift.look_every;
        }
        self.let_go(&settled.attempts);
        for id in &exchanged.refused {
            tracing::info!(job_id = %id, "the end of a job was refused: it was taken over, or is gone");
            metrics().runner_refused.add(1, &Attributes::new(&[(names::KIND, "end")]));
        }
        exchanged.jobs.into_iter().for_each(|job| self.start(job));
    }

    /// Keeps what a failed call carried: ends are reported again until they are taken. Their number is bounded
    /// by the slots, for a slot is free only when the end of its job is on its way.
    fn keep_for_later(&mut self, settled: Settled) {
        let Settled { attempts, finished, taken, reserved, answer } = settled;
        let Err(error) = answer else { return };
        let is_final = !may_pass(&error);
        if is_final && finished.len() == 1 && reserved == 0 {
            // It was sent alone, so it is this one that will never be taken.
            tracing::error!(job_id = %finished[0].id, %error, "the end of a job cannot be recorded");
            self.let_go(&attempts);
        } else {
            let reports = attempts.into_iter().zip(finished).rev();
            reports.for_each(|(attempt, finish)| self.pending.push_front(Report { attempt, finish }));
        }
        self.taken.extend(taken);
        self.refuse(&error, is_final);
    }

    fn let_go(&self, attempts: &[Arc<Attempt>]) {
        attempts.iter().for_each(|attempt| self.shift.holdings.remove(attempt));
    }

    fn start(&mut self, job: Claimed) {
        let span = hero_telemetry::spans::process(
            self.lane.script_type.as_key(),
            job.id,
            &job.context_id,
            job.traceparent.as_deref(),
        );
        let run = Run::new(job, self.reports.clone(), span);
        self.shift.holdings.add(Arc::clone(run.attempt()));
        self.running += 1;
        metrics().runner_busy.add(1, &self.attributes);
        self.engine.start(run);
    }

    /// Pauses after a refusal.
    fn refuse(&mut self, error: &Error, is_final: bool) {
        if matches!(error, Error::RunnerReplaced(_)) {
            return self.shift.lost.cancel();
        }
        let mut backoff = self.trouble.take().map(|trouble| trouble.backoff).unwrap_or_default();
        let pause = backoff.next();
        tracing::warn!(
            script_type = %self.lane.script_type,
            error = %error,
            source = std::error::Error::source(error).map(tracing::field::display),
            pause_ms = pause.as_millis() as u64,
            ends_kept = self.pending.len(),
            "a call to the job store failed, trying again"
        );
        self.trouble = Some(Trouble { backoff, until: Some(Instant::now() + pause), is_careful: is_final });
    }

    /// Opens the connections anew. An id that one of the old ones is just moving here comes back with the renewals.
    fn start_over(&mut self, wait: &mut Work) {
        tracing::warn!(script_type = %self.lane.script_type, "no answer for too long, connecting to the job store anew");
        while let Some(id) = wait.try_moved() {
            self.taken.push(id);
        }
        self.shift.store.start_over();
        *wait = self.shift.store.wait_for_work(&self.shift.session, &self.lane);
        self.resume();
    }

    /// Looks again after a pause.
    fn resume(&mut self) {
        self.is_dry = false;
        if let Some(trouble) = &mut self.trouble {
            trouble.until = None;
        }
    }
}

impl Report {
    fn of(ended: Ended) -> Self {
        let Ended { attempt, outcome } = ended;
        // Only failed attempts are repeated, and only their pauses need to differ.
        let jitter = if matches!(outcome, Outcome::Failed { .. }) { rand::random() } else { 0.0 };
        let finish = Finish { id: attempt.id(), attempt: attempt.number(), outcome, jitter };
        Self { attempt, finish }
    }

    fn bytes(&self) -> usize {
        match &self.finish.outcome {
            Outcome::Finished { output } => output.len(),
            Outcome::Failed { output, error, .. } => output.as_ref().map_or(0, String::len) + error.len(),
            Outcome::HandedBack => 0,
        }
    }
}

/// The next id that is moved to this runner. Only when jobs are wanted are more of them taken.
async fn next_id(wait: &mut Work, wants_ids: bool) -> hero_store::Result<JobId> {
    if wants_ids { wait.next().await } else { Ok(wait.moved().await) }
}

/// Whether a repeat of the call may succeed.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Full | Error::Unfit(_) | Error::RunnerReplaced(_))
}
