//! Why a job is where it is: read from what is there, in a bounded number of calls of bounded cost.

use hero_domain::{
    Ahead, Explanation, Job, JobId, JobLimits, JobStatus, Parked, Runner, RunnerState, Serving, Timestamp,
};
use hero_redis::{cmd, pipe};

use crate::{Confine, JobStore as _, Lane, Result, Store, keys, record::status};

/// How many entries of a queue are looked at for a job.
const LOOKED_AT: u64 = JobLimits::EXPLAINED_QUEUE as u64;

/// A job's marks, its place among the parked ones, and how many of its context run and may.
type Look = (Option<String>, Option<u64>, u32, [Option<u32>; 2]);

impl Store {
    pub(crate) async fn explain_job(&self, id: JobId, confine: Confine<'_>) -> Result<Explanation> {
        let job = self.get(id, confine).await?;
        let mut explanation = blank(&job);
        match job.status {
            JobStatus::Finished | JobStatus::Error => {}
            JobStatus::Started => self.explain_running(&mut explanation).await?,
            JobStatus::WaitingForPrerequisites => self.explain_waiting(&job, &mut explanation).await?,
            JobStatus::Dispatched => self.explain_queued(&job, &mut explanation).await?,
        }
        Ok(explanation)
    }

    async fn explain_running(&self, explanation: &mut Explanation) -> Result<()> {
        let runners = self.all_runners().await?;
        let holder = runners.into_iter().find(|runner| Some(&runner.id) == explanation.runner_id.as_ref());
        explanation.lease_until = holder.map(|runner| runner.lease_until);
        Ok(())
    }

    async fn explain_waiting(&self, job: &Job, explanation: &mut Explanation) -> Result<()> {
        let mut statuses = pipe();
        for prerequisite in &job.prerequisites {
            statuses.cmd("HGET").arg(keys::job(*prerequisite)).arg("status");
        }
        let statuses: Vec<Option<String>> = self.link().call_all(&statuses).await?;
        let each = job.prerequisites.iter().zip(statuses);
        let unfinished = each.filter(|(_, text)| status(text.as_deref()) != JobStatus::Finished);
        name_unfinished(explanation, unfinished.map(|(id, _)| *id));
        Ok(())
    }

    async fn explain_queued(&self, job: &Job, explanation: &mut Explanation) -> Result<()> {
        let id = job.id.to_string();
        let due: Option<f64> = self.link().call(cmd("ZSCORE").arg(keys::DELAYED).arg(&id)).await?;
        if let Some(due) = due {
            // Milliseconds of any year that this runs in fit an f64 exactly.
            explanation.not_before = Some(Timestamp::from_millis(due as i64));
        }
        explanation.is_started = job.queued_at.is_some() || due.is_some();
        if due.is_some() || !explanation.is_started {
            return Ok(());
        }
        explanation.ahead = self.ahead_of(job, &id).await?;
        if explanation.ahead.is_none() {
            explanation.parked = self.parked(job, &id).await?;
        }
        if explanation.ahead.is_some() {
            explanation.serving = Some(serving(job, &self.all_runners().await?));
        }
        Ok(())
    }

    /// The limit that keeps this job out of its queue; none when it is not parked.
    async fn parked(&self, job: &Job, id: &str) -> Result<Option<Parked>> {
        let context = &job.context_id;
        let mut looks = pipe();
        looks.cmd("HGET").arg(keys::job(job.id)).arg("marks");
        looks.cmd("LPOS").arg(keys::parked(context)).arg(id).arg("MAXLEN").arg(LOOKED_AT);
        looks.cmd("ZCARD").arg(keys::admitted(context));
        looks.cmd("HMGET").arg(keys::LIMITS).arg(context).arg("");
        let (marks, place, running, limits): Look = self.link().call_all(&looks).await?;
        if !marks.is_some_and(|marks| marks.contains('k')) {
            return Ok(None);
        }
        let [own, general] = limits;
        Ok(Some(Parked {
            context_id: context.clone(),
            running,
            limit: own.or(general).filter(|most| *most > 0),
            ahead: Ahead { jobs: place.unwrap_or(LOOKED_AT), is_least: place.is_none() },
        }))
    }

    /// The jobs before this one in the lists of its lane; none when it is in none of them.
    async fn ahead_of(&self, job: &Job, id: &str) -> Result<Option<Ahead>> {
        let lane = Lane { script_type: job.script_type, circle: job.circle.clone() };
        let lists = keys::lists(&lane, false);
        let own = keys::queue(job.script_type, job.circle.as_ref(), job.priority);
        let mut looks = pipe();
        for list in &lists {
            looks.cmd("LPOS").arg(list).arg(id).arg("MAXLEN").arg(LOOKED_AT);
            looks.cmd("LLEN").arg(list);
        }
        let answers: Vec<Option<u64>> = self.link().call_all(&looks).await?;
        let mut before = 0;
        // Beyond what was looked at, it can only be in its own list.
        let mut beyond = None;
        for (list, look) in lists.iter().zip(answers.chunks(2)) {
            let length = look[1].unwrap_or_default();
            if let Some(place) = look[0] {
                return Ok(Some(Ahead { jobs: before + place, is_least: false }));
            }
            if *list == own && length > LOOKED_AT {
                beyond = Some(Ahead { jobs: before + LOOKED_AT, is_least: true });
            }
            before += length;
        }
        Ok(beyond)
    }
}

/// What the job itself says.
pub(crate) fn blank(job: &Job) -> Explanation {
    let is_running = job.status == JobStatus::Started;
    Explanation {
        job_id: job.id,
        status: job.status,
        script_type: job.script_type,
        is_started: job.status != JobStatus::Dispatched || job.queued_at.is_some(),
        pending: 0,
        prerequisites: Vec::new(),
        not_before: None,
        ahead: None,
        parked: None,
        serving: None,
        runner_id: job.runner_id.clone().filter(|_| is_running),
        lease_until: None,
        attempt: job.attempt,
        error_kind: job.error_kind,
    }
}

/// Counts the prerequisites that have not finished, and names the first.
pub(crate) fn name_unfinished(explanation: &mut Explanation, mut unfinished: impl Iterator<Item = JobId>) {
    explanation.prerequisites = unfinished.by_ref().take(JobLimits::EXPLAINED_PREREQUISITES).collect();
    let named = explanation.prerequisites.len();
    explanation.pending = u32::try_from(named + unfinished.count()).unwrap_or(u32::MAX);
}

/// Those of the runners that could take this job.
pub(crate) fn serving(job: &Job, runners: &[Runner]) -> Serving {
    let mut serving = Serving::default();
    for runner in runners {
        if !runner.is_in_reach_of(job) {
            continue;
        }
        match runner.state {
            RunnerState::Alive => {
                serving.runners += 1;
                serving.slots += runner.slots;
                serving.busy += runner.busy;
            }
            RunnerState::Draining => serving.draining += 1,
            RunnerState::Lost => {}
        }
    }
    serving
}
