//! What runners ask of jobs: take, claim, finish.

use std::time::Duration;

use hero_domain::{ErrorKind, JobId, JobLimits, JobStatus, Priority, RunnerId, Timestamp};

use super::state::{State, queue_in, queue_of};
use crate::api::{Claim, Claimed, Exchanged, Finish, Lane, Outcome, Result, Session};

impl State {
    pub(super) fn take(&mut self, runner: &RunnerId, lane: &Lane, priority: Priority) -> Option<JobId> {
        let id = self.queues.get_mut(&queue_in(lane, priority))?.pop_front()?;
        self.inflight.entry(runner.clone()).or_default().push(id);
        Some(id)
    }

    pub(super) fn exchange(
        &mut self,
        session: &Session,
        finished: &[Finish],
        claim: Option<&Claim>,
    ) -> Result<Exchanged> {
        self.check_session(session)?;
        let mut answer = Exchanged::default();
        for report in finished {
            if !self.finish(&session.runner, report) {
                answer.refused.push(report.id);
            }
        }
        if let Some(claim) = claim {
            self.claim(&session.runner, claim, &mut answer);
        }
        Ok(answer)
    }

    fn claim(&mut self, runner: &RunnerId, claim: &Claim, answer: &mut Exchanged) {
        let is_limited = self.runners[runner].limited.is_some();
        let mut beyond = Vec::new();
        for id in &claim.taken {
            if !self.is_waiting_in_hand(runner, *id) || beyond.contains(id) {
                continue;
            }
            if answer.jobs.len() < claim.want {
                if is_limited && !self.admit(*id) {
                    continue;
                }
                answer.jobs.push(self.begin_attempt(*id, runner));
            } else {
                beyond.push(*id);
            }
        }
        // From the last to the first, so that the first is at the head again.
        for id in beyond.into_iter().rev() {
            self.remove_from_places(id);
            self.put_back(id);
        }
        while answer.jobs.len() < claim.want {
            let order = if claim.low_first {
                [Priority::Low, Priority::High, Priority::Normal]
            } else {
                [Priority::High, Priority::Normal, Priority::Low]
            };
            let Some(id) = order.into_iter().find_map(|priority| self.take(runner, &claim.lane, priority))
            else {
                answer.drained = true;
                return;
            };
            if is_limited && !self.admit(id) {
                continue;
            }
            answer.jobs.push(self.begin_attempt(id, runner));
        }
    }

    /// Whether the wait for work has put this job into the runner's hands, and it can still be claimed.
    fn is_waiting_in_hand(&self, runner: &RunnerId, id: JobId) -> bool {
        let is_held = self.inflight.get(runner).is_some_and(|held| held.contains(&id));
        is_held && self.jobs.get(&id).is_some_and(|record| record.job.status == JobStatus::Dispatched)
    }

    fn begin_attempt(&mut self, id: JobId, runner: &RunnerId) -> Claimed {
        let now = self.now;
        self.change(id, JobStatus::Started);
        let job = &mut self.record(id).job;
        job.attempt += 1;
        job.runner_id = Some(runner.clone());
        job.started_at = Some(now);
        Claimed {
            id,
            attempt: job.attempt,
            script_type: job.script_type,
            script: job.script.clone(),
            caller_id: job.caller_id.clone(),
            context_id: job.context_id.clone(),
            timeout: Duration::from_secs(job.timeout_s.into()),
            env_vars: job.env_vars.clone(),
            traceparent: job.traceparent.clone(),
        }
    }

    /// Whether the report was taken (now, or before).
    fn finish(&mut self, runner: &RunnerId, report: &Finish) -> bool {
        let Some(record) = self.jobs.get(&report.id) else { return false };
        let job = &record.job;
        if job.attempt != report.attempt || job.runner_id.as_ref() != Some(runner) {
            return false;
        }
        if job.status != JobStatus::Started {
            return true;
        }
        match &report.outcome {
            Outcome::Finished { output } => self.end_finished(report.id, output.clone()),
            Outcome::Failed { kind, error, output } => {
                self.fail_attempt(report, *kind, error.clone(), output.clone());
            }
            Outcome::HandedBack => {
                let is_only = record.job.max_deliveries <= 1;
                self.give_back(report.id, is_only.then_some(ErrorKind::RunnerLost));
            }
        }
        true
    }

    fn fail_attempt(&mut self, report: &Finish, kind: ErrorKind, error: String, output: Option<String>) {
        let id = report.id;
        let record = self.record(id);
        if record.is_stopping {
            return self.end_failed(id, ErrorKind::Stopped, error, output);
        }
        let may_retry = matches!(kind, ErrorKind::ScriptFailed | ErrorKind::Timeout);
        if !may_retry || record.job.retries == 0 {
            return self.end_failed(id, kind, error, output);
        }
        record.job.retries -= 1;
        record.failures += 1;
        let pause_ms = retry_pause_ms(record.job.retry_backoff_ms, record.failures, report.jitter);
        let due = Timestamp::from_millis(self.now.as_millis() + pause_ms);
        self.remove_from_places(id);
        self.leave(id);
        self.change(id, JobStatus::Dispatched);
        self.delayed.insert(id, due);
    }

    /// An attempt without an end goes back to the head of its queue, unless there is a reason to end the job.
    pub(super) fn give_back(&mut self, id: JobId, reason_to_end: Option<ErrorKind>) -> JobStatus {
        let now = self.now;
        let stopped = self.record(id).is_stopping.then_some(ErrorKind::Stopped);
        if let Some(kind) = stopped.or(reason_to_end) {
            self.end_failed(id, kind, "its runner did not bring it to an end".to_owned(), None);
        } else {
            self.remove_from_places(id);
            self.change(id, JobStatus::Dispatched);
            let job = &mut self.record(id).job;
            job.queued_at = Some(now);
            let name = queue_of(job);
            self.queues.entry(name).or_default().push_front(id);
        }
        self.record(id).job.status
    }
}

/// The pause doubles with each failure, up to the longest one, and is stretched by up to its own length.
fn retry_pause_ms(backoff_ms: u64, failures: u32, jitter: f64) -> i64 {
    let doubled = backoff_ms.saturating_mul(1 << (failures - 1).min(40));
    let pause_ms = doubled.min(JobLimits::default().max_retry_backoff_ms);
    (pause_ms as f64 * (1.0 + jitter)).floor() as i64
}
