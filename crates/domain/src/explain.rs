//! Why a job is where it is.

use crate::{ErrorKind, JobId, JobStatus, RunnerId, ScriptType, Timestamp};

/// How many jobs stand before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// How many.
    pub jobs: u64,
    /// There are this many or more: nobody looked further.
    pub is_least: bool,
}

/// The runners that could take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serving {
    /// Those that take new jobs.
    pub runners: u32,
    /// Those that have been told to take none.
    pub draining: u32,
    /// Slots of the first, over all types that they serve.
    pub slots: u32,
    /// Slots of them that are taken.
    pub busy: u32,
}

/// The limit that keeps a job out of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Whose limit.
    pub context_id: String,
    /// How many of its jobs run, or are about to.
    pub running: u32,
    /// How many may; none: the limit was taken away, and the job is about to be queued.
    pub limit: Option<u32>,
    /// Parked jobs of the context that come first.
    pub ahead: Ahead,
}

/// Why a job is where it is: what is known about it at one moment. Nothing is kept for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The job.
    pub job_id: JobId,
    /// Where it is.
    pub status: JobStatus,
    /// Its type.
    pub script_type: ScriptType,
    /// Whether start was called.
    pub is_started: bool,
    /// How many jobs it waits for.
    pub pending: u32,
    /// The first of them.
    pub prerequisites: Vec<JobId>,
    /// Not before this time: its run_at, or the end of the pause before another attempt.
    pub not_before: Option<Timestamp>,
    /// Jobs of its queue that come first; none: it is not in a queue.
    pub ahead: Option<Ahead>,
    /// The limit of its context that keeps it out of its queue; none: it is not parked.
    pub parked: Option<Parked>,
    /// Who could take it, while it waits to be taken.
    pub serving: Option<Serving>,
    /// Who holds it, while it runs.
    pub runner_id: Option<RunnerId>,
    /// Until when it is that runner's; none: the runner is not there any more.
    pub lease_until: Option<Timestamp>,
    /// How often it was claimed.
    pub attempt: u32,
    /// Why it ended, if it failed.
    pub error_kind: Option<ErrorKind>,
}

impl Explanation {
    /// The same in words, the most telling reason first.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        match self.status {
            JobStatus::Finished => vec!["it has finished".to_owned()],
            JobStatus::Error => vec![self.why_failed()],
            JobStatus::Started => vec![self.who_holds_it()],
            JobStatus::WaitingForPrerequisites => vec![self.what_it_waits_for()],
            JobStatus::Dispatched => self.why_not_taken(),
        }
    }

    fn why_failed(&self) -> String {
        let kind = self.error_kind.map_or("an unknown reason", ErrorKind::as_str);
        format!("it ended in error ({kind}); get_job has the words, retry_job starts it again")
    }

    fn who_holds_it(&self) -> String {
        let runner = self.runner_id.as_ref().map_or("an unknown runner", RunnerId::as_str);
        match self.lease_until {
            Some(until) => format!("held by runner {runner}, attempt {}, lease until {until}", self.attempt),
            None => format!(
                "held by runner {runner}, attempt {}, which is not there any more; it goes back to its queue",
                self.attempt
            ),
        }
    }

    fn what_it_waits_for(&self) -> String {
        let names: Vec<String> = self.prerequisites.iter().map(ToString::to_string).collect();
        let more = u64::from(self.pending).saturating_sub(names.len() as u64);
        match (names.as_slice(), more) {
            ([], _) => "its prerequisites have finished; it is about to be queued".to_owned(),
            ([one], 0) => format!("prerequisite {one} is not finished"),
            (some, 0) => format!("prerequisites {} are not finished", some.join(", ")),
            (some, more) => format!("prerequisites {} and {more} more are not finished", some.join(", ")),
        }
    }

    fn why_not_taken(&self) -> Vec<String> {
        if !self.is_started {
            return vec!["it was created and not started; start_job queues it".to_owned()];
        }
        if let Some(at) = self.not_before {
            return vec![format!("not before {at}")];
        }
        if let Some(parked) = &self.parked {
            return vec![parked.words()];
        }
        let Some(ahead) = self.ahead else {
            return vec!["it is on its way from its queue to a runner".to_owned()];
        };
        let mut reasons = self.serving.and_then(|serving| self.who_could(serving)).into_iter().collect();
        add_place(&mut reasons, ahead);
        reasons
    }

    /// What keeps the runners from taking it; nothing when one is free.
    fn who_could(&self, serving: Serving) -> Option<String> {
        let Serving { runners, draining, slots, busy } = serving;
        let script_type = self.script_type;
        if runners == 0 && draining == 0 {
            Some(nobody_serves(script_type))
        } else if runners == 0 {
            Some(format!("all {draining} runners of type {script_type} are draining and take no new jobs"))
        } else if busy >= slots {
            Some(format!("all {slots} slots of the runners of type {script_type} are busy"))
        } else {
            None
        }
    }
}

impl Parked {
    fn words(&self) -> String {
        let Self { context_id, running, limit, ahead } = self;
        let Some(limit) = limit else {
            return format!(
                "parked by a limit of context {context_id} that is gone; it is about to be queued"
            );
        };
        let least = if ahead.is_least { "at least " } else { "" };
        format!(
            "parked: context {context_id} runs {running} of {limit} jobs at once, and {least}{} of its jobs are \
             parked before this one",
            ahead.jobs
        )
    }
}

/// What is said of a job whose type nobody serves.
pub(crate) fn nobody_serves(script_type: ScriptType) -> String {
    format!("no runner serves type {script_type} here")
}

fn add_place(reasons: &mut Vec<String>, ahead: Ahead) {
    let least = if ahead.is_least { "at least " } else { "" };
    reasons.push(match ahead.jobs {
        0 => "it is the next one of its queue".to_owned(),
        1 => format!("{least}1 job stands before it"),
        jobs => format!("{least}{jobs} jobs stand before it"),
    });
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Explanation, Parked, Serving};
    use crate::{ErrorKind, JobId, JobStatus, ScriptType, Timestamp};

    fn of(status: JobStatus) -> Explanation {
        Explanation {
            job_id: "0193e2d0-7c7a-7b0e-8f8e-0123456789ab".parse().unwrap(),
            status,
            script_type: ScriptType::V,
            is_started: true,
            pending: 0,
            prerequisites: Vec::new(),
            not_before: None,
            ahead: None,
            parked: None,
            serving: None,
            runner_id: None,
            lease_until: None,
            attempt: 2,
            error_kind: None,
        }
    }

    #[test]
    fn every_state_has_words() {
        let queued =
            Explanation { ahead: Some(Ahead { jobs: 41, is_least: false }), ..of(JobStatus::Dispatched) };
        let serving = |runners, draining, slots, busy| Some(Serving { runners, draining, slots, busy });
        let noon = Timestamp::from_millis(1_795_262_400_000);
        let id: JobId = "0193e2d0-7c7a-7b0e-8f8e-0123456789ac".parse().unwrap();
        let cases: Vec<(Explanation, &[&str])> = vec![
            (of(JobStatus::Finished), &["it has finished"]),
            (
                Explanation { error_kind: Some(ErrorKind::RunnerLost), ..of(JobStatus::Error) },
                &["it ended in error (runner_lost); get_job has the words, retry_job starts it again"],
            ),
            (
                Explanation {
                    runner_id: Some("r".parse().unwrap()),
                    lease_until: Some(noon),
                    ..of(JobStatus::Started)
                },
                &["held by runner r, attempt 2, lease until 2026-11-21T12:00:00.000Z"],
            ),
            (
                Explanation { pending: 1, prerequisites: vec![id], ..of(JobStatus::WaitingForPrerequisites) },
                &["prerequisite 0193e2d0-7c7a-7b0e-8f8e-0123456789ac is not finished"],
            ),
            (
                Explanation { pending: 9, prerequisites: vec![id], ..of(JobStatus::WaitingForPrerequisites) },
                &["prerequisites 0193e2d0-7c7a-7b0e-8f8e-0123456789ac and 8 more are not finished"],
            ),
            (
                Explanation { is_started: false, ..of(JobStatus::Dispatched) },
                &["it was created and not started; start_job queues it"],
            ),
            (
                Explanation { not_before: Some(noon), ..of(JobStatus::Dispatched) },
                &["not before 2026-11-21T12:00:00.000Z"],
            ),
            (
                Explanation {
                    parked: Some(Parked {
                        context_id: "me".to_owned(),
                        running: 8,
                        limit: Some(8),
                        ahead: Ahead { jobs: 41, is_least: false },
                    }),
                    ..of(JobStatus::Dispatched)
                },
                &[
                    "parked: context me runs 8 of 8 jobs at once, and 41 of its jobs are parked before this one",
                ],
            ),
            (of(JobStatus::Dispatched), &["it is on its way from its queue to a runner"]),
            (
                Explanation { serving: serving(0, 0, 0, 0), ..queued.clone() },
                &["no runner serves type V here", "41 jobs stand before it"],
            ),
            (
                Explanation { serving: serving(0, 2, 0, 0), ..queued.clone() },
                &["all 2 runners of type V are draining and take no new jobs", "41 jobs stand before it"],
            ),
            (
                Explanation { serving: serving(1, 0, 4, 4), ..queued.clone() },
                &["all 4 slots of the runners of type V are busy", "41 jobs stand before it"],
            ),
            (
                Explanation { ahead: Some(Ahead { jobs: 10_000, is_least: true }), ..queued },
                &["at least 10000 jobs stand before it"],
            ),
        ];
        for (explanation, words) in cases {
            assert_eq!(explanation.reasons(), words);
        }
    }
}
