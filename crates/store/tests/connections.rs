//! The store and its connections: waiting for work and for ends, Redis that goes away and comes back, is
//! full, or is not fit to keep jobs.

use std::time::{Duration, Instant};

use hero_domain::{ErrorKind, JobEventKind, JobId, JobStatus, NewJob, Priority, ScriptType};
use hero_redis::{Link, RedisConfig, cmd, pipe};
use hero_store::{
    Claim, Claimed, Control, ControlMessage, Error, Finish, JobStore, Lane, Outcome, Session, SignIn,
    Stopped, Store, Waits, Watch, Work,
};
use hero_testing::{RedisServer, eventually};
use redis::Commands;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn connect(server: &RedisServer) -> Store {
    Store::connect(&RedisConfig::at(server.url().parse().expect("an address"))).expect("a store")
}

fn osis() -> NewJob {
    NewJob::new(ScriptType::Osis, "40 + 2")
}

fn lane() -> Lane {
    Lane { script_type: ScriptType::Osis, circle: None }
}

async fn sign_in(store: &Store, name: &str) -> Session {
    let sign_in = SignIn {
        id: name.parse().expect("a runner id"),
        session: format!("{name}-1"),
        script_types: vec![ScriptType::Osis],
        circles: vec![],
        slots: 4,
        slots_by_type: std::collections::BTreeMap::new(),
        not_offered: std::collections::BTreeMap::new(),
        host: "here".into(),
        version: "0.1.0".into(),
        sandbox: String::new(),
        lease: Duration::from_secs(60),
    };
    store.sign_in(&sign_in).await.expect("a sign-in")
}

async fn submit(store: &Store, job: NewJob) -> JobId {
    store.create(&[job], true).await.expect("a submit")[0].id
}

async fn claim(store: &Store, session: &Session, taken: Vec<JobId>, want: usize) -> Vec<Claimed> {
    let claim = Claim { lane: lane(), taken, want, low_first: false };
    store.exchange(session, &[], Some(&claim)).await.expect("a claim").jobs
}

fn finished(job: &Claimed) -> Finish {
    let outcome = Outcome::Finished { output: "42".into() };
    Finish { id: job.id, attempt: job.attempt, outcome, jitter: 0.0 }
}

async fn next(work: &mut Work) -> JobId {
    timeout(LIMIT, work.next()).await.expect("an id in time").expect("an id")
}

async fn told(control: &mut Control) -> ControlMessage {
    timeout(LIMIT, control.next()).await.expect("a message in time")
}

async fn assert_ends(watch: &mut Watch, longest: Duration) {
    let begin = Instant::now();
    assert!(watch.ended(LIMIT).await, "the end of the job was not heard");
    assert!(begin.elapsed() <= longest, "it took {:?}", begin.elapsed());
}

#[tokio::test]
async fn an_idle_runner_is_woken_by_every_list_of_its_lane() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let mut work = store.wait_for_work(&session, &lane());
    for priority in [Priority::Normal, Priority::High, Priority::Low] {
        let waiting = tokio::spawn(async move {
            let id = next(&mut work).await;
            (work, id)
        });
        let id = submit(&store, NewJob { priority, ..osis() }).await;
        let (back, woken) = waiting.await.expect("a wait");
        work = back;
        assert_eq!(woken, id);
        let jobs = claim(&store, &session, vec![id], 1).await;
        assert_eq!(jobs[0].id, id);
        store.exchange(&session, &[finished(&jobs[0])], None).await.expect("a finish");
    }
}

#[tokio::test]
async fn one_job_wakes_one_runner() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let (one, two) = (sign_in(&store, "r1").await, sign_in(&store, "r2").await);
    let (mut first, mut second) = (store.wait_for_work(&one, &lane()), store.wait_for_work(&two, &lane()));
    let submitting = store.clone();
    let mut woken = Vec::new();
    let submitted = tokio::spawn(async move {
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(submit(&submitting, osis()).await);
        }
        ids
    });
    while woken.len() < 20 {
        tokio::select! {
            id = next(&mut first) => woken.push(id),
            id = next(&mut second) => woken.push(id),
        }
    }
    let mut submitted = submitted.await.expect("the submits");
    woken.sort_unstable();
    submitted.sort_unstable();
    assert_eq!(woken, submitted);
}

#[tokio::test]
async fn an_id_that_was_moved_when_nobody_waited_any_more_goes_back() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let mut work = store.wait_for_work(&session, &lane());
    let mut redis = server.connection().expect("a connection");
    let is_blocked = |redis: &mut redis::Connection| {
        let info: String = redis::cmd("INFO").arg("clients").query(redis).expect("info");
        info.contains("blocked_clients:3")
    };
    {
        let wait = work.next();
        tokio::pin!(wait);
        while !is_blocked(&mut redis) {
            let _ = timeout(Duration::from_millis(5), &mut wait).await;
        }
    }
    let id = submit(&store, osis()).await;
    assert_eq!(timeout(LIMIT, work.moved()).await.expect("an id"), id);
    assert_eq!(claim(&store, &session, vec![id], 0).await, vec![]);
    let queued: Vec<String> = redis.lrange("hero:q:work:type:osis", 0, -1).expect("a queue");
    assert_eq!(queued, [id.to_string()]);
    assert_eq!(store.queue_depths().await.expect("depths").iter().map(|it| it.waiting).sum::<u64>(), 1);
}

#[tokio::test]
async fn a_runner_is_told_to_stop_jobs_and_to_drain() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let mut control = store.control(&session);
    let (first, second) = (submit(&store, osis()).await, submit(&store, osis()).await);
    claim(&store, &session, vec![], 2).await;
    assert_eq!(store.stop(first, None).await.expect("a stop"), Stopped::Asked(session.runner.clone()));
    assert_eq!(told(&mut control).await, ControlMessage::Stop(first));
    store.delete(second, None).await.expect("a delete");
    assert_eq!(told(&mut control).await, ControlMessage::Stop(second));
    store.drain(&session.runner, true).await.expect("a drain");
    assert_eq!(told(&mut control).await, ControlMessage::Drain(true));
    let renewed = store.renew(&session, 2, &[first, second]).await.expect("a renewal");
    assert!(renewed.draining);
    let mut stop = renewed.stop;
    stop.sort_unstable();
    let mut both = vec![first, second];
    both.sort_unstable();
    assert_eq!(stop, both, "what was said is said again");
}

#[tokio::test]
async fn every_kind_of_end_is_heard_at_once() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let waits = Waits::start(store.clone(), CancellationToken::new());
    let ids: Vec<JobId> = (0..4).map(|_| JobId::mint()).collect();
    let mut watches: Vec<Watch> = ids.iter().map(|id| waits.watch(*id)).collect();
    let mut again = waits.watch(ids[0]);
    let jobs: Vec<NewJob> = ids.iter().map(|id| NewJob { id: Some(*id), ..osis() }).collect();
    store.create(&jobs, true).await.expect("a submit");
    let claimed = claim(&store, &session, vec![], 2).await;
    let outcome = Outcome::Failed { kind: ErrorKind::ScriptFailed, error: "it broke".into(), output: None };
    let failed = Finish { outcome, ..finished(&claimed[1]) };
    store.exchange(&session, &[finished(&claimed[0]), failed], None).await.expect("reports");
    store.stop(ids[2], None).await.expect("a stop");
    store.delete(ids[3], None).await.expect("a delete");
    for watch in &mut watches {
        // A look would come after two seconds.
        assert_ends(watch, Duration::from_millis(1_500)).await;
    }
    assert_ends(&mut again, Duration::ZERO + Duration::from_millis(100)).await;
    let mut late = waits.watch(ids[0]);
    assert_ends(&mut late, LIMIT).await;
}

#[tokio::test]
async fn an_end_that_nobody_announced_is_found_by_a_look() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let waits = Waits::start(store.clone(), CancellationToken::new());
    let id = JobId::mint();
    let mut watch = waits.watch(id);
    store.create(&[NewJob { id: Some(id), ..osis() }], true).await.expect("a submit");
    assert!(!watch.ended(Duration::from_millis(20)).await);
    let mut redis = server.connection().expect("a connection");
    let popped: String = redis.lpop("hero:q:work:type:osis", None).expect("an id");
    let fields = [("output", "42"), ("status", "Finished")];
    redis.hset_multiple::<_, _, _, ()>(format!("hero:job:{popped}"), &fields).expect("an actor's report");
    assert_ends(&mut watch, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn events_are_passed_on_to_subscribers() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    let waits = Waits::start(store.clone(), CancellationToken::new());
    let mut events = waits.events();
    // The reader finds its place first: what it hears is what comes then.
    let mut heard = Vec::new();
    let begin = Instant::now();
    while heard.is_empty() {
        assert!(begin.elapsed() < LIMIT);
        let id = submit(&store, osis()).await;
        if let Ok(Ok(event)) = timeout(Duration::from_millis(50), events.recv()).await {
            heard.push((event.kind, event.jobs.clone(), id));
        }
    }
    assert_eq!(heard[0].0, JobEventKind::Queued);
    assert_eq!(heard[0].1.len(), 1);
}

#[tokio::test]
async fn redis_goes_away_and_comes_back() {
    let mut server = RedisServer::start_durable().expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let waits = Waits::start(store.clone(), CancellationToken::new());
    let mut work = store.wait_for_work(&session, &lane());
    let mut control = store.control(&session);
    let first = JobId::mint();
    let mut watch = waits.watch(first);
    store.create(&[NewJob { id: Some(first), ..osis() }], true).await.expect("a submit");
    assert_eq!(next(&mut work).await, first);
    let waiting = tokio::spawn(async move { next(&mut work).await });

    server.kill();
    for _ in 0..3 {
        let begin = Instant::now();
        let error = store.status(first, None).await.expect_err("nobody answers");
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(2), "a call fails fast");
    }
    server.restart().expect("redis again");
    let back = || async { store.status(first, None).await.is_ok_and(|it| it == JobStatus::Dispatched) };
    eventually("calls work again", LIMIT, back).await;

    let jobs = claim(&store, &session, vec![first], 1).await;
    store.exchange(&session, &[finished(&jobs[0])], None).await.expect("a finish");
    assert_ends(&mut watch, LIMIT).await;
    let second = submit(&store, osis()).await;
    assert_eq!(waiting.await.expect("a wait"), second);
    store.drain(&session.runner, true).await.expect("a drain");
    assert_eq!(told(&mut control).await, ControlMessage::Drain(true));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_holds_nobody_for_long() {
    let server = RedisServer::start().expect("redis");
    let mut config = RedisConfig::at(server.url().parse().expect("an address"));
    config.response_timeout_ms = 200;
    let store = Store::connect(&config).expect("a store");
    let id = submit(&store, osis()).await;
    server.freeze().expect("a freeze");
    let begin = Instant::now();
    let error = store.get(id, None).await.expect_err("nobody answers");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    server.thaw().expect("a thaw");
    eventually("calls work again", LIMIT, || async { store.get(id, None).await.is_ok() }).await;
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_unavailable_and_named_without_password() {
    let config = RedisConfig::at("redis://hero:hunter2@127.0.0.1:1".parse().expect("an address"));
    let store = Store::connect(&config).expect("a store");
    let error = store.check().await.expect_err("nobody is there");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("redis://127.0.0.1:1") && !source.contains("hunter2"), "{source}");
    assert!(matches!(error, Error::Unavailable { .. }));
}

/// How often Redis was asked for a command.
fn calls(redis: &mut redis::Connection, command: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query(redis).expect("commandstats");
    let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or_default();
    let calls = line.split_once("calls=").and_then(|(_, rest)| rest.split(',').next());
    calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn scripts_are_functions_and_loaded_again_when_they_were_forgotten() {
    let server = RedisServer::start().expect("redis");
    let store = connect(&server);
    submit(&store, osis()).await;
    let mut redis = server.connection().expect("a connection");
    redis::cmd("FUNCTION").arg("FLUSH").exec(&mut redis).expect("a flush");
    submit(&store, osis()).await;
    assert_eq!(store.clear(None).await.expect("a clear"), 2);
    assert!(calls(&mut redis, "fcall") >= 5 && calls(&mut redis, "evalsha") == 0);
}

#[tokio::test]
async fn a_redis_without_functions_runs_the_scripts_by_their_hash() {
    let old = RedisServer::start_with(&["--rename-command", "FCALL", ""]).expect("redis");
    // One whose rules let us load none.
    let strict = RedisServer::start().expect("redis");
    let mut redis = strict.connection().expect("a connection");
    redis::cmd("ACL").arg(&["SETUSER", "default", "-function"]).exec(&mut redis).expect("a rule");
    for server in [old, strict] {
        let store = connect(&server);
        submit(&store, osis()).await;
        let mut redis = server.connection().expect("a connection");
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis).expect("a flush");
        submit(&store, osis()).await;
        assert_eq!(store.clear(None).await.expect("a clear"), 2);
        assert!(calls(&mut redis, "evalsha") >= 3);
    }
}

#[tokio::test]
async fn a_full_redis_takes_no_new_jobs_and_lets_those_that_run_end() {
    let server = RedisServer::start_with(&["--save", "", "--maxmemory", "20mb"]).expect("redis");
    let store = connect(&server);
    let session = sign_in(&store, "r1").await;
    let running = submit(&store, osis()).await;
    let jobs = claim(&store, &session, vec![], 1).await;
    let waiting = submit(&store, osis()).await;
    for script_bytes in [100_000, 10_000, 6] {
        let jobs = vec![NewJob::new(ScriptType::Osis, "x".repeat(script_bytes)); 10];
        let error = loop {
            if let Err(error) = store.create(&jobs, true).await {
                break error;
            }
        };
        assert!(matches!(error, Error::Full), "{error:?}");
    }
    store.exchange(&session, &[finished(&jobs[0])], None).await.expect("a finish");
    assert_eq!(store.status(running, None).await.expect("a job"), JobStatus::Finished);
    let jobs = claim(&store, &session, vec![], 1).await;
    assert_eq!(jobs[0].id, waiting, "waiting jobs can still be claimed");
    store.clear(None).await.expect("a clear");
    submit(&store, osis()).await;
}

#[tokio::test]
async fn a_full_redis_is_told_as_such_by_one_command_and_by_several() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]).expect("redis");
    let link = Link::open(&RedisConfig::at(server.url().parse().expect("an address"))).expect("a link");
    let mut several = pipe();
    several.cmd("DEL").arg("a").ignore().cmd("SET").arg("a").arg("b").ignore();
    let mut transaction = several.clone();
    transaction.atomic();
    let errors = [
        link.call::<()>(cmd("SET").arg("a").arg("b")).await,
        link.call_all::<()>(&several).await,
        link.call_all::<()>(&transaction).await,
    ];
    for error in errors {
        assert!(matches!(error, Err(hero_redis::Error::Full { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn an_unfit_redis_is_refused_with_the_reason() {
    let lossy = RedisServer::start_with(&["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]);
    let lossy = lossy.expect("redis");
    let error = connect(&lossy).check().await.expect_err("it would drop jobs").to_string();
    assert!(error.contains("noeviction") && error.contains("allkeys-lru"), "{error}");

    let replica = RedisServer::start().expect("redis");
    let mut redis = replica.connection().expect("a connection");
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut redis).expect("a replica");
    let error = connect(&replica).check().await.expect_err("it takes no writes").to_string();
    assert!(error.contains("replica") && error.contains("127.0.0.1:1"), "{error}");
    let error = connect(&replica).create(&[osis()], true).await.expect_err("it takes no writes");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");

    let forgetful = RedisServer::start().expect("redis");
    let fitness = connect(&forgetful).check().await.expect("it is fit");
    assert!(fitness.warnings.iter().any(|it| it.contains("persistence is off")), "{fitness:?}");
    let durable = RedisServer::start_durable().expect("redis");
    let fitness = connect(&durable).check().await.expect("it is fit");
    assert_eq!(fitness.warnings, Vec::<String>::new());
    assert!(fitness.version.starts_with(|first: char| first.is_ascii_digit()), "{fitness:?}");
}
