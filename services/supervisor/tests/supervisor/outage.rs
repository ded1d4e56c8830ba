//! Redis away, back, or not fit: what callers and `/readyz` are told, and that all comes back by itself.

use std::time::{Duration, Instant};

use hero_domain::{ErrorCode, JobStatus, Reason, ports::Jobs as _};
use hero_store::JobStore as _;
use hero_testing::RedisServer;

use crate::node::{Node, PATIENCE, caller, get, job, submit, until};

#[tokio::test]
async fn while_redis_is_away_calls_fail_fast_and_afterwards_all_is_there_again() {
    let mut node = Node::over(RedisServer::start_durable().unwrap(), |_| {}).await;
    node.ready().await;
    let id = submit(&node, job("1")).await;
    let jobs = node.jobs();
    let wait = tokio::spawn(async move { jobs.wait(&caller(), id, None).await });
    node.is_waited_on().await;

    node.redis.kill();
    tokio::time::timeout(PATIENCE, node.health.wait(false)).await.expect("it says that it is not ready");
    assert!(node.words().contains("redis"), "{}", node.words());
    let begun = Instant::now();
    for error in [
        node.jobs().submit(&caller(), vec![job("2")]).await.unwrap_err(),
        node.jobs().get(&caller(), id).await.unwrap_err(),
        node.jobs().run(&caller(), job("3"), None).await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.reason()), (ErrorCode::Unavailable, Reason::StoreUnavailable));
        assert!(error.retry_after_ms().is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

    node.redis.restart().unwrap();
    node.ready().await;
    assert_eq!(get(&node, id).await.status, JobStatus::Dispatched);
    let hand = node.shared_hand().await;
    let claimed = hand.take().await;
    hand.finish(&claimed, "after all").await;
    let ended = tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    assert_eq!(ended.output.as_deref(), Some("after all"), "the wait has lasted");
    node.stop().await;
}

#[tokio::test]
async fn new_jobs_are_refused_before_redis_is_full_and_taken_when_there_is_room() {
    let node = Node::start().await;
    let id = submit(&node, job("1")).await;
    let mut redis = node.redis.connection().unwrap();
    // So that a few percent are room enough for what this test does. Redis makes it itself: a client that sent so much
    // would have a buffer as large, which is counted now and gone in two seconds.
    redis::cmd("SETRANGE").arg("ballast").arg((50 << 20) - 1).arg("x").exec(&mut redis).unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query(&mut redis).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok());
    let mut limit = |bytes: u64| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec(&mut redis).unwrap();
    };
    limit(used.unwrap() / 97 * 100);
    let error =
        until("new jobs are refused", || async { node.jobs().submit(&caller(), vec![job("2")]).await.err() })
            .await;
    assert_eq!((error.code(), error.reason()), (ErrorCode::Exhausted, Reason::StoreFull));
    assert!(error.retry_after_ms().is_some() && error.field().is_none(), "{error:?}");
    let error = node.jobs().run(&caller(), job("2"), None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreFull);
    node.store.create(&[job("3")], true).await.expect("redis itself has room: for those that are there");
    assert_eq!(get(&node, id).await.status, JobStatus::Dispatched);
    node.jobs().stop(&caller(), id).await.unwrap();
    limit(0);
    until("new jobs are taken", || async { node.jobs().submit(&caller(), vec![job("4")]).await.ok() }).await;
    node.stop().await;
}

#[tokio::test]
async fn a_context_keeps_as_many_bytes_as_it_may() {
    let node = Node::start_with(|config| config.jobs.max_context_bytes = 1_300).await;
    let first = submit(&node, job("1")).await;
    submit(&node, job("2")).await;
    for error in [
        node.jobs().create(&caller(), job("3")).await.unwrap_err(),
        node.jobs().submit(&caller(), vec![job("3")]).await.unwrap_err(),
        node.jobs().run(&caller(), job("3"), None).await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.reason()), (ErrorCode::Exhausted, Reason::ContextFull));
        assert!(error.message().contains("context default keeps 1202 bytes"), "{error}");
        assert!(error.retry_after_ms().is_some());
    }
    let words = node.jobs().explain(&caller(), first).await.unwrap().reasons().join("; ");
    assert!(words.contains("keeps 1202 of 1300 bytes"), "{words}");
    let hand = node.shared_hand().await;
    let claimed = hand.take().await;
    hand.finish(&claimed, "42").await;
    submit(&node, job("3")).await;
    let error = node.jobs().get(&caller(), first).await.unwrap_err();
    assert_eq!(error.reason(), Reason::JobNotFound, "it had ended, and made room");
    node.stop().await;
}

#[tokio::test]
async fn redis_may_come_later() {
    let mut redis = RedisServer::start().unwrap();
    redis.kill();
    let mut node = Node::over(redis, |_| {}).await;
    until("it says why it is not ready", || async { node.words().contains("redis.url").then_some(()) }).await;
    let error = node.jobs().clear(&caller()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (ErrorCode::Unavailable, Reason::StoreUnavailable));
    node.redis.restart().unwrap();
    node.ready().await;
    assert_eq!(node.jobs().clear(&caller()).await.unwrap(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_redis_that_may_forget_jobs_is_refused_until_it_is_set_right() {
    let redis =
        RedisServer::start_with(&["--save", "", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"])
            .unwrap();
    let node = Node::over(redis, |_| {}).await;
    until("it says what is wrong", || async { node.words().contains("noeviction").then_some(()) }).await;
    let error = node.jobs().submit(&caller(), vec![job("1")]).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (ErrorCode::Unavailable, Reason::StoreUnfit));
    assert!(error.message().contains("noeviction"), "{error}");

    let mut connection = node.redis.connection().unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("maxmemory-policy");
    set.clone().arg("noeviction").exec(&mut connection).unwrap();
    node.ready().await;
    submit(&node, job("1")).await;

    set.arg("volatile-ttl").exec(&mut connection).unwrap();
    tokio::time::timeout(PATIENCE, node.health.wait(false)).await.expect("it is looked at again and again");
    let error = node.jobs().submit(&caller(), vec![job("1")]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreUnfit);
    node.stop().await;
}

#[tokio::test]
async fn a_full_redis_takes_no_jobs_and_says_so() {
    let redis =
        RedisServer::start_with(&["--save", "", "--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let node = Node::over(redis.unwrap(), |_| {}).await;
    node.ready().await;
    let large = job(&"x".repeat(500_000));
    let error =
        until("redis is full", || async { node.jobs().create(&caller(), large.clone()).await.err() }).await;
    assert_eq!((error.code(), error.reason()), (ErrorCode::Exhausted, Reason::StoreFull));
    assert!(error.retry_after_ms().is_some());
    assert!(node.jobs().clear(&caller()).await.unwrap() > 0);
    until("there is room", || async { node.jobs().create(&caller(), job("1")).await.ok() }).await;
    node.stop().await;
}
