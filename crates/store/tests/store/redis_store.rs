//! The store on a private Redis, with a clock that the test moves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hero_domain::{JobId, JobStatus, Priority, RunnerId, ScriptType, Timestamp};
use hero_redis::RedisConfig;
use hero_store::{
    Lane, Store,
    model::{Places, QueueName},
};
use hero_testing::RedisServer;
use redis::Commands;

use crate::fixture::{BEGIN, Fixture};

const TEST_CLOCK: &str = "hero:meta:test_clock";
const SWEPT_AT: &str = "hero:meta:swept_at";
const QUEUE: &str = "hero:q:work:type:";
const INFLIGHT: &str = "hero:q:inflight:";

/// What Redis counts down by its own clock goes down by as much as the test moves its clock.
const AGE_KEYS: &str = "
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left - tonumber(ARGV[1])) end
end";

/// The real store, and a second connection to look behind it.
pub(crate) struct OnRedis {
    store: Store,
    behind: Mutex<redis::Connection>,
    /// Alive as long as the store.
    _server: RedisServer,
}

impl OnRedis {
    /// A connection that looks behind the store.
    pub(crate) fn behind(&self) -> MutexGuard<'_, redis::Connection> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins again: nothing is stored, and the clock stands at [`BEGIN`].
    pub(crate) fn reset(&self) {
        let mut behind = self.behind();
        redis::cmd("FLUSHALL").exec(&mut *behind).expect("nothing is stored");
        behind.set::<_, _, ()>(TEST_CLOCK, BEGIN.as_millis()).expect("a clock");
    }
}

impl Fixture for OnRedis {
    type Store = Store;

    async fn open() -> Self {
        let server = RedisServer::start().expect("a private redis-server");
        let behind = server.connection().expect("a connection");
        let config = RedisConfig::at(server.url().parse().expect("a socket's address"));
        let store = Store::connect_with_test_clock(&config).expect("a store");
        let this = Self { store, behind: Mutex::new(behind), _server: server };
        this.reset();
        this
    }

    fn store(&self) -> &Store {
        &self.store
    }

    async fn advance(&self, ms: i64) {
        self.lose(ms).await;
        let mut behind = self.behind();
        let now: i64 = behind.get(TEST_CLOCK).expect("a clock");
        redis::cmd("SET").arg(SWEPT_AT).arg(now).arg("XX").exec(&mut *behind).expect("a sweep is noted");
    }

    async fn lose(&self, ms: i64) {
        let mut behind = self.behind();
        behind.incr::<_, _, i64>(TEST_CLOCK, ms).expect("the clock moves");
        redis::cmd("EVAL").arg(AGE_KEYS).arg(0).arg(ms).exec(&mut *behind).expect("keys age");
    }

    async fn take(&self, runner: &RunnerId, lane: &Lane, priority: Priority) -> Option<JobId> {
        let mut from = format!("{QUEUE}{}", lane.script_type.as_key());
        if let Some(circle) = &lane.circle {
            from += &format!(":group:{circle}");
        }
        if priority != Priority::Normal {
            from += &format!(":{}", priority.as_key());
        }
        let mut lmove = redis::cmd("LMOVE");
        lmove.arg(from).arg(format!("{INFLIGHT}{runner}")).arg("LEFT").arg("RIGHT");
        let id: Option<String> = lmove.query(&mut *self.behind()).expect("a move");
        id.map(|id| id.parse().expect("a job id"))
    }

    async fn places(&self) -> Places {
        places(&mut self.behind())
    }
}

/// Where every job is that waits or runs; ids of jobs that are not (any more) what a list says are left out:
/// they are dropped when their turn comes.
pub(crate) fn places(redis: &mut redis::Connection) -> Places {
    let mut statuses = HashMap::new();
    let mut places = Places::default();
    let keys: Vec<String> = redis.keys("hero:q:*").expect("keys");
    for key in keys {
        if let Some(name) = key.strip_prefix(QUEUE) {
            let ids = living(redis, &key, &mut statuses, &[JobStatus::Dispatched]);
            if !ids.is_empty() {
                places.queues.insert(queue_name(name), ids);
            }
        } else if let Some(runner) = key.strip_prefix(INFLIGHT) {
            let ids = living(redis, &key, &mut statuses, &[JobStatus::Dispatched, JobStatus::Started]);
            if !ids.is_empty() {
                // What was taken from a circle's queue stands in a list beside the others.
                let runner = runner.split_once(":group:").map_or(runner, |(runner, _)| runner);
                places.inflight.entry(runner.parse().expect("a runner id")).or_default().extend(ids);
            }
        }
    }
    for key in redis.keys::<_, Vec<String>>("hero:q:parked:*").expect("keys") {
        // What was stopped stays as a tombstone in a long list, and has no mark any more.
        let mut ids = living(redis, &key, &mut statuses, &[JobStatus::Dispatched]);
        ids.retain(|id| {
            let marks: Option<String> = redis.hget(format!("hero:job:{id}"), "marks").expect("marks");
            marks.is_some_and(|marks| marks.contains('k'))
        });
        if !ids.is_empty() {
            places.parked.insert(key["hero:q:parked:".len()..].to_owned(), ids);
        }
    }
    for key in redis.keys::<_, Vec<String>>("hero:running:context:*").expect("keys") {
        let ids: Vec<String> = redis.zrange(&key, 0, -1).expect("a set");
        let ids = ids.iter().map(|id| id.parse().expect("a job id")).collect();
        places.admitted.insert(key["hero:running:context:".len()..].to_owned(), ids);
    }
    let delayed: BTreeMap<String, i64> = redis
        .zrange_withscores::<_, Vec<(String, i64)>>("hero:q:delayed", 0, -1)
        .expect("a set")
        .into_iter()
        .collect();
    for (id, due) in delayed {
        places.delayed.insert(id.parse().expect("a job id"), Timestamp::from_millis(due));
    }
    places
}

fn living(
    redis: &mut redis::Connection,
    list: &str,
    statuses: &mut HashMap<String, Option<JobStatus>>,
    expected: &[JobStatus],
) -> Vec<JobId> {
    let ids: Vec<String> = redis.lrange(list, 0, -1).expect("a list");
    let unread: Vec<&String> = ids.iter().filter(|id| !statuses.contains_key(*id)).collect();
    if !unread.is_empty() {
        let mut read = redis::pipe();
        for id in &unread {
            read.hget(format!("hero:job:{id}"), "status");
        }
        let found: Vec<Option<String>> = read.query(redis).expect("statuses");
        let found: Vec<_> =
            found.iter().map(|it| it.as_ref().map(|it| it.parse().expect("a status"))).collect();
        let unread: Vec<String> = unread.into_iter().cloned().collect();
        statuses.extend(unread.into_iter().zip(found));
    }
    let is_living = |id: &&String| statuses[*id].is_some_and(|status| expected.contains(&status));
    ids.iter().filter(is_living).map(|id| id.parse().expect("a job id")).collect()
}

/// `{type}[:group:{circle}][:high|:low]`
fn queue_name(text: &str) -> QueueName {
    let mut priority = Priority::Normal;
    let mut rest = text;
    for other in [Priority::High, Priority::Low] {
        if let Some(shorter) = rest.strip_suffix(&format!(":{}", other.as_key())) {
            (rest, priority) = (shorter, other);
        }
    }
    let (script_type, circle) = match rest.split_once(":group:") {
        Some((script_type, circle)) => (script_type, Some(circle.parse().expect("a circle's key"))),
        None => (rest, None),
    };
    (script_type.parse::<ScriptType>().expect("a script type"), circle, priority)
}
