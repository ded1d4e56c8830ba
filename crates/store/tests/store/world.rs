//! Short words for what the tests say often.

use std::{ops::Deref, time::Duration};

use hero_domain::{
    CircleKey, ErrorKind, Job, JobId, JobStatus, NewJob, Priority, RunnerId, ScriptType, Timestamp,
};
use hero_store::{
    Claim, Claimed, Exchanged, Finish, JobStore, Lane, Outcome, Session, SignIn, Swept, model::Places,
};

use crate::fixture::{BEGIN, Fixture};

/// The lease of the tests' runners, in milliseconds.
pub(crate) const LEASE_MS: i64 = 10_000;

/// A store, and short words for it.
pub(crate) struct World<F: Fixture> {
    fixture: F,
}

impl<F: Fixture> Deref for World<F> {
    type Target = F::Store;

    fn deref(&self) -> &F::Store {
        self.fixture.store()
    }
}

/// An OSIS job with every option at its default.
pub(crate) fn osis() -> NewJob {
    NewJob::new(ScriptType::Osis, "40 + 2")
}

/// One that waits for these.
pub(crate) fn after(prerequisites: &[JobId]) -> NewJob {
    NewJob { prerequisites: prerequisites.to_vec(), ..osis() }
}

/// One of a context.
pub(crate) fn of_context(context_id: &str) -> NewJob {
    NewJob { context_id: context_id.to_owned(), ..osis() }
}

/// The shared pool's OSIS lane.
pub(crate) fn osis_lane() -> Lane {
    Lane { script_type: ScriptType::Osis, circle: None }
}

/// A claim of `want` jobs from the shared pool's OSIS lane.
pub(crate) fn claim(want: usize) -> Claim {
    Claim { lane: osis_lane(), taken: Vec::new(), want, low_first: false }
}

pub(crate) fn circle() -> CircleKey {
    format!("02{}", "ab".repeat(32)).parse().expect("a key's form")
}

pub(crate) fn runner_id(name: &str) -> RunnerId {
    name.parse().expect("a runner id's form")
}

/// [`BEGIN`] and this much.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(BEGIN.as_millis() + ms)
}

pub(crate) fn ids(jobs: &[Claimed]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// The report of an attempt's end.
pub(crate) fn report(job: &Claimed, outcome: Outcome) -> Finish {
    Finish { id: job.id, attempt: job.attempt, outcome, jitter: 0.0 }
}

pub(crate) fn finished(job: &Claimed, output: &str) -> Finish {
    report(job, Outcome::Finished { output: output.to_owned() })
}

pub(crate) fn failed(job: &Claimed, kind: ErrorKind) -> Finish {
    report(job, Outcome::Failed { kind, error: "it broke".to_owned(), output: None })
}

pub(crate) fn signing_in(name: &str, session: &str) -> SignIn {
    SignIn {
        id: runner_id(name),
        session: session.to_owned(),
        script_types: vec![ScriptType::Osis, ScriptType::Python],
        circles: Vec::new(),
        slots: 4,
        slots_by_type: [(ScriptType::Osis, 3), (ScriptType::Python, 1)].into(),
        not_offered: [(ScriptType::V, "no `v` on PATH".to_owned())].into(),
        host: "host-1".to_owned(),
        version: "0.1.0".to_owned(),
        sandbox: "required: seccomp".to_owned(),
        lease: Duration::from_millis(LEASE_MS.unsigned_abs()),
    }
}

impl<F: Fixture> World<F> {
    pub(crate) async fn open() -> Self {
        Self { fixture: F::open().await }
    }

    pub(crate) fn fixture(&self) -> &F {
        &self.fixture
    }

    pub(crate) async fn advance(&self, ms: i64) {
        self.fixture.advance(ms).await;
    }

    /// Time goes by while the store is away.
    pub(crate) async fn lose(&self, ms: i64) {
        self.fixture.lose(ms).await;
    }

    pub(crate) async fn places(&self) -> Places {
        self.fixture.places().await
    }

    /// What the wait for work does.
    pub(crate) async fn take_from(
        &self,
        runner: &RunnerId,
        lane: &Lane,
        priority: Priority,
    ) -> Option<JobId> {
        self.fixture.take(runner, lane, priority).await
    }

    pub(crate) async fn take(&self, session: &Session, priority: Priority) -> Option<JobId> {
        self.take_from(&session.runner, &osis_lane(), priority).await
    }

    /// Takes the next normal job, which must be there.
    pub(crate) async fn taken(&self, session: &Session) -> JobId {
        self.take(session, Priority::Normal).await.expect("a queued job")
    }

    /// The ids of one of the OSIS lane's lists, the head first.
    pub(crate) async fn queue(&self, priority: Priority) -> Vec<JobId> {
        let mut places = self.places().await;
        places.queues.remove(&(ScriptType::Osis, None, priority)).unwrap_or_default()
    }

    /// The ids of the OSIS lane's normal list, the head first.
    pub(crate) async fn queued(&self) -> Vec<JobId> {
        self.queue(Priority::Normal).await
    }

    /// Stores a job, without starting it.
    pub(crate) async fn create_one(&self, job: NewJob) -> JobId {
        self.create(&[job], false).await.expect("a create")[0].id
    }

    /// Stores and starts a job.
    pub(crate) async fn submit(&self, job: NewJob) -> JobId {
        self.create(&[job], true).await.expect("a submit")[0].id
    }

    /// Stores and starts `count` plain jobs.
    pub(crate) async fn submit_many(&self, count: usize) -> Vec<JobId> {
        let created = self.create(&vec![osis(); count], true).await.expect("a submit");
        created.into_iter().map(|created| created.id).collect()
    }

    /// The job, wherever it belongs.
    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.get(id, None).await.expect("a job")
    }

    pub(crate) async fn status_of(&self, id: JobId) -> JobStatus {
        self.status(id, None).await.expect("a job")
    }

    /// Asserts that a job ended without success, and why.
    pub(crate) async fn assert_failed(&self, id: JobId, kind: ErrorKind) {
        let job = self.job(id).await;
        assert_eq!((job.status, job.error_kind), (JobStatus::Error, Some(kind)), "{job:?}");
        assert!(job.error.is_some_and(|error| !error.is_empty()), "an error has words");
        assert!(job.finished_at.is_some());
    }

    /// A runner of OSIS and Python in the shared pool.
    pub(crate) async fn runner(&self, name: &str) -> Session {
        self.sign_in(&signing_in(name, &format!("{name}-1"))).await.expect("a sign-in")
    }

    /// Claims up to `want` jobs from the OSIS lane.
    pub(crate) async fn claim(&self, session: &Session, want: usize) -> Vec<Claimed> {
        self.ask(session, &claim(want)).await.jobs
    }

    /// Claims the next job, which must be there.
    pub(crate) async fn claim_one(&self, session: &Session) -> Claimed {
        self.claim(session, 1).await.pop().expect("a queued job")
    }

    pub(crate) async fn ask(&self, session: &Session, claim: &Claim) -> Exchanged {
        self.exchange(session, &[], Some(claim)).await.expect("a claim")
    }

    /// Reports one end; whether it was taken.
    pub(crate) async fn report(&self, session: &Session, finish: Finish) -> bool {
        let answer = self.exchange(session, &[finish], None).await.expect("an exchange");
        assert_eq!(answer.jobs, vec![]);
        answer.refused.is_empty()
    }

    /// Reports success; it must be taken.
    pub(crate) async fn finish(&self, session: &Session, job: &Claimed) {
        assert!(self.report(session, finished(job, "42")).await, "{job:?}");
    }

    /// Reports a failure; it must be taken.
    pub(crate) async fn fail(&self, session: &Session, job: &Claimed, kind: ErrorKind) {
        assert!(self.report(session, failed(job, kind)).await, "{job:?}");
    }

    /// Claims the next job and finishes it.
    pub(crate) async fn run_next(&self, session: &Session) -> JobId {
        let job = self.claim_one(session).await;
        self.finish(session, &job).await;
        job.id
    }

    /// Sweeps until nothing is left to do; what that did together.
    pub(crate) async fn settle(&self) -> Swept {
        let mut total = Swept::default();
        for _ in 0..10_000 {
            let step = self.sweep().await.expect("a sweep");
            total.promoted += step.promoted;
            total.requeued += step.requeued;
            total.ended += step.ended;
            total.released += step.released;
            total.forgotten += step.forgotten;
            total.next_due = step.next_due;
            if !step.more {
                return total;
            }
        }
        panic!("the sweep does not come to an end");
    }
}
