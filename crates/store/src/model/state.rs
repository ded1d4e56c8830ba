//! What is kept, and the few moves that every change is made of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hero_domain::{
    CircleKey, ErrorKind, Job, JobId, JobStatus, LogLine, Priority, RunnerId, Schedule, ScheduleId,
    ScriptType, Timestamp,
};

use crate::{
    Error,
    api::{Confine, Lane, Result, SignIn},
};

/// One list of ids: script type, circle (none: the shared pool), priority.
pub type QueueName = (ScriptType, Option<CircleKey>, Priority);

/// Where every job is that waits or runs. Ended jobs and jobs that were never started are nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// In the lists, the head first.
    pub queues: BTreeMap<QueueName, Vec<JobId>>,
    /// In the hands of a runner, claimed or just taken, in the order in which it got them.
    pub inflight: BTreeMap<RunnerId, Vec<JobId>>,
    /// Not before a time.
    pub delayed: BTreeMap<JobId, Timestamp>,
    /// By context, beyond its limit, the one that is let out next first.
    pub parked: BTreeMap<String, Vec<JobId>>,
    /// By context, what counts against its limit: not a place, for it is in a queue or in flight, too.
    pub admitted: BTreeMap<String, BTreeSet<JobId>>,
}

/// A job and what only the store knows about it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) job: Job,
    /// Start was called.
    pub(super) is_started: bool,
    /// Prerequisites that have not finished yet.
    pub(super) pending: BTreeSet<JobId>,
    /// How often a runner was lost with it.
    pub(super) losses: u32,
    /// How often its script has failed.
    pub(super) failures: u32,
    /// A stop was asked for while it ran.
    pub(super) is_stopping: bool,
    pub(super) log: Vec<LogLine>,
    pub(super) is_log_full: bool,
    pub(super) expires_at: Option<Timestamp>,
}

/// A runner that has signed in.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) sign_in: SignIn,
    pub(super) busy: u32,
    /// The general limit of a context's running jobs, 0: none; none: no context has a limit.
    pub(super) limited: Option<u32>,
    pub(super) is_draining: bool,
    pub(super) started_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
    pub(super) lease_until: Timestamp,
    /// In its in-flight list and unknown to it at the latest renewal.
    pub(super) unknown: BTreeSet<JobId>,
    /// Stopped or deleted jobs whose process it has to kill.
    pub(super) stops: BTreeSet<JobId>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) jobs: BTreeMap<JobId, Record>,
    /// In the order of creation.
    pub(super) index: Vec<JobId>,
    pub(super) queues: BTreeMap<QueueName, VecDeque<JobId>>,
    pub(super) inflight: BTreeMap<RunnerId, Vec<JobId>>,
    pub(super) delayed: BTreeMap<JobId, Timestamp>,
    pub(super) idempotency: BTreeMap<(String, String), JobId>,
    /// How many jobs of a context run at once; the empty name is for those that have none of their own.
    pub(super) limits: BTreeMap<String, u32>,
    /// By context, what counts against its limit, with the time of the next look at it.
    pub(super) admitted: BTreeMap<String, BTreeMap<JobId, Timestamp>>,
    /// By context, what is beyond its limit.
    pub(super) parked: BTreeMap<String, VecDeque<JobId>>,
    pub(super) runners: BTreeMap<RunnerId, Presence>,
    pub(super) swept_at: Option<Timestamp>,
    /// When the latest time without sweeps was over.
    pub(super) back_at: Option<Timestamp>,
    /// Each with the time of the next look at it.
    pub(super) schedules: BTreeMap<ScheduleId, (Schedule, Option<Timestamp>)>,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            jobs: BTreeMap::new(),
            index: Vec::new(),
            queues: BTreeMap::new(),
            inflight: BTreeMap::new(),
            delayed: BTreeMap::new(),
            idempotency: BTreeMap::new(),
            limits: BTreeMap::new(),
            admitted: BTreeMap::new(),
            parked: BTreeMap::new(),
            runners: BTreeMap::new(),
            swept_at: None,
            back_at: None,
            schedules: BTreeMap::new(),
        }
    }

    pub(super) fn places(&self) -> Places {
        let queues = self.queues.iter().filter(|(_, ids)| !ids.is_empty());
        let inflight = self.inflight.iter().filter(|(_, ids)| !ids.is_empty());
        Places {
            queues: queues.map(|(name, ids)| (name.clone(), ids.iter().copied().collect())).collect(),
            inflight: inflight.map(|(runner, ids)| (runner.clone(), ids.clone())).collect(),
            delayed: self.delayed.clone(),
            parked: self
                .parked
                .iter()
                .filter(|(_, ids)| !ids.is_empty())
                .map(|(context, ids)| (context.clone(), ids.iter().copied().collect()))
                .collect(),
            admitted: self
                .admitted
                .iter()
                .filter(|(_, ids)| !ids.is_empty())
                .map(|(context, ids)| (context.clone(), ids.keys().copied().collect()))
                .collect(),
        }
    }

    /// The record of a job that this call may see.
    pub(super) fn visible(&self, id: JobId, confine: Confine<'_>) -> Result<&Record> {
        let record = self.jobs.get(&id).filter(|it| confine.is_none_or(|only| only == it.job.context_id));
        record.ok_or(Error::JobNotFound(id))
    }

    pub(super) fn record(&mut self, id: JobId) -> &mut Record {
        self.jobs.get_mut(&id).expect("the caller has looked it up")
    }

    /// Changes a job's status; only as the state machine allows.
    pub(super) fn change(&mut self, id: JobId, next: JobStatus) {
        let now = self.now;
        let job = &mut self.record(id).job;
        assert!(job.status.may_become(next), "job {id}: {} -> {next}", job.status);
        job.status = next;
        if next == JobStatus::Dispatched {
            // What an earlier attempt said is over.
            (job.progress, job.result) = (None, None);
        }
        job.updated_at = now;
    }

    /// Puts a job where it waits to be claimed: its queue, or the delayed ones when it is not due yet.
    pub(super) fn enqueue(&mut self, id: JobId) {
        let now = self.now;
        let job = &mut self.record(id).job;
        if let Some(due) = job.run_at.filter(|due| *due > now) {
            job.updated_at = now;
            self.delayed.insert(id, due);
            return;
        }
        job.queued_at = Some(now);
        job.updated_at = now;
        let name = queue_of(job);
        self.queues.entry(name).or_default().push_back(id);
    }

    /// Puts a job that a runner had back to the head of its queue.
    pub(super) fn put_back(&mut self, id: JobId) {
        let name = queue_of(&self.record(id).job);
        self.queues.entry(name).or_default().push_front(id);
    }

    /// Takes a job out of wherever it waits or runs.
    pub(super) fn remove_from_places(&mut self, id: JobId) {
        for queue in self.queues.values_mut() {
            queue.retain(|it| *it != id);
        }
        for held in self.inflight.values_mut() {
            held.retain(|it| *it != id);
        }
        for parked in self.parked.values_mut() {
            parked.retain(|it| *it != id);
        }
        self.delayed.remove(&id);
    }

    /// Ends a job with success and releases the jobs that waited for it.
    pub(super) fn end_finished(&mut self, id: JobId, output: String) {
        self.end(id, JobStatus::Finished);
        self.record(id).job.output = Some(output);
        for dependent in std::mem::take(&mut self.record(id).job.dependents) {
            let record = self.record(dependent);
            record.pending.remove(&id);
            if record.pending.is_empty() {
                self.change(dependent, JobStatus::Dispatched);
                self.enqueue(dependent);
            }
        }
    }

    /// Ends a job without success; the jobs that waited for it fail with it, all the way down.
    pub(super) fn end_failed(&mut self, id: JobId, kind: ErrorKind, error: String, output: Option<String>) {
        self.end(id, JobStatus::Error);
        let job = &mut self.record(id).job;
        job.error_kind = Some(kind);
        job.error = Some(error);
        job.output = output;
        self.fail_dependents(id);
    }

    fn end(&mut self, id: JobId, status: JobStatus) {
        let now = self.now;
        self.change(id, status);
        self.remove_from_places(id);
        self.leave(id);
        self.stop_waiting(id);
        let record = self.record(id);
        record.job.finished_at = Some(now);
        if record.job.retention_s > 0 {
            let kept_ms = i64::from(record.job.retention_s) * 1000;
            record.expires_at = Some(Timestamp::from_millis(now.as_millis() + kept_ms));
        }
    }

    /// Fails the jobs that wait for `id`, in the order in which they began to.
    pub(super) fn fail_dependents(&mut self, id: JobId) {
        // One at a time: in a diamond, the failure of one may take others out of the list.
        while let Some(dependent) = self.record(id).job.dependents.first().copied() {
            let error = format!("prerequisite {id} did not finish");
            self.end_failed(dependent, ErrorKind::PrerequisiteFailed, error, None);
        }
    }

    /// Takes a job out of the lists of those that wait.
    fn stop_waiting(&mut self, id: JobId) {
        for prerequisite in std::mem::take(&mut self.record(id).pending) {
            self.record(prerequisite).job.dependents.retain(|it| *it != id);
        }
    }

    /// Forgets a job, wherever it is.
    pub(super) fn forget(&mut self, id: JobId) -> Option<Record> {
        self.remove_from_places(id);
        self.leave(id);
        self.stop_waiting(id);
        self.index.retain(|it| *it != id);
        self.idempotency.retain(|_, first| *first != id);
        self.jobs.remove(&id)
    }

    /// Forgets the ended jobs whose retention is over.
    pub(super) fn expire(&mut self) {
        let now = self.now;
        let over = |record: &Record| record.expires_at.is_some_and(|at| at <= now);
        let gone: Vec<JobId> = self.jobs.iter().filter(|(_, it)| over(it)).map(|(id, _)| *id).collect();
        for id in gone {
            self.forget(id);
        }
    }
}

pub(super) fn queue_of(job: &Job) -> QueueName {
    (job.script_type, job.circle.clone(), job.priority)
}

pub(super) fn queue_in(lane: &Lane, priority: Priority) -> QueueName {
    (lane.script_type, lane.circle.clone(), priority)
}
