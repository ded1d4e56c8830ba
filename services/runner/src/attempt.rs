//! One execution of one job: what it is told (stop, hand back), how long it may run, and how it reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use hero_domain::{ErrorKind, JobId, JobLimits, Progress};
use hero_store::{Claimed, Outcome, Said};
use tokio::sync::{Notify, mpsc};
use tracing::Span;

use crate::log::{Append, JobLog};

/// What an attempt is told to do before its script ends by itself. A later, greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Order {
    /// Run on.
    Run = 0,
    /// The runner drains and its grace is over: end, the job goes back to its queue.
    HandBack = 1,
    /// Somebody stopped or deleted the job: end now.
    Stop = 2,
    /// The job is not this runner's any more: end now, nobody wants the result.
    Abandon = 3,
}

/// Why a script has to end before it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It was told to.
    Ordered(Order),
    /// Its time is over.
    Timeout,
}

/// The end of an attempt, on its way to the store.
#[derive(Debug)]
pub struct Ended {
    /// Which attempt.
    pub attempt: Arc<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where attempts report to: their ends to the lane, their first log lines to the log writers.
#[derive(Debug, Clone)]
pub struct Reports {
    /// Takes the ends.
    pub ended: mpsc::UnboundedSender<Ended>,
    /// Takes attempts that have lines for their log.
    pub logging: mpsc::UnboundedSender<Arc<Attempt>>,
}

/// One execution of one job, shared by the engine that runs it and the runner that watches it.
#[derive(Debug)]
pub struct Attempt {
    id: JobId,
    number: u32,
    started: Instant,
    timeout: Duration,
    order: AtomicU8,
    ordered: Notify,
    /// The lines that wait for the store.
    pub(crate) log: JobLog,
    reports: Reports,
    span: Span,
}

impl Attempt {
    /// The job.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The number of the attempt; the store's fence.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its span in the trace of whoever submitted the job.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells it to end. An order is never taken back; only a greater one replaces it.
    pub fn order(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8 {
            self.ordered.notify_waiters();
        }
    }

    /// What it has been told.
    pub fn ordered(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Run,
            1 => Order::HandBack,
            2 => Order::Stop,
            _ => Order::Abandon,
        }
    }

    /// Why the script has to end now, if it has to. Cheap: an atomic load and a look at the clock.
    pub fn interrupt(&self) -> Option<Interrupt> {
        match self.ordered() {
            Order::Run => (self.started.elapsed() >= self.timeout).then_some(Interrupt::Timeout),
            order => Some(Interrupt::Ordered(order)),
        }
    }

    /// Waits until the script has to end.
    pub async fn interrupted(&self) -> Interrupt {
        let out_of_time = tokio::time::sleep_until((self.started + self.timeout).into());
        tokio::pin!(out_of_time);
        loop {
            let mut ordered = std::pin::pin!(self.ordered.notified());
            // Registered before the look, so that an order between the two is not missed.
            ordered.as_mut().enable();
            if let Some(interrupt) = self.interrupt() {
                return interrupt;
            }
            tokio::select! {
                () = ordered => {}
                () = &mut out_of_time => return self.interrupt().unwrap_or(Interrupt::Timeout),
            }
        }
    }

    /// How an attempt ends that was interrupted.
    pub fn outcome_of(&self, interrupt: Interrupt, output: Option<String>) -> Outcome {
        let output = output.filter(|text| !text.is_empty());
        match interrupt {
            Interrupt::Ordered(Order::HandBack | Order::Run) => Outcome::HandedBack,
            Interrupt::Ordered(Order::Stop | Order::Abandon) => Outcome::Failed {
                kind: ErrorKind::Stopped,
                error: "the job was stopped while it ran".to_owned(),
                output,
            },
            Interrupt::Timeout => Outcome::Failed {
                kind: ErrorKind::Timeout,
                error: format!(
                    "the script ran longer than its timeout of {} s; give the job a longer timeout, or the \
                     script less to do",
                    self.timeout.as_secs_f64()
                ),
                output,
            },
        }
    }

    /// Reports the end, once its log is written.
    fn end(self: Arc<Self>, outcome: Outcome) {
        // Kept by the log while it has lines: then its writer reports the end, after the last of them.
        if let Some(outcome) = self.log.end(outcome) {
            self.report(outcome);
        }
    }

    /// Hands the end to the lane.
    pub(crate) fn report(self: Arc<Self>, outcome: Outcome) {
        let ended = self.reports.ended.clone();
        // A lane that is gone is a runner that has signed out: its jobs went back to their queues.
        let _ = ended.send(Ended { attempt: self, outcome });
    }

    /// Makes sure that a writer empties the log.
    fn wake_log_writer(self: &Arc<Self>) {
        let _ = self.reports.logging.send(Arc::clone(self));
    }
}

/// A job in an engine's hands. The engine ends it exactly once by [`Run::end`]; one that is dropped without
/// (the engine panicked) ends as failed, so that a job can never hang.
#[derive(Debug)]
pub struct Run {
    /// The job.
    pub job: Claimed,
    attempt: Option<Arc<Attempt>>,
}

impl Run {
    /// Takes up a claimed job; its time runs from here.
    pub fn new(job: Claimed, reports: Reports, span: Span) -> Self {
        let attempt = Attempt {
            id: job.id,
            number: job.attempt,
            started: Instant::now(),
            timeout: job.timeout,
            order: AtomicU8::new(Order::Run as u8),
            ordered: Notify::new(),
            log: JobLog::default(),
            reports,
            span,
        };
        Self { job, attempt: Some(Arc::new(attempt)) }
    }

    /// The state that is shared with the runner.
    ///
    /// # Panics
    /// Never: a run has its attempt until it ends, and ending consumes it.
    pub fn attempt(&self) -> &Arc<Attempt> {
        self.attempt.as_ref().expect("a run has its attempt until it ends")
    }

    /// Adds text to the job's log. Waits while the store is far behind, unless the script has to end.
    pub async fn log(&self, stream: hero_domain::LogStream, text: impl Into<String>) {
        let attempt = self.attempt();
        loop {
            // Taken before the look at the room, so that room made between the two is noticed.
            let room = attempt.log.room();
            if attempt.log.has_room() || attempt.interrupt().is_some() {
                break;
            }
            tokio::select! {
                () = room => {}
                _ = attempt.interrupted() => break,
            }
        }
        self.append(stream, text.into());
    }

    /// The same for an engine that runs on a thread of its own.
    pub fn log_blocking(&self, stream: hero_domain::LogStream, text: impl Into<String>) {
        let attempt = self.attempt();
        while !attempt.log.wait_for_room(Duration::from_millis(50)) && attempt.interrupt().is_none() {}
        self.append(stream, text.into());
    }

    /// Keeps how far the script says it is: a fraction of the whole, and words. Waits for nothing.
    pub fn progress(&self, fraction: f64, text: &str) {
        self.say(Said { progress: Some(Progress::new(fraction, text)), result: None });
    }

    /// Keeps the structured result of the script, JSON; a later one replaces it. Waits for nothing.
    ///
    /// # Errors
    /// In words, when it is too large or no JSON.
    pub fn result(&self, json: String) -> Result<(), String> {
        let most = JobLimits::MAX_RESULT_BYTES;
        if json.len() > most {
            return Err(format!("the result is larger than {most} bytes; put it into the output or a store"));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&json)
            .map_err(|error| format!("the result is not JSON: {error}"))?;
        self.say(Said { progress: None, result: Some(json) });
        Ok(())
    }

    fn say(&self, said: Said) {
        if self.attempt().log.say(said) == Append::WakeWriter {
            self.attempt().wake_log_writer();
        }
    }

    fn append(&self, stream: hero_domain::LogStream, text: String) {
        if self.attempt().log.append(stream, text) == Append::WakeWriter {
            self.attempt().wake_log_writer();
        }
    }

    /// Ends it.
    pub fn end(mut self, outcome: Outcome) {
        if let Some(attempt) = self.attempt.take() {
            attempt.end(outcome);
        }
    }

    /// Ends it as interrupted.
    pub fn end_interrupted(self, interrupt: Interrupt, output: Option<String>) {
        let outcome = self.attempt().outcome_of(interrupt, output);
        self.end(outcome);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            tracing::error!(job_id = %self.job.id, script_type = %self.job.script_type, "an engine dropped a job");
            attempt.end(Outcome::Failed {
                kind: ErrorKind::ScriptFailed,
                error: "the runner's engine broke down on this script; the runner's log has the details"
                    .to_owned(),
                output: None,
            });
        }
    }
}
