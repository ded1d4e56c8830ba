//! What the job store can be asked. [`JobStore`] has two implementations: Redis ([`crate::Store`]), and a
//! model in memory ([`crate::model::Model`]) that the contract suite and the random histories compare it with.

use std::{collections::BTreeMap, future::Future, time::Duration};

use hero_domain::{
    CircleKey, ErrorKind, Explanation, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, LogStream, NewJob,
    Progress, Runner, RunnerId, Schedule, ScheduleId, ScriptType, Timestamp,
};

use crate::Error;

/// The result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Confines a call to one context: a job of another one is as if it were not there. None: every context.
pub type Confine<'a> = Option<&'a str>;

/// A stored job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its id: the caller's own, a minted one, or the first one of this idempotency key.
    pub id: JobId,
    /// Whether this call stored it; false: the idempotency key was known, nothing was changed.
    pub is_new: bool,
}

/// What a stop found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It waited, and has ended now.
    Ended,
    /// This runner holds it, and has been told to kill it.
    Asked(RunnerId),
    /// It had ended before; nothing was changed.
    AlreadyEnded,
}

/// A runner that signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Its id.
    pub id: RunnerId,
    /// A random text that tells this process from an earlier one of the same id.
    pub session: String,
    /// The script types that it serves.
    pub script_types: Vec<ScriptType>,
    /// The circles that it serves; empty: the shared pool.
    pub circles: Vec<CircleKey>,
    /// How many jobs it runs at once, all types together.
    pub slots: u32,
    /// How many of each type.
    pub slots_by_type: BTreeMap<ScriptType, u32>,
    /// The types that it was to serve and cannot, each with the reason.
    pub not_offered: BTreeMap<ScriptType, String>,
    /// The host that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The sandbox of its scripts, in words.
    pub sandbox: String,
    /// How long its jobs are its own without a renewal.
    pub lease: Duration,
}

/// One lane of a runner: the queues of one script type, in the shared pool or in one circle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The type.
    pub script_type: ScriptType,
    /// The circle; none: the shared pool.
    pub circle: Option<CircleKey>,
}

/// A signed-in runner: who it is, and which process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub runner: RunnerId,
    /// The text it signed in with.
    pub session: String,
}

/// A request for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// From which queues.
    pub lane: Lane,
    /// Ids that the wait for work has moved into the runner's in-flight list already.
    pub taken: Vec<JobId>,
    /// At most this many jobs, `taken` included; what is taken beyond goes back to the head of its queue.
    pub want: usize,
    /// Begin with the low list this time, so that low jobs move while high ones keep coming.
    pub low_first: bool,
}

/// A claimed job: all that a runner needs to execute it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub id: JobId,
    /// The fencing token of this attempt.
    pub attempt: u32,
    /// Its type.
    pub script_type: ScriptType,
    /// The source text.
    pub script: String,
    /// Who asked.
    pub caller_id: String,
    /// Where it belongs.
    pub context_id: String,
    /// Run time.
    pub timeout: Duration,
    /// Given to the script.
    pub env_vars: BTreeMap<String, String>,
    /// W3C trace context of the submitter.
    pub traceparent: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With success.
    Finished {
        /// What came out.
        output: String,
    },
    /// Without success. script_failed and timeout are retried while the job has retries left.
    Failed {
        /// Why.
        kind: ErrorKind,
        /// In words.
        error: String,
        /// What had come out until then.
        output: Option<String>,
    },
    /// Not at all: the runner drains and hands it back. A job with max_deliveries 1 ends as runner_lost.
    HandedBack,
}

/// The report of an attempt's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The job.
    pub id: JobId,
    /// The attempt that it was claimed with.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// 0.0 to 1.0, stretches a retry's pause so that failed jobs do not come back all at once.
    pub jitter: f64,
}

/// The answer to an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchanged {
    /// Jobs that are the runner's now.
    pub jobs: Vec<Claimed>,
    /// Reports that were refused: the attempt is not the current one, or the job is gone.
    pub refused: Vec<JobId>,
    /// Whether the lane's queues were found empty.
    pub drained: bool,
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// Jobs of this runner that somebody has stopped or deleted.
    pub stop: Vec<JobId>,
    /// Whether it shall take no new jobs.
    pub draining: bool,
}

/// The answer to lines for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogAppended {
    /// They are in.
    Taken,
    /// The log is full: the lines beyond the limit were dropped, and the log says so. More will be dropped.
    Full,
    /// The attempt is not the current one; nothing was kept.
    Refused,
}

/// What a script says about itself while it runs, beside its log. What is none stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// How far it is.
    pub progress: Option<Progress>,
    /// Its structured result: JSON.
    pub result: Option<String>,
}

/// What one step of the sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Delayed jobs whose time had come, now queued.
    pub promoted: u64,
    /// Jobs of lost runners, requeued.
    pub requeued: u64,
    /// Jobs of lost runners that ended (runner_lost, stopped, timeout).
    pub ended: u64,
    /// Dependents released or failed that a finish had left over.
    pub released: u64,
    /// Index entries of jobs that are gone, removed.
    pub forgotten: u64,
    /// Whether a bound was reached: call again at once.
    pub more: bool,
    /// When the next delayed job is due.
    pub next_due: Option<Timestamp>,
}

/// Everything that can be asked of the job store. Each method is one atomic step unless it says otherwise.
pub trait JobStore: Send + Sync + 'static {
    /// Stores jobs, all or none, and starts them too when `start` is set. One round trip.
    ///
    /// # Errors
    /// [`Error::JobExists`], [`Error::PrerequisiteNotFound`] with the index of the job at fault.
    fn create(&self, jobs: &[NewJob], start: bool) -> impl Future<Output = Result<Vec<Created>>> + Send;

    /// Starts a created job: queued (Dispatched), parked (WaitingForPrerequisites, or Dispatched and delayed
    /// by run_at), or ended at once (Error) because a prerequisite has failed or is gone.
    fn start(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<JobStatus>> + Send;

    /// Stops a job, whatever its state.
    fn stop(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<Stopped>> + Send;

    /// Starts a job that ended in error again, under its id, with all of its retries and deliveries; where it
    /// is then. Its log goes on. Jobs that failed because of it stay as they are.
    ///
    /// # Errors
    /// [`Error::JobNotFailed`].
    fn retry(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<JobStatus>> + Send;

    /// Why a job is where it is: several reads of bounded cost, not one step.
    fn explain(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<Explanation>> + Send;

    /// Removes a job and its log. A running one's runner is told to kill it; waiting dependents fail.
    fn delete(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Removes every job, in bounded steps; how many those were.
    fn clear(&self, confine: Confine<'_>) -> impl Future<Output = Result<u64>> + Send;

    /// The whole job.
    fn get(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<Job>> + Send;

    /// Where it is.
    fn status(&self, id: JobId, confine: Confine<'_>) -> impl Future<Output = Result<JobStatus>> + Send;

    /// Ids, newest first, in bounded steps until the page is full or nothing is left.
    fn list(&self, filter: &JobFilter) -> impl Future<Output = Result<JobPage>> + Send;

    /// Adds lines to the log of an attempt, until `max_bytes` of text are in it.
    fn append_log(
        &self,
        id: JobId,
        attempt: u32,
        lines: &[(LogStream, String)],
        max_bytes: usize,
    ) -> impl Future<Output = Result<LogAppended>> + Send;

    /// Keeps what the script of an attempt says about itself; false when the attempt is not the current one.
    fn say(&self, id: JobId, attempt: u32, said: &Said) -> impl Future<Output = Result<bool>> + Send;

    /// A piece of the log from `from` (a [`LogPage::next`]) on, at most about `max_bytes` of text.
    fn read_log(
        &self,
        id: JobId,
        confine: Confine<'_>,
        from: Option<&str>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<LogPage>> + Send;

    /// Signs a runner in. Jobs that an earlier process of this id still held go back to their queues.
    fn sign_in(&self, runner: &SignIn) -> impl Future<Output = Result<Session>> + Send;

    /// Reports ended attempts and asks for new jobs, in one script. Reporting the same end twice is fine.
    ///
    /// # Errors
    /// [`Error::RunnerReplaced`] when another process has signed in with this id, or the lease is long gone.
    fn exchange(
        &self,
        session: &Session,
        finished: &[Finish],
        claim: Option<&Claim>,
    ) -> impl Future<Output = Result<Exchanged>> + Send;

    /// Renews the lease of all of a runner's jobs. `known` are the ids that it holds: what is in its
    /// in-flight list and unknown to it for two renewals (a reply was lost) goes back to its queue.
    fn renew(
        &self,
        session: &Session,
        busy: u32,
        known: &[JobId],
    ) -> impl Future<Output = Result<Renewed>> + Send;

    /// Signs a runner out; what it still held goes back to its queue.
    fn sign_out(&self, session: &Session) -> impl Future<Output = Result<()>> + Send;

    /// Tells a runner to take no new jobs (true), or to take them again (false).
    fn drain(&self, runner: &RunnerId, draining: bool) -> impl Future<Output = Result<()>> + Send;

    /// Forgets a runner whose lease is over; what it held goes back to its queues.
    ///
    /// # Errors
    /// [`Error::RunnerAlive`], [`Error::RunnerNotFound`].
    fn remove(&self, runner: &RunnerId) -> impl Future<Output = Result<()>> + Send;

    /// Every runner, by id.
    fn runners(&self) -> impl Future<Output = Result<Vec<Runner>>> + Send;

    /// Sets how many jobs of a context run at once; without a context, of each that has no limit of its own. None:
    /// no limit is kept (the general one holds); 0: none at all. Jobs beyond it are parked outside of the queues
    /// when their turn comes. Runners hear of it with their next renewal.
    fn limit_running(
        &self,
        context: Option<&str>,
        most: Option<u32>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// One bounded step of upkeep: delayed jobs that are due, runners whose lease is over, releases that a
    /// finish had left over, index entries of jobs that are gone. Safe to run in every replica at once.
    fn sweep(&self) -> impl Future<Output = Result<Swept>> + Send;
}

/// How many schedules there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// In one context.
    pub per_context: u64,
    /// In all.
    pub in_all: u64,
}

/// Schedules whose time has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DueSchedules {
    /// The time that the store goes by.
    pub now: Timestamp,
    /// The longest due first, a bounded number.
    pub schedules: Vec<Schedule>,
    /// When the next one is to be looked at, or one that is due already and did not fit in.
    pub next_look: Option<Timestamp>,
}

/// What to do about a schedule whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The time that the schedule waits for, as it was read; when it waits for another one by now, somebody
    /// else was quicker.
    pub expected: Timestamp,
    /// The time to start a job for; none: every time until `next` is left out.
    pub due: Option<Timestamp>,
    /// The time that it waits for then; none: no time is left.
    pub next: Option<Timestamp>,
}

/// What came of a [`Firing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// A job was created and started.
    Started(JobId),
    /// No job: the one before has not ended, or none was asked for.
    LeftOut,
    /// The one before has not ended, and this time waits for that.
    Waits,
    /// Nothing was done: the schedule is gone, paused, or waits for another time.
    Overtaken,
}

/// Everything that can be asked of the store of schedules. Each method is one atomic step unless it says
/// otherwise.
pub trait ScheduleStore: Send + Sync + 'static {
    /// Stores a schedule; it waits for its `next_due`. Its creation time and counts are the store's.
    ///
    /// # Errors
    /// [`Error::ScheduleExists`], [`Error::TooManySchedules`].
    fn create_schedule(
        &self,
        schedule: &Schedule,
        limits: ScheduleLimits,
    ) -> impl Future<Output = Result<()>> + Send;

    /// One schedule.
    fn schedule(&self, id: ScheduleId, confine: Confine<'_>)
    -> impl Future<Output = Result<Schedule>> + Send;

    /// Every schedule, by id. Several reads.
    fn schedules(&self, confine: Confine<'_>) -> impl Future<Output = Result<Vec<Schedule>>> + Send;

    /// Pauses a schedule, or lets it go on and wait for `next`. `None` pauses; to go on without a time that is
    /// left is `Some(None)`.
    fn pause_schedule(
        &self,
        id: ScheduleId,
        confine: Confine<'_>,
        next: Option<Option<Timestamp>>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes a schedule.
    fn delete_schedule(
        &self,
        id: ScheduleId,
        confine: Confine<'_>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Schedules whose time has come. Several reads.
    fn due_schedules(&self) -> impl Future<Output = Result<DueSchedules>> + Send;

    /// Checks that the schedule still waits for the time that was read, applies its overlap policy, creates and
    /// starts the job, and moves the schedule on: all in one script, so that a time is worked on once.
    fn fire(&self, schedule: &Schedule, firing: &Firing) -> impl Future<Output = Result<Fired>> + Send;
}
