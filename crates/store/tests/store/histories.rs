//! Random histories: the same calls on the model and on Redis, every answer compared, and after every step
//! everything that can be seen; and what must hold whatever happens.
//!
//! `HERO_HISTORIES` sets how many histories are tried (64), `HERO_HISTORY_CALLS` how long they are at most (60).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use hero_domain::{ErrorKind, Job, JobFilter, JobId, JobStatus, LogStream, NewJob, Priority, ScriptType};
use hero_store::{Claim, Claimed, Error, Finish, JobStore, Lane, Outcome, Session, model::Places};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::Config};

use crate::{
    fixture::{BEGIN, Fixture, InMemory},
    redis_store::OnRedis,
    world::{World, circle, runner_id, signing_in},
};

/// A job to create. Numbers select among what is there at the time, so that most calls make sense.
#[derive(Debug, Clone)]
struct Wish {
    /// An id that was used before, for some; else a new one.
    old_id: Option<usize>,
    prerequisites: Vec<usize>,
    is_python: bool,
    is_of_circle: bool,
    priority: Priority,
    retries: u32,
    max_deliveries: u32,
    timeout_s: u32,
    run_after_ms: Option<i64>,
    key: Option<u8>,
    retention_s: u32,
}

#[derive(Debug, Clone)]
enum Report {
    Finished,
    Failed(ErrorKind, f64),
    HandedBack,
}

#[derive(Debug, Clone)]
enum Call {
    Create {
        jobs: Vec<Wish>,
        start: bool,
    },
    Start {
        job: usize,
        confined: bool,
    },
    Stop {
        job: usize,
        confined: bool,
    },
    Delete {
        job: usize,
        confined: bool,
    },
    Clear {
        confined: bool,
    },
    List {
        status: Option<JobStatus>,
        is_python: bool,
        confined: bool,
        limit: usize,
    },
    SignIn {
        runner: usize,
    },
    SignOut {
        session: usize,
    },
    Drain {
        runner: usize,
        draining: bool,
    },
    Take {
        runner: usize,
        lane: usize,
        priority: Priority,
    },
    Exchange {
        session: usize,
        reports: Vec<(usize, Report)>,
        claim: Option<(usize, usize, bool)>,
    },
    Renew {
        session: usize,
        forgets: Option<usize>,
    },
    Log {
        attempt: usize,
        lines: usize,
        /// So many that are in are brought again with them.
        again: u64,
    },
    /// How many jobs of a context run at once.
    Limit {
        of_circle: bool,
        most: Option<u32>,
    },
    Advance {
        ms: i64,
    },
    /// The store is away.
    Lose {
        ms: i64,
    },
    Sweep,
}

fn wish() -> impl Strategy<Value = Wish> {
    (
        (
            prop_oneof![9 => Just(None), 1 => any::<usize>().prop_map(Some)],
            prop_oneof![5 => Just(Vec::new()), 4 => vec(any::<usize>(), 1..4)],
            any::<bool>(),
            prop_oneof![3 => Just(false), 1 => Just(true)],
            select(Priority::ALL),
        ),
        (
            select(vec![0, 0, 1, 3]),
            1..4u32,
            select(vec![60, 5]),
            prop_oneof![6 => Just(None), 1 => select(vec![-5, 0, 500, 20_000]).prop_map(Some)],
            prop_oneof![6 => Just(None), 1 => (0..3u8).prop_map(Some)],
            select(vec![0, 3_600]),
        ),
    )
        .prop_map(|((old_id, prerequisites, is_python, is_of_circle, priority), rest)| {
            let (retries, max_deliveries, timeout_s, run_after_ms, key, retention_s) = rest;
            Wish {
                old_id,
                prerequisites,
                is_python,
                is_of_circle,
                priority,
                retries,
                max_deliveries,
                timeout_s,
                run_after_ms,
                key,
                retention_s,
            }
        })
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        4 => Just(Report::Finished),
        4 => (select(ErrorKind::ALL), select(vec![0.0, 0.5, 1.0])).prop_map(|(kind, jitter)| Report::Failed(kind, jitter)),
        1 => Just(Report::HandedBack),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let any_job = || (any::<usize>(), prop_oneof![5 => Just(false), 1 => Just(true)]);
    let claim = option::weighted(0.8, (0..4usize, 0..9usize, any::<bool>()));
    prop_oneof![
        8 => (vec(wish(), 1..5), prop_oneof![3 => Just(true), 1 => Just(false)])
            .prop_map(|(jobs, start)| Call::Create { jobs, start }),
        3 => any_job().prop_map(|(job, confined)| Call::Start { job, confined }),
        2 => any_job().prop_map(|(job, confined)| Call::Stop { job, confined }),
        1 => any_job().prop_map(|(job, confined)| Call::Delete { job, confined }),
        1 => prop_oneof![1 => Just(false), 4 => Just(true)].prop_map(|confined| Call::Clear { confined }),
        2 => (option::of(select(JobStatus::ALL)), any::<bool>(), any::<bool>(), 1..8usize)
            .prop_map(|(status, is_python, confined, limit)| Call::List { status, is_python, confined, limit }),
        3 => (0..3usize).prop_map(|runner| Call::SignIn { runner }),
        1 => any::<usize>().prop_map(|session| Call::SignOut { session }),
        1 => (0..3usize, any::<bool>()).prop_map(|(runner, draining)| Call::Drain { runner, draining }),
        4 => (0..3usize, 0..4usize, select(Priority::ALL))
            .prop_map(|(runner, lane, priority)| Call::Take { runner, lane, priority }),
        14 => (any::<usize>(), vec((any::<usize>(), report()), 0..8), claim)
            .prop_map(|(session, reports, claim)| Call::Exchange { session, reports, claim }),
        3 => (any::<usize>(), option::of(any::<usize>()))
            .prop_map(|(session, forgets)| Call::Renew { session, forgets }),
        2 => (any::<usize>(), 1..4usize, select(vec![0, 0, 1, 2, 9]))
            .prop_map(|(attempt, lines, again)| Call::Log { attempt, lines, again }),
        2 => (any::<bool>(), option::weighted(0.8, 0..4u32))
            .prop_map(|(of_circle, most)| Call::Limit { of_circle, most }),
        4 => select(vec![1, 500, 6_000, 11_000, 31_000, 4_000_000]).prop_map(|ms| Call::Advance { ms }),
        1 => select(vec![500, 3_001, 11_000]).prop_map(|ms| Call::Lose { ms }),
        3 => Just(Call::Sweep),
    ]
}

fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn the_model_and_redis_agree_on_random_histories() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = u32::try_from(setting("HERO_HISTORIES", 64)).unwrap();
    let calls = setting("HERO_HISTORY_CALLS", 60);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let redis = runtime.block_on(World::<OnRedis>::open());
    proptest!(config, |(history in vec(call(), 1..=calls))| {
        runtime.block_on(async {
            let mut twin = Twin::begin(&redis).await;
            for call in history {
                twin.make(&call).await;
            }
        });
    });
}

/// The two stores, and what a history has seen so far.
struct Twin<'a> {
    model: World<InMemory>,
    redis: &'a World<OnRedis>,
    now_ms: i64,
    /// Every id that a create was asked for.
    ids: Vec<JobId>,
    /// Every session, old ones too.
    sessions: Vec<Session>,
    /// Every attempt that was given out, old ones too.
    attempts: Vec<(Session, Claimed)>,
    taken: BTreeMap<String, Vec<JobId>>,
    /// How many lines each attempt has logged.
    logged: BTreeMap<(JobId, u32), u64>,
    before: BTreeMap<JobId, Job>,
}

impl<'a> Twin<'a> {
    async fn begin(redis: &'a World<OnRedis>) -> Self {
        redis.fixture().reset();
        Self {
            model: World::open().await,
            redis,
            now_ms: 0,
            ids: Vec::new(),
            sessions: Vec::new(),
            attempts: Vec::new(),
            taken: BTreeMap::new(),
            logged: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    /// Makes one call on both, compares the answers, then everything that can be seen.
    async fn make(&mut self, call: &Call) {
        let gone = self.answer(call).await;
        self.compare(call, &gone).await;
    }

    /// Makes the call; the ids that it may have removed, so that they may come again as other jobs.
    async fn answer(&mut self, call: &Call) -> BTreeSet<JobId> {
        match call {
            Call::Create { jobs, start } => self.create(jobs, *start).await,
            Call::Start { job, confined } => {
                let Some(id) = pick(&self.ids, *job) else { return BTreeSet::new() };
                let confine = confined.then(|| circle().to_string());
                let confine = confine.as_deref();
                same(call, self.model.start(id, confine).await, self.redis.start(id, confine).await);
            }
            Call::Stop { job, confined } => {
                let Some(id) = pick(&self.ids, *job) else { return BTreeSet::new() };
                let confine = confined.then(|| circle().to_string());
                let confine = confine.as_deref();
                same(call, self.model.stop(id, confine).await, self.redis.stop(id, confine).await);
            }
            Call::Delete { job, confined } => {
                let Some(id) = pick(&self.ids, *job) else { return BTreeSet::new() };
                let confine = confined.then(|| circle().to_string());
                let confine = confine.as_deref();
                same(call, self.model.delete(id, confine).await, self.redis.delete(id, confine).await);
                return [id].into();
            }
            Call::Clear { confined } => {
                let confine = confined.then(|| circle().to_string());
                let confine = confine.as_deref();
                same(call, self.model.clear(confine).await, self.redis.clear(confine).await);
                return self.ids.iter().copied().collect();
            }
            Call::List { status, is_python, confined, limit } => {
                let filter = JobFilter {
                    status: *status,
                    script_type: is_python.then_some(ScriptType::Python),
                    context_id: confined.then(|| circle().to_string()),
                    limit: Some(*limit),
                    ..JobFilter::default()
                };
                assert_eq!(pages(&self.model, &filter).await, pages(self.redis, &filter).await, "{call:?}");
            }
            Call::SignIn { runner } => {
                let sign_in = signing_in(&format!("r{runner}"), &format!("s{}", self.sessions.len()));
                let session =
                    same(call, self.model.sign_in(&sign_in).await, self.redis.sign_in(&sign_in).await);
                self.sessions.extend(session);
                self.taken.remove(sign_in.id.as_str());
            }
            Call::SignOut { session } => {
                let Some(session) = self.session(*session) else { return BTreeSet::new() };
                same(call, self.model.sign_out(&session).await, self.redis.sign_out(&session).await);
            }
            Call::Drain { runner, draining } => {
                let id = runner_id(&format!("r{runner}"));
                same(call, self.model.drain(&id, *draining).await, self.redis.drain(&id, *draining).await);
            }
            Call::Take { runner, lane, priority } => self.take(call, *runner, *lane, *priority).await,
            Call::Exchange { session, reports, claim } => {
                self.exchange(call, *session, reports, claim.as_ref()).await;
            }
            Call::Renew { session, forgets } => self.renew(call, *session, *forgets).await,
            Call::Log { attempt, lines, again } => self.log(call, *attempt, *lines, *again).await,
            Call::Limit { of_circle, most } => {
                let context = of_circle.then(|| circle().to_string());
                let context = context.as_deref();
                let (model, redis) = (
                    self.model.limit_running(context, *most).await,
                    self.redis.limit_running(context, *most).await,
                );
                same(call, model, redis);
            }
            Call::Advance { ms } => {
                self.now_ms += ms;
                self.model.advance(*ms).await;
                self.redis.advance(*ms).await;
                // What has ended may be over its retention now.
                return self.before.values().filter(|job| job.status.is_ended()).map(|job| job.id).collect();
            }
            Call::Lose { ms } => {
                self.now_ms += ms;
                self.model.lose(*ms).await;
                self.redis.lose(*ms).await;
                return self.before.values().filter(|job| job.status.is_ended()).map(|job| job.id).collect();
            }
            Call::Sweep => {
                let (model, redis) = (self.model.settle().await, self.redis.settle().await);
                let told = |it: &hero_store::Swept| (it.promoted, it.requeued, it.ended, it.next_due);
                assert_eq!(told(&model), told(&redis), "{call:?}");
            }
        }
        BTreeSet::new()
    }

    async fn create(&mut self, wishes: &[Wish], start: bool) {
        let mut jobs = Vec::new();
        for wish in wishes {
            let number = self.ids.len() + 1;
            let new = || format!("00000000-0000-4000-8000-{number:012x}").parse().expect("an id");
            let id: JobId = wish.old_id.and_then(|n| pick(&self.ids, n)).unwrap_or_else(new);
            let prerequisites = wish.prerequisites.iter().filter_map(|n| pick(&self.ids, *n)).collect();
            jobs.push(wish.job(id, prerequisites, self.now_ms));
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        same(&jobs, self.model.create(&jobs, start).await, self.redis.create(&jobs, start).await);
    }

    async fn take(&mut self, call: &Call, runner: usize, lane: usize, priority: Priority) {
        let id = runner_id(&format!("r{runner}"));
        // Only a runner that is signed in waits for work.
        if !self.model.runners().await.unwrap().iter().any(|it| it.id == id) {
            return;
        }
        let (model, redis) = (
            self.model.take_from(&id, &lane_of(lane), priority).await,
            self.redis.take_from(&id, &lane_of(lane), priority).await,
        );
        assert_eq!(model, redis, "{call:?}");
        self.taken.entry(id.to_string()).or_default().extend(model);
    }

    async fn exchange(
        &mut self,
        call: &Call,
        session: usize,
        reports: &[(usize, Report)],
        claim: Option<&(usize, usize, bool)>,
    ) {
        let Some(session) = self.session(session) else { return };
        let mut finished: Vec<Finish> = Vec::new();
        for (attempt, report) in reports {
            // The latest ones more often than those that have ended.
            let latest = if attempt % 4 == 0 { 0 } else { self.attempts.len().saturating_sub(10) };
            let Some((_, job)) = pick(&self.attempts[latest..], attempt / 4) else { continue };
            finished.push(report.of(&job));
        }
        let claim = claim.map(|(lane, want, low_first)| Claim {
            lane: lane_of(*lane),
            taken: self.taken.remove(session.runner.as_str()).unwrap_or_default(),
            want: *want,
            low_first: *low_first,
        });
        let (model, redis) = (
            self.model.exchange(&session, &finished, claim.as_ref()).await,
            self.redis.exchange(&session, &finished, claim.as_ref()).await,
        );
        if let Some(answer) = same(call, model, redis) {
            for job in answer.jobs {
                let before = self.before.get(&job.id).map(|it| it.attempt);
                assert!(before.is_none_or(|before| before < job.attempt), "{job:?} was given out before");
                self.attempts.push((session.clone(), job));
            }
        }
    }

    async fn renew(&mut self, call: &Call, session: usize, forgets: Option<usize>) {
        let Some(session) = self.session(session) else { return };
        let mine = |(owner, _): &&(Session, Claimed)| *owner == session;
        let mut known: Vec<JobId> = self.attempts.iter().filter(mine).map(|(_, job)| job.id).collect();
        known.extend(self.taken.get(session.runner.as_str()).into_iter().flatten());
        known.sort_unstable();
        known.dedup();
        if let Some(id) = forgets.and_then(|n| pick(&known, n)) {
            known.retain(|it| *it != id);
        }
        let busy = u32::try_from(known.len()).unwrap();
        let mut redis = self.redis.renew(&session, busy, &known).await;
        if let Ok(renewed) = &mut redis {
            renewed.stop.sort_unstable();
        }
        same(call, self.model.renew(&session, busy, &known).await, redis);
    }

    async fn log(&mut self, call: &Call, attempt: usize, lines: usize, again: u64) {
        let Some((_, job)) = self.attempts.get(attempt % self.attempts.len().max(1)) else { return };
        let logged = self.logged.entry((job.id, job.attempt)).or_default();
        let before = logged.saturating_sub(again);
        let lines: Vec<_> = (0..lines).map(|n| (LogStream::Log, format!("line {n}"))).collect();
        *logged = (before + lines.len() as u64).max(*logged);
        let (model, redis) = (
            self.model.append_log(job.id, job.attempt, before, &lines, 40).await,
            self.redis.append_log(job.id, job.attempt, before, &lines, 40).await,
        );
        same(call, model, redis);
    }

    fn session(&self, number: usize) -> Option<Session> {
        // The latest ones more often than those that were replaced.
        let latest = self.sessions.len().saturating_sub(3);
        pick(if number.is_multiple_of(4) { &self.sessions } else { &self.sessions[latest..] }, number / 4)
    }

    /// Compares everything that can be seen, and checks what must hold after every call.
    async fn compare(&mut self, call: &Call, gone: &BTreeSet<JobId>) {
        let places = self.redis.places().await;
        assert_eq!(self.model.places().await, places, "places after {call:?}");
        assert_eq!(
            self.model.runners().await.unwrap(),
            self.redis.runners().await.unwrap(),
            "after {call:?}"
        );
        let all = JobFilter { limit: Some(1_000), ..JobFilter::default() };
        let listed = self.redis.list(&all).await.unwrap().ids;
        assert_eq!(self.model.list(&all).await.unwrap().ids, listed, "list after {call:?}");
        let mut after = BTreeMap::new();
        for id in &self.ids {
            let (model, redis) = (self.model.get(*id, None).await, self.redis.get(*id, None).await);
            if let Some(job) = same_job(call, model, redis) {
                let (model, redis) = (
                    self.model.read_log(*id, None, None, 1_000).await,
                    self.redis.read_log(*id, None, None, 1_000).await,
                );
                assert_eq!(model.unwrap().lines, redis.unwrap().lines, "log of {id} after {call:?}");
                after.insert(*id, job);
            }
        }
        assert_eq!(after.keys().copied().collect::<BTreeSet<_>>(), listed.into_iter().collect());
        check_places(&after, &places);
        for (id, job) in &self.before {
            match after.get(id) {
                Some(now) => check_change(job, now),
                None => assert!(gone.contains(id), "{id} is gone after {call:?}"),
            }
        }
        self.before = after;
    }
}

impl Wish {
    fn job(&self, id: JobId, prerequisites: Vec<JobId>, now_ms: i64) -> NewJob {
        let circle = self.is_of_circle.then(circle);
        let defaults = NewJob::new(ScriptType::Osis, format!("job {id}"));
        NewJob {
            id: Some(id),
            context_id: circle.as_ref().map_or(defaults.context_id, ToString::to_string),
            circle,
            script_type: if self.is_python { ScriptType::Python } else { ScriptType::Osis },
            timeout_s: self.timeout_s,
            prerequisites,
            retries: self.retries,
            retry_backoff_ms: 1_000,
            max_deliveries: self.max_deliveries,
            priority: self.priority,
            run_at: self
                .run_after_ms
                .map(|ms| hero_domain::Timestamp::from_millis(BEGIN.as_millis() + now_ms + ms)),
            idempotency_key: self.key.map(|key| format!("key {key}")),
            retention_s: self.retention_s,
            ..NewJob::new(ScriptType::Osis, defaults.script)
        }
    }
}

impl Report {
    fn of(&self, job: &Claimed) -> Finish {
        let (outcome, jitter) = match self {
            Self::Finished => (Outcome::Finished { output: format!("attempt {}", job.attempt) }, 0.0),
            Self::Failed(kind, jitter) => {
                let output = (*jitter > 0.0).then(|| "so far".to_owned());
                (Outcome::Failed { kind: *kind, error: "it broke".to_owned(), output }, *jitter)
            }
            Self::HandedBack => (Outcome::HandedBack, 0.0),
        };
        Finish { id: job.id, attempt: job.attempt, outcome, jitter }
    }
}

fn pick<T: Clone>(from: &[T], number: usize) -> Option<T> {
    from.get(number % from.len().max(1)).cloned()
}

fn lane_of(number: usize) -> Lane {
    Lane {
        script_type: if number.is_multiple_of(2) { ScriptType::Osis } else { ScriptType::Python },
        circle: (number >= 2).then(circle),
    }
}

/// Asserts that two answers are the same, refusals included; the answer, unless it was a refusal.
fn same<T: Debug + PartialEq>(
    call: &impl Debug,
    model: Result<T, Error>,
    redis: Result<T, Error>,
) -> Option<T> {
    let words = |answer: Result<T, Error>| answer.map_err(|error| format!("{error:?}"));
    let (model, redis) = (words(model), words(redis));
    assert_eq!(model, redis, "{call:?}: the model on the left, Redis on the right");
    model.ok()
}

/// The same for jobs; the words of an error are the store's own.
fn same_job(call: &Call, model: Result<Job, Error>, redis: Result<Job, Error>) -> Option<Job> {
    let without_words = |job: Job| Job { error: job.error.map(|_| String::new()), ..job };
    same(call, model.map(without_words), redis.map(without_words))
}

async fn pages<F: Fixture>(w: &World<F>, filter: &JobFilter) -> Vec<JobId> {
    let mut filter = filter.clone();
    let mut all = Vec::new();
    loop {
        let page = w.list(&filter).await.unwrap();
        all.extend(page.ids);
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            return all;
        }
    }
}

/// A job is in exactly one of queue, delayed, parked, in flight and ended, or was never started.
fn check_places(jobs: &BTreeMap<JobId, Job>, places: &Places) {
    let mut at: BTreeMap<JobId, Vec<&'static str>> = BTreeMap::new();
    let mut put = |ids: &mut dyn Iterator<Item = JobId>, place| {
        ids.for_each(|id| at.entry(id).or_default().push(place));
    };
    put(&mut places.queues.values().flatten().copied(), "queue");
    put(&mut places.inflight.values().flatten().copied(), "in flight");
    put(&mut places.delayed.keys().copied(), "delayed");
    put(&mut places.parked.values().flatten().copied(), "parked");
    for (id, job) in jobs {
        let here = at.remove(id).unwrap_or_default();
        match job.status {
            JobStatus::Dispatched => assert!(
                here.len() == 1 || (here.is_empty() && job.queued_at.is_none() && job.attempt == 0),
                "{here:?}: {job:?}"
            ),
            JobStatus::Started => assert_eq!(here, ["in flight"], "{job:?}"),
            JobStatus::WaitingForPrerequisites | JobStatus::Finished | JobStatus::Error => {
                assert_eq!(here, Vec::<&str>::new(), "{job:?}");
            }
        }
        assert_eq!(job.status.is_ended(), job.finished_at.is_some(), "{job:?}");
        assert_eq!(job.status == JobStatus::Error, job.error_kind.is_some(), "{job:?}");
    }
    assert_eq!(at, BTreeMap::new(), "jobs that are somewhere, and nowhere");
    for (context, ids) in &places.admitted {
        for id in ids {
            let job = &jobs[id];
            assert_eq!(job.context_id, *context);
            assert!(matches!(job.status, JobStatus::Dispatched | JobStatus::Started), "it counts: {job:?}");
        }
    }
}

/// An ended job never changes, an attempt only grows, and a status changes as the state machine allows.
fn check_change(before: &Job, now: &Job) {
    if before.status.is_ended() {
        assert_eq!(before, now, "an ended job has changed");
    }
    assert!(now.attempt >= before.attempt, "{before:?} {now:?}");
    assert!(is_reachable(before.status, now.status), "{} -> {}", before.status, now.status);
}

/// One call may make several changes, such as a release and then a claim.
fn is_reachable(from: JobStatus, to: JobStatus) -> bool {
    let mut reached = BTreeSet::from([from]);
    loop {
        let next: BTreeSet<JobStatus> = JobStatus::ALL
            .iter()
            .copied()
            .filter(|next| reached.iter().any(|it| it == next || it.may_become(*next)))
            .collect();
        if next == reached {
            return reached.contains(&to);
        }
        reached = next;
    }
}
