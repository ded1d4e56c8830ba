//! Redis goes away, comes back, forgets its scripts, or is full: calls fail fast and in words, and everything
//! comes back by itself.

use std::time::{Duration, Instant};

use hero_domain::{ApiError, ErrorKind, JobId, JobStatus, NewJob, Reason};
use hero_redis::RedisConfig;
use hero_store::{Claim, Error, JobStore, Outcome, Stopped, Store, Waits};
use hero_testing::RedisServer;
use tokio_util::sync::CancellationToken;

use crate::world::{claim, finished, osis, osis_lane, report, signing_in};

const LIMIT: Duration = Duration::from_secs(30);

fn connect(server: &RedisServer) -> Store {
    Store::connect(&RedisConfig::at(server.url().parse().expect("an address"))).expect("a store")
}

fn is_away<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable { .. }))
}

/// Repeats a call until Redis is back, as a caller with patience does.
async fn until_back<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let begin = Instant::now();
    loop {
        match call().await {
            Err(Error::Unavailable { .. }) if begin.elapsed() < LIMIT => tokio::task::yield_now().await,
            answer => return answer.expect("Redis is back"),
        }
    }
}

#[tokio::test]
async fn while_redis_is_away_calls_fail_fast_and_afterwards_they_work() {
    let mut server = RedisServer::start_durable().unwrap();
    let store = connect(&server);
    let id = store.create(&[osis()], true).await.unwrap()[0].id;
    server.kill();
    let begin = Instant::now();
    let refusals = [
        is_away(&store.create(&[osis()], true).await),
        is_away(&store.get(id, None).await),
        is_away(&store.list(&Default::default()).await),
        is_away(&store.sweep().await),
        is_away(&store.check().await),
    ];
    assert_eq!(refusals, [true; 5]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let error = ApiError::from(store.get(id, None).await.unwrap_err());
    assert_eq!(error.reason(), Reason::StoreUnavailable);
    assert!(error.retry_after_ms().is_some());
    server.restart().unwrap();
    let job = until_back(async || store.get(id, None).await).await;
    assert_eq!(job.status, JobStatus::Dispatched, "what was acknowledged is there");
}

#[tokio::test]
async fn a_redis_that_forgot_the_scripts_gets_them_again() {
    let server = RedisServer::start().unwrap();
    let store = connect(&server);
    store.create(&[osis()], true).await.unwrap();
    redis::cmd("FUNCTION").arg("FLUSH").exec(&mut server.connection().unwrap()).unwrap();
    store.create(&[osis()], true).await.unwrap();
    assert_eq!(store.list(&Default::default()).await.unwrap().ids.len(), 2);
}

#[tokio::test]
async fn a_store_can_be_made_while_redis_is_away() {
    let mut server = RedisServer::start_durable().unwrap();
    server.kill();
    let store = connect(&server);
    assert!(is_away(&store.check().await));
    server.restart().unwrap();
    until_back(async || store.check().await).await;
}

#[tokio::test]
async fn a_wait_and_a_waiting_runner_outlive_a_restart() {
    let mut server = RedisServer::start_durable().unwrap();
    let store = connect(&server);
    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let waits = Waits::start(store.clone(), shutdown);
    let session = store.sign_in(&signing_in("a", "s")).await.unwrap();
    let mut work = store.wait_for_work(&session, &osis_lane());
    let a_moment = Duration::from_millis(50);
    assert!(tokio::time::timeout(a_moment, work.next()).await.is_err());
    let id = JobId::mint();
    let mut watch = waits.watch(id);
    assert!(!watch.ended(a_moment).await);
    server.kill();
    assert!(tokio::time::timeout(a_moment, work.next()).await.is_err());
    server.restart().unwrap();
    until_back(async || store.create(&[NewJob { id: Some(id), ..osis() }], true).await).await;
    let taken = tokio::time::timeout(LIMIT, work.next()).await.expect("work comes").unwrap();
    assert_eq!(taken, id);
    let wanted = Claim { taken: vec![taken], ..claim(1) };
    let jobs = store.exchange(&session, &[], Some(&wanted)).await.unwrap().jobs;
    store.exchange(&session, &[finished(&jobs[0], "42")], None).await.unwrap();
    assert!(watch.ended(LIMIT).await);
}

#[tokio::test]
async fn a_killed_redis_loses_nothing_that_was_acknowledged() {
    let mut server = RedisServer::start_durable().unwrap();
    let store = connect(&server);
    let created = store.create(&vec![osis(); 20], true).await.unwrap();
    let session = store.sign_in(&signing_in("a", "s")).await.unwrap();
    let jobs = store.exchange(&session, &[], Some(&claim(10))).await.unwrap().jobs;
    for job in &jobs[..5] {
        store.exchange(&session, &[finished(job, "42")], None).await.unwrap();
    }
    server.kill();
    server.restart().unwrap();
    let renewed = until_back(async || store.renew(&session, 5, &[]).await).await;
    assert_eq!(renewed.stop, []);
    for (n, created) in created.iter().enumerate() {
        let expected = match n {
            0..5 => JobStatus::Finished,
            5..10 => JobStatus::Started,
            _ => JobStatus::Dispatched,
        };
        assert_eq!(store.status(created.id, None).await.unwrap(), expected, "job {n}");
    }
    // A report that crossed the crash is repeated by its runner.
    let repeat = [finished(&jobs[4], "42"), finished(&jobs[5], "42")];
    assert_eq!(store.exchange(&session, &repeat, None).await.unwrap().refused, []);
}

#[tokio::test]
async fn a_full_redis_refuses_new_jobs_and_lets_all_others_end() {
    let server = RedisServer::start().unwrap();
    let store = connect(&server);
    let created = store.create(&vec![osis(); 6], true).await.unwrap();
    let ids: Vec<JobId> = created.iter().map(|it| it.id).collect();
    let session = store.sign_in(&signing_in("a", "s")).await.unwrap();
    let jobs = store.exchange(&session, &[], Some(&claim(3))).await.unwrap().jobs;
    let mut redis = server.connection().unwrap();
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).exec(&mut redis).unwrap();
    let refused = store.create(&[osis()], true).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    assert_eq!(ApiError::from(refused.unwrap_err()).reason(), Reason::StoreFull);

    // Running jobs keep their runner, and end; waiting ones are claimed, stopped and deleted.
    store.renew(&session, 3, &ids[..3]).await.unwrap();
    let failure =
        Outcome::Failed { kind: ErrorKind::ScriptFailed, error: "it broke".to_owned(), output: None };
    let reports = [finished(&jobs[0], "42"), report(&jobs[1], failure)];
    assert_eq!(store.exchange(&session, &reports, None).await.unwrap().refused, []);
    assert_eq!(store.stop(ids[2], None).await.unwrap(), Stopped::Asked(session.runner.clone()));
    let mut work = store.wait_for_work(&session, &osis_lane());
    let taken = tokio::time::timeout(LIMIT, work.next()).await.expect("a job is taken").unwrap();
    let wanted = Claim { taken: vec![taken], ..claim(1) };
    assert_eq!(store.exchange(&session, &[], Some(&wanted)).await.unwrap().jobs[0].id, ids[3]);
    assert_eq!(store.stop(ids[4], None).await.unwrap(), Stopped::Ended);
    store.drain(&session.runner, true).await.unwrap();
    store.sweep().await.unwrap();
    store.delete(ids[5], None).await.unwrap();
    store.sign_out(&session).await.unwrap();
    let mut statuses = Vec::new();
    for id in &ids[..5] {
        statuses.push(store.status(*id, None).await.unwrap());
    }
    use JobStatus::{Dispatched, Error as Failed, Finished};
    assert_eq!(statuses, [Finished, Failed, Failed, Dispatched, Failed]);
    assert_eq!(store.clear(None).await.unwrap(), 5);
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(0).exec(&mut redis).unwrap();
    store.create(&[osis()], true).await.unwrap();
}

#[tokio::test]
async fn an_unfit_redis_is_named() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).unwrap();
    let error = connect(&server).check().await.unwrap_err();
    assert!(matches!(&error, Error::Unfit(why) if why.contains("noeviction")), "{error:?}");
    assert_eq!(ApiError::from(error).reason(), Reason::StoreUnfit);
    let server = RedisServer::start().unwrap();
    let fitness = connect(&server).check().await.unwrap();
    assert!(fitness.warnings.iter().any(|warning| warning.contains("persistence is off")), "{fitness:?}");
}
