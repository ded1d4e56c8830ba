//! Feeds at the port: what is found unannounced, and who may not read any more.

use std::time::Duration;

use futures::StreamExt as _;
use hero_domain::{Caller, JobFilter, JobStatus, Reason, Watched, ports::Jobs as _};
use redis::Commands as _;

use crate::node::{Node, caller, job, submit};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes")
}

#[tokio::test]
async fn what_ends_without_an_event_or_writes_without_one_is_found() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let id = submit(&node, job("1")).await;
    let mut changes = node.jobs().watch(&caller(), Watched::Job(id), None).await.unwrap();
    let mut log = node.jobs().follow_logs(&caller(), id, None).await.unwrap();
    assert_eq!(within(changes.next()).await.unwrap().unwrap().kind, None);
    let claimed = hand.take().await;
    let mut redis = node.redis.connection().unwrap();
    let _: String =
        redis.xadd(format!("hero:job:{id}:logs"), "*", &[("stream", "log"), ("text", "outside")]).unwrap();
    let news = within(log.next()).await.unwrap().unwrap();
    assert_eq!(news.lines[0].text, "outside");
    let _: i64 = redis.hset(format!("hero:job:{}", claimed.id), "status", "finished").unwrap();
    let mut last = None;
    while let Some(change) = within(changes.next()).await {
        last = Some(change.unwrap());
    }
    assert_eq!(last.unwrap().job.unwrap().status, JobStatus::Finished);
    assert_eq!(within(log.next()).await.unwrap().unwrap().ended, Some(JobStatus::Finished));
    assert!(within(log.next()).await.is_none());
    node.stop().await;
}

#[tokio::test]
async fn a_feed_ends_with_the_right_to_read_it() {
    let circle = format!("02{}", "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let node = Node::start_with(|config| config.auth.circle_cache_ms = 0).await;
    let admin = Caller::local();
    let new = hero_domain::NewCircle {
        public_key: circle.clone(),
        members: Vec::new(),
        limits: hero_domain::CircleLimits::default(),
    };
    hero_domain::ports::Circles::add(&node.circles(), &admin, new).await.unwrap();
    let inside = Caller { circle: circle.parse().ok(), ..caller() };
    let mut feed = node.jobs().watch(&inside, Watched::Jobs(JobFilter::default()), None).await.unwrap();
    hero_domain::ports::Circles::remove(&node.circles(), &admin, &circle).await.unwrap();
    let error = within(feed.next()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::CircleUnknown);
    assert!(tokio::time::timeout(Duration::from_secs(5), feed.next()).await.unwrap().is_none());
    node.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_is_told_what_it_has_missed() {
    /// More than waits for a reader anywhere on its way.
    const BATCHES: usize = 20;
    /// More than are kept.
    const EVENTS: usize = 2_500;
    let node = Node::start().await;
    let jobs = node.jobs();
    let mut feed = jobs.watch(&caller(), Watched::Jobs(JobFilter::default()), None).await.unwrap();
    let mut wordy = job("1");
    wordy.caller_id = "c".repeat(200);
    for _ in 0..BATCHES {
        jobs.submit(&caller(), vec![wordy.clone(); 1_000]).await.unwrap();
    }
    let single = futures::stream::iter(0..EVENTS).map(async |_| jobs.create(&caller(), job("1")).await);
    single.buffer_unordered(32).for_each(async |created| assert!(created.is_ok(), "{created:?}")).await;
    let mut seen = 0;
    let error = loop {
        match within(feed.next()).await.expect("it is told") {
            Ok(_) => seen += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Reason::SubscriptionLagged, "{error}");
    assert!((1..BATCHES * 1_000).contains(&seen), "{seen}");
    assert!(within(feed.next()).await.is_none());
    node.stop().await;
}
