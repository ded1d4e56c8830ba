//! What callers ask: create, start, stop, delete, look, list.

use std::collections::BTreeSet;

use hero_domain::{
    Ahead, ErrorKind, Explanation, Job, JobFilter, JobId, JobLimits, JobPage, JobStatus, NewJob, Priority,
    RunnerId, Timestamp,
};

use super::state::{Record, State};
use crate::{
    Error,
    api::{Confine, Created, Result, Stopped},
    explain::{blank, name_unfinished, serving},
};

impl State {
    pub(super) fn create(&mut self, jobs: &[NewJob], start: bool) -> Result<Vec<Created>> {
        let created = self.plan(jobs)?;
        for (job, created) in jobs.iter().zip(&created).filter(|(_, created)| created.is_new) {
            self.store(created.id, job);
        }
        if start {
            for created in created.iter().filter(|created| created.is_new) {
                self.begin(created.id);
            }
        }
        Ok(created)
    }

    /// Checks every job of a create and settles its id; nothing is changed.
    fn plan(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let mut planned: Vec<Created> = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            let earlier = jobs[..index].iter().zip(&planned);
            if let Some(first) = self.first_of_key(job, earlier) {
                planned.push(Created { id: first, is_new: false });
                continue;
            }
            let context_of = |id: JobId| {
                let mut earlier = jobs.iter().zip(&planned).filter(|(_, created)| created.is_new);
                let planned = earlier.find(|(_, created)| created.id == id).map(|(job, _)| &job.context_id);
                planned.or_else(|| self.jobs.get(&id).map(|record| &record.job.context_id))
            };
            if let Some(id) = job.id.filter(|id| context_of(*id).is_some()) {
                return Err(Error::JobExists { index, id });
            }
            // A job of a circle sees its own context only.
            let is_seen = |id: JobId| {
                context_of(id).is_some_and(|context| job.circle.is_none() || *context == job.context_id)
            };
            if let Some(id) = job.prerequisites.iter().copied().find(|id| !is_seen(*id)) {
                return Err(Error::PrerequisiteNotFound { index, id });
            }
            planned.push(Created { id: job.id.unwrap_or_else(JobId::mint), is_new: true });
        }
        Ok(planned)
    }

    /// The job that this idempotency key was first used for, in the store or earlier in the same call.
    fn first_of_key<'a>(
        &self,
        job: &NewJob,
        mut earlier: impl Iterator<Item = (&'a NewJob, &'a Created)>,
    ) -> Option<JobId> {
        let key = job.idempotency_key.as_ref()?;
        let stored = self.idempotency.get(&(job.context_id.clone(), key.clone())).copied();
        let same = |other: &NewJob| {
            other.context_id == job.context_id && other.idempotency_key == job.idempotency_key
        };
        stored.or_else(|| earlier.find(|(other, _)| same(other)).map(|(_, created)| created.id))
    }

    fn store(&mut self, id: JobId, new: &NewJob) {
        if let Some(key) = &new.idempotency_key {
            self.idempotency.insert((new.context_id.clone(), key.clone()), id);
        }
        self.index.push(id);
        let record = Record {
            job: stored_job(id, new, self.now),
            is_started: false,
            pending: BTreeSet::new(),
            losses: 0,
            failures: 0,
            is_stopping: false,
            log: Vec::new(),
            is_log_full: false,
            expires_at: None,
        };
        self.jobs.insert(id, record);
    }

    pub(super) fn start(&mut self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        let record = self.visible(id, confine)?;
        if record.is_started || record.job.status != JobStatus::Dispatched {
            return Err(Error::AlreadyStarted(id));
        }
        self.begin(id);
        self.status(id, confine)
    }

    /// Queues a created job, parks it, or fails it because of a prerequisite.
    fn begin(&mut self, id: JobId) {
        let record = self.record(id);
        record.is_started = true;
        let prerequisites: BTreeSet<JobId> = record.job.prerequisites.iter().copied().collect();
        let status_of = |id: &JobId| self.jobs.get(id).map(|record| record.job.status);
        let is_lost = |id: &&JobId| matches!(status_of(id), None | Some(JobStatus::Error));
        if let Some(lost) = prerequisites.iter().find(is_lost).copied() {
            let error = format!("prerequisite {lost} did not finish");
            return self.end_failed(id, ErrorKind::PrerequisiteFailed, error, None);
        }
        let is_finished = |id: &JobId| status_of(id) == Some(JobStatus::Finished);
        let pending: BTreeSet<JobId> = prerequisites.into_iter().filter(|id| !is_finished(id)).collect();
        if pending.is_empty() {
            return self.enqueue(id);
        }
        self.change(id, JobStatus::WaitingForPrerequisites);
        for prerequisite in &pending {
            self.record(*prerequisite).job.dependents.push(id);
        }
        self.record(id).pending = pending;
    }

    pub(super) fn stop(&mut self, id: JobId, confine: Confine<'_>) -> Result<Stopped> {
        let record = self.visible(id, confine)?;
        match record.job.status {
            JobStatus::Finished | JobStatus::Error => Ok(Stopped::AlreadyEnded),
            JobStatus::Started => {
                let runner = record.job.runner_id.clone().expect("a started job has a runner");
                self.record(id).is_stopping = true;
                self.tell_to_stop(&runner, id);
                Ok(Stopped::Asked(runner))
            }
            JobStatus::Dispatched | JobStatus::WaitingForPrerequisites => {
                self.end_failed(id, ErrorKind::Stopped, "stopped before it ran".to_owned(), None);
                Ok(Stopped::Ended)
            }
        }
    }

    pub(super) fn retry(&mut self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        if self.visible(id, confine)?.job.status != JobStatus::Error {
            return Err(Error::JobNotFailed(id));
        }
        self.change(id, JobStatus::Dispatched);
        let record = self.record(id);
        record.is_stopping = false;
        record.expires_at = None;
        record.losses = 0;
        let job = &mut record.job;
        job.retries += std::mem::take(&mut record.failures);
        (job.error_kind, job.error, job.output) = (None, None, None);
        (job.queued_at, job.started_at, job.finished_at) = (None, None, None);
        let holder = job.runner_id.clone();
        if let Some(presence) = holder.and_then(|runner| self.runners.get_mut(&runner)) {
            presence.stops.remove(&id);
        }
        self.begin(id);
        self.status(id, confine)
    }

    pub(super) fn explain(&self, id: JobId, confine: Confine<'_>) -> Result<Explanation> {
        let record = self.visible(id, confine)?;
        let job = &record.job;
        let mut explanation = blank(job);
        let holder = explanation.runner_id.as_ref().and_then(|runner| self.runners.get(runner));
        explanation.lease_until = holder.map(|presence| presence.lease_until);
        if job.status == JobStatus::WaitingForPrerequisites {
            let unfinished = job.prerequisites.iter().copied().filter(|id| record.pending.contains(id));
            name_unfinished(&mut explanation, unfinished);
        }
        if job.status == JobStatus::Dispatched {
            explanation.not_before = self.delayed.get(&id).copied();
            explanation.is_started = record.is_started;
            explanation.ahead = self.ahead_of(job);
            explanation.parked = self.parked_of(id);
            explanation.serving = explanation.ahead.map(|_| serving(job, &self.runners()));
        }
        Ok(explanation)
    }

    fn ahead_of(&self, job: &Job) -> Option<Ahead> {
        let mut before = 0;
        for priority in [Priority::High, Priority::Normal, Priority::Low] {
            let name = (job.script_type, job.circle.clone(), priority);
            let Some(queue) = self.queues.get(&name) else { continue };
            match queue.iter().position(|id| *id == job.id) {
                Some(place) => return Some(Ahead { jobs: (before + place) as u64, is_least: false }),
                None => before += queue.len(),
            }
        }
        None
    }

    pub(super) fn delete(&mut self, id: JobId, confine: Confine<'_>) -> Result<()> {
        let job = &self.visible(id, confine)?.job;
        if let (JobStatus::Started, Some(runner)) = (job.status, job.runner_id.clone()) {
            self.tell_to_stop(&runner, id);
        }
        self.fail_dependents(id);
        self.forget(id);
        Ok(())
    }

    fn tell_to_stop(&mut self, runner: &RunnerId, id: JobId) {
        if let Some(presence) = self.runners.get_mut(runner) {
            presence.stops.insert(id);
        }
    }

    pub(super) fn clear(&mut self, confine: Confine<'_>) -> u64 {
        let ids: Vec<JobId> =
            self.index.iter().copied().filter(|id| self.visible(*id, confine).is_ok()).collect();
        for id in &ids {
            self.delete(*id, confine).expect("it was visible above");
        }
        ids.len() as u64
    }

    pub(super) fn get(&self, id: JobId, confine: Confine<'_>) -> Result<Job> {
        Ok(self.visible(id, confine)?.job.clone())
    }

    pub(super) fn status(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        Ok(self.visible(id, confine)?.job.status)
    }

    pub(super) fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        let limit = filter.limit.unwrap_or(JobLimits::default().default_list_page);
        let newest_first: Vec<JobId> = self.index.iter().rev().copied().collect();
        let begin = match filter.cursor {
            None => 0,
            Some(cursor) => {
                let at = newest_first.iter().position(|id| *id == cursor);
                at.ok_or(Error::CursorUnknown(cursor))? + 1
            }
        };
        let mut matching = newest_first[begin..].iter().filter(|id| matches(filter, &self.jobs[id].job));
        let ids: Vec<JobId> = matching.by_ref().take(limit).copied().collect();
        let next_cursor = matching.next().and(ids.last().copied());
        Ok(JobPage { ids, next_cursor })
    }
}

fn matches(filter: &JobFilter, job: &Job) -> bool {
    filter.status.is_none_or(|it| it == job.status)
        && filter.error_kind.is_none_or(|it| Some(it) == job.error_kind)
        && filter.script_type.is_none_or(|it| it == job.script_type)
        && filter.context_id.as_ref().is_none_or(|it| *it == job.context_id)
        && filter.caller_id.as_ref().is_none_or(|it| *it == job.caller_id)
        && filter.created_after.is_none_or(|it| job.created_at >= it)
        && filter.created_before.is_none_or(|it| job.created_at <= it)
}

fn stored_job(id: JobId, new: &NewJob, now: Timestamp) -> Job {
    let new = new.clone();
    Job {
        id,
        caller_id: new.caller_id,
        context_id: new.context_id,
        circle: new.circle,
        script: new.script,
        script_type: new.script_type,
        timeout_s: new.timeout_s,
        prerequisites: new.prerequisites,
        dependents: Vec::new(),
        retries: new.retries,
        retry_backoff_ms: new.retry_backoff_ms,
        max_deliveries: new.max_deliveries,
        priority: new.priority,
        run_at: new.run_at,
        env_vars: new.env_vars,
        idempotency_key: new.idempotency_key,
        retention_s: new.retention_s,
        status: JobStatus::Dispatched,
        error_kind: None,
        error: None,
        output: None,
        progress: None,
        result: None,
        attempt: 0,
        runner_id: None,
        created_at: now,
        queued_at: None,
        started_at: None,
        finished_at: None,
        updated_at: now,
        traceparent: new.traceparent,
        note: None,
    }
}
