//! Many claimers, sweepers and callers on one real Redis, with its own clock: every job is executed as often as
//! its attempts say, ended once, and never in two places.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Priority, ScriptType};
use hero_redis::RedisConfig;
use hero_store::{Claim, Claimed, Error, Finish, JobStore, Outcome, SignIn, Store};
use hero_testing::RedisServer;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::world::{after, claim, osis, osis_lane, report, signing_in};

/// Nothing here takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(120);
const CLAIMERS: usize = 12;

/// Reads every list at one moment: answers what is in two places, or in a place that its status denies.
const LOOK: &str = "
local wrong, at = {}, {}
for _, key in ipairs(redis.call('KEYS', 'hero:q:*')) do
  local is_queue = string.find(key, 'hero:q:work:', 1, true) == 1
  local is_inflight = string.find(key, 'hero:q:inflight:', 1, true) == 1
  if is_queue or is_inflight then
    for _, id in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if at[id] then wrong[#wrong + 1] = id .. ' in ' .. at[id] .. ' and ' .. key end
      at[id] = key
      local status = redis.call('HGET', 'hero:job:' .. id, 'status')
      if is_queue and status ~= 'dispatched' then wrong[#wrong + 1] = id .. ' is ' .. tostring(status) .. ' in ' .. key end
      if is_inflight and status ~= 'started' then wrong[#wrong + 1] = id .. ' is ' .. tostring(status) .. ' in ' .. key end
    end
  end
end
for _, id in ipairs(redis.call('ZRANGE', 'hero:q:delayed', 0, -1)) do
  if at[id] then wrong[#wrong + 1] = id .. ' in ' .. at[id] .. ' and delayed' end
end
return wrong";

fn connect(server: &RedisServer) -> Store {
    Store::connect(&RedisConfig::at(server.url().parse().expect("an address"))).expect("a store")
}

/// Half of the jobs plain, the others with every option that changes the path of a job.
fn jobs(count: usize) -> Vec<NewJob> {
    let mut jobs: Vec<NewJob> = Vec::with_capacity(count);
    for n in 0..count {
        let id = JobId::mint();
        let job = match n % 8 {
            1 => NewJob { priority: Priority::High, ..osis() },
            3 => NewJob { priority: Priority::Low, ..osis() },
            // Fails twice, and ends as finished on the third attempt.
            5 => NewJob { retries: 2, retry_backoff_ms: 1, script: "fail".to_owned(), ..osis() },
            7 => after(&[jobs[n - 1].id.expect("an id"), jobs[n / 2].id.expect("an id")]),
            _ => osis(),
        };
        jobs.push(NewJob { id: Some(id), ..job });
    }
    jobs
}

/// Executes jobs until it is told that all have ended; says which attempts it was given.
async fn work(
    store: Store,
    number: usize,
    is_over: Arc<AtomicBool>,
    executed: mpsc::UnboundedSender<(JobId, u32)>,
) {
    // Nobody renews here, and the machine may be slow.
    let sign_in = SignIn { lease: 2 * LIMIT, ..signing_in(&format!("r{number}"), "s") };
    let session = store.sign_in(&sign_in).await.expect("a sign-in");
    let mut reports: Vec<Finish> = Vec::new();
    let mut round = 0;
    while !is_over.load(Relaxed) || !reports.is_empty() {
        round += 1;
        let claim = Claim { want: 1 + (number + round) % 4, low_first: round % 5 == 0, ..claim(0) };
        let answer = store.exchange(&session, &reports, Some(&claim)).await.expect("an exchange");
        assert_eq!(answer.refused, []);
        for job in &answer.jobs {
            executed.send((job.id, job.attempt)).expect("somebody counts");
        }
        if answer.jobs.is_empty() {
            tokio::task::yield_now().await;
        }
        reports = answer.jobs.iter().map(|job| end_of(job, round)).collect();
    }
}

fn end_of(job: &Claimed, round: usize) -> Finish {
    let outcome = if job.script == "fail" && job.attempt < 3 {
        Outcome::Failed { kind: ErrorKind::ScriptFailed, error: "it broke".to_owned(), output: None }
    } else if round.is_multiple_of(7) && job.attempt < 5 && job.script != "fail" {
        Outcome::HandedBack
    } else {
        Outcome::Finished { output: job.attempt.to_string() }
    };
    report(job, outcome)
}

async fn sweep(store: Store, is_over: Arc<AtomicBool>) {
    while !is_over.load(Relaxed) {
        store.sweep().await.expect("a sweep");
        tokio::task::yield_now().await;
    }
}

async fn look(mut redis: redis::aio::MultiplexedConnection, is_over: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !is_over.load(Relaxed) {
        let wrong: Vec<String> =
            redis::cmd("EVAL").arg(LOOK).arg(0).query_async(&mut redis).await.expect("a look");
        assert_eq!(wrong, Vec::<String>::new(), "look {looks}");
        looks += 1;
        tokio::task::yield_now().await;
    }
    looks
}

async fn all_ended(store: &Store, ids: &[JobId]) -> BTreeMap<JobId, (JobStatus, u32)> {
    let mut ended = BTreeMap::new();
    while ended.len() < ids.len() {
        for id in ids {
            if !ended.contains_key(id) {
                let job = store.get(*id, None).await.expect("a job");
                if !job.status.is_ended() {
                    break;
                }
                ended.insert(*id, (job.status, job.attempt));
            }
        }
        tokio::task::yield_now().await;
    }
    ended
}

/// Counts how often the end of each job was announced.
struct Ends {
    is_over: Arc<AtomicBool>,
    counted: tokio::task::JoinHandle<BTreeMap<JobId, u32>>,
}

impl Ends {
    async fn count(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).expect("an address");
        let redis = client.get_multiplexed_async_connection().await.expect("a connection");
        let is_over = Arc::new(AtomicBool::new(false));
        Self { counted: tokio::spawn(count_ends(redis, is_over.clone())), is_over }
    }

    /// Every job's end was announced once, and once only.
    async fn assert_one_each(self, ids: &[JobId]) {
        self.is_over.store(true, Relaxed);
        let counted = self.counted.await.expect("the one who counts");
        assert_eq!(counted, ids.iter().map(|id| (*id, 1)).collect());
    }
}

async fn count_ends(
    mut redis: redis::aio::MultiplexedConnection,
    is_over: Arc<AtomicBool>,
) -> BTreeMap<JobId, u32> {
    let (mut ends, mut place) = (BTreeMap::new(), "0-0".to_owned());
    loop {
        let is_last = is_over.load(Relaxed);
        let mut read = redis::cmd("XRANGE");
        read.arg("hero:events").arg(format!("({place}")).arg("+");
        let events: Vec<(String, Vec<String>)> = read.query_async(&mut redis).await.expect("events");
        for (id, fields) in events {
            place = id;
            if fields[1] == "finished" || fields[1] == "failed" {
                for id in fields[3].split(' ') {
                    *ends.entry(id.parse().expect("a job id")).or_default() += 1;
                }
            }
        }
        if is_last {
            return ends;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_claimers_execute_each_attempt_once_and_end_each_job_once() {
    let server = RedisServer::start().expect("a private redis-server");
    let store = connect(&server);
    let ends = Ends::count(&server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (executed, mut executions) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for number in 0..CLAIMERS {
        tasks.spawn(work(connect(&server), number, is_over.clone(), executed.clone()));
    }
    drop(executed);
    for _ in 0..2 {
        tasks.spawn(sweep(connect(&server), is_over.clone()));
    }
    let behind = redis::Client::open(server.url()).expect("an address");
    let behind = behind.get_multiplexed_async_connection().await.expect("a connection");
    let looks = tokio::spawn(look(behind, is_over.clone()));
    let jobs = jobs(2_000);
    let mut ids = Vec::new();
    for some in jobs.chunks(100) {
        let created = store.create(some, true).await.expect("a submit");
        ids.extend(created.into_iter().map(|created| created.id));
    }
    let ended = timeout(LIMIT, all_ended(&store, &ids)).await.expect("every job ends");
    is_over.store(true, Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.expect("a claimer or sweeper");
    }
    assert!(looks.await.expect("the one who looks") > 10);

    let mut attempts: BTreeMap<JobId, Vec<u32>> = BTreeMap::new();
    while let Some((id, attempt)) = executions.recv().await {
        attempts.entry(id).or_default().push(attempt);
    }
    for (id, (status, attempt)) in &ended {
        let executed: BTreeSet<u32> = attempts[id].iter().copied().collect();
        assert_eq!(executed.len(), attempts[id].len(), "{id}: an attempt was executed twice");
        assert_eq!(executed, (1..=*attempt).collect(), "{id}");
        assert_eq!(*status, JobStatus::Finished, "{id}");
    }
    ends.assert_one_each(&ids).await;
    let places = crate::redis_store::places(&mut server.connection().expect("a connection"));
    assert_eq!(places, Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runners_that_vanish_lose_no_job_and_end_none_twice() {
    let server = RedisServer::start().expect("a private redis-server");
    let store = connect(&server);
    let ends = Ends::count(&server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for number in 0..CLAIMERS {
        tasks.spawn(vanish_again_and_again(connect(&server), number, is_over.clone()));
    }
    for _ in 0..3 {
        tasks.spawn(sweep(connect(&server), is_over.clone()));
    }
    let forgiving = NewJob { max_deliveries: 100, ..osis() };
    let created = store.create(&vec![forgiving; 300], true).await.expect("a submit");
    let ids: Vec<JobId> = created.into_iter().map(|created| created.id).collect();
    let ended = timeout(LIMIT, all_ended(&store, &ids)).await.expect("every job ends");
    is_over.store(true, Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.expect("a claimer or sweeper");
    }
    assert!(ended.values().all(|(status, _)| *status == JobStatus::Finished), "{ended:?}");
    assert!(ended.values().any(|(_, attempt)| *attempt > 1), "some were lost on the way");
    ends.assert_one_each(&ids).await;
}

/// Claims some, finishes some of them and vanishes with the others; its lease is so short that they are swept
/// while it still reports.
async fn vanish_again_and_again(store: Store, number: usize, is_over: Arc<AtomicBool>) {
    let mut life = 0;
    while !is_over.load(Relaxed) {
        life += 1;
        // Every life another id, so that only the sweep can take back what the last one held.
        let sign_in =
            SignIn { lease: Duration::from_millis(5), ..signing_in(&format!("r{number}-{life}"), "s") };
        let session = store.sign_in(&sign_in).await.expect("a sign-in");
        let wanted = Claim { lane: osis_lane(), ..claim(4) };
        let Some(jobs) = unless_swept(store.exchange(&session, &[], Some(&wanted)).await) else { continue };
        let some =
            jobs.jobs.iter().take(2).map(|job| report(job, Outcome::Finished { output: String::new() }));
        unless_swept(store.exchange(&session, &some.collect::<Vec<_>>(), None).await);
        tokio::task::yield_now().await;
    }
}

fn unless_swept<T>(answer: Result<T, Error>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(Error::RunnerReplaced(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stops_and_claims_at_once_leave_every_job_with_one_end() {
    let server = RedisServer::start().expect("a private redis-server");
    let store = connect(&server);
    let ends = Ends::count(&server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (executed, mut executions) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        tasks.spawn(work(connect(&server), number, is_over.clone(), executed.clone()));
    }
    drop(executed);
    let created = store.create(&vec![NewJob { script_type: ScriptType::Osis, ..osis() }; 1_000], true).await;
    let ids: Vec<JobId> = created.expect("a submit").into_iter().map(|created| created.id).collect();
    for id in ids.iter().rev() {
        store.stop(*id, None).await.expect("a stop");
    }
    let ended = timeout(LIMIT, all_ended(&store, &ids)).await.expect("every job ends");
    is_over.store(true, Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.expect("a claimer");
    }
    let mut ran = BTreeSet::new();
    while let Some((id, _)) = executions.recv().await {
        ran.insert(id);
    }
    for (id, (status, _)) in &ended {
        assert!(ran.contains(id) || *status == JobStatus::Error, "{id} finished without having run");
    }
    ends.assert_one_each(&ids).await;
}
