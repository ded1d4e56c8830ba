//! Producers and actors that know nothing but Redis: what they may rely on, and what they cannot break.

use hero_domain::{ErrorKind, JobFilter, JobId, JobStatus, NewJob, ScriptType};
use hero_store::{Claim, JobStore, Lane, Stopped};
use redis::{Commands, Connection};

use crate::{
    redis_store::OnRedis,
    world::{LEASE_MS, World, at, circle, claim, ids, osis, osis_lane},
};

const OSIS: &str = "hero:q:work:type:osis";

async fn world() -> World<OnRedis> {
    World::<OnRedis>::open().await
}

/// What a producer does that only knows the hash and the queue.
fn produce(redis: &mut Connection, queue: &str, fields: &[(&str, &str)]) -> JobId {
    let id = JobId::mint();
    redis.hset_multiple::<_, _, _, ()>(format!("hero:job:{id}"), fields).unwrap();
    redis.rpush::<_, _, ()>(queue, id.to_string()).unwrap();
    id
}

#[tokio::test]
async fn a_hash_and_an_id_in_a_queue_are_a_job() {
    let w = world().await;
    let id = produce(&mut w.fixture().behind(), OSIS, &[("script", "40 + 2"), ("script_type", "OSIS")]);
    assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
    w.advance(10).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    let plain = osis();
    assert_eq!((claimed.id, claimed.attempt, claimed.script.as_str()), (id, 1, "40 + 2"));
    assert_eq!((&claimed.caller_id, &claimed.context_id), (&plain.caller_id, &plain.context_id));
    let job = w.job(id).await;
    assert_eq!((job.status, job.created_at), (JobStatus::Started, at(10)), "it is known from its claim on");
    assert_eq!(w.list(&JobFilter::default()).await.unwrap().ids, [id]);
    w.finish(&runner, &claimed).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("42")));
    w.delete(id, None).await.unwrap();
    assert_eq!(w.list(&JobFilter::default()).await.unwrap().ids, []);
}

#[tokio::test]
async fn any_spelling_and_strange_values_are_taken() {
    let w = world().await;
    let fields = [
        ("script", "print(1)"),
        ("script_type", "Python"),
        ("status", "Dispatched"),
        ("timeout", "soon"),
        ("env_vars", "no object"),
        ("priority", "urgent"),
        ("caller_id", "mia"),
        ("color", "blue"),
    ];
    let id = produce(&mut w.fixture().behind(), "hero:q:work:type:python", &fields);
    let runner = w.runner("a").await;
    let lane = Lane { script_type: ScriptType::Python, circle: None };
    let answer = w.ask(&runner, &Claim { lane, ..claim(1) }).await;
    let job = &answer.jobs[0];
    assert_eq!((job.id, job.script_type, job.caller_id.as_str()), (id, ScriptType::Python, "mia"));
    assert_eq!(job.timeout.as_secs(), u64::from(osis().timeout_s));
    assert!(job.env_vars.is_empty());
    w.finish(&runner, job).await;
    assert_eq!(w.job(id).await.status, JobStatus::Finished);
}

#[tokio::test]
async fn a_job_from_outside_fails_stops_and_is_lost_like_any_other() {
    let w = world().await;
    let runner = w.runner("a").await;
    let produce = || produce(&mut w.fixture().behind(), OSIS, &[("script", "1"), ("script_type", "osis")]);
    let failing = produce();
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    w.assert_failed(failing, ErrorKind::ScriptFailed).await;
    let stopped = produce();
    assert_eq!(w.stop(stopped, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(stopped, ErrorKind::Stopped).await;
    let lost = produce();
    for _ in 0..osis().max_deliveries {
        let runner = w.runner("b").await;
        assert_eq!(ids(&w.claim(&runner, 5).await), [lost]);
        w.advance(LEASE_MS + 1).await;
        w.settle().await;
    }
    w.assert_failed(lost, ErrorKind::RunnerLost).await;
    let failed = JobFilter { status: Some(JobStatus::Error), ..JobFilter::default() };
    assert_eq!(w.list(&failed).await.unwrap().ids.len(), 3, "all of them are listed");
}

#[tokio::test]
async fn an_actor_that_pops_and_writes_back_is_heard() {
    let w = world().await;
    let id = w.submit(osis()).await;
    {
        let mut redis = w.fixture().behind();
        let popped: (String, String) = redis.blpop(OSIS, 1.0).unwrap();
        assert_eq!(popped, (OSIS.to_owned(), id.to_string()));
        let key = format!("hero:job:{id}");
        let script: String = redis.hget(&key, "script").unwrap();
        assert_eq!(script, "40 + 2");
        let kind: String = redis.hget(&key, "script_type").unwrap();
        assert_eq!(kind, "osis");
        redis.hset::<_, _, _, ()>(&key, "status", "Started").unwrap();
    }
    assert_eq!(w.status_of(id).await, JobStatus::Started);
    {
        let mut redis = w.fixture().behind();
        let fields = [("output", "42"), ("status", "Finished")];
        redis.hset_multiple::<_, _, _, ()>(format!("hero:job:{id}"), &fields).unwrap();
    }
    let job = w.job(id).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("42")));
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::AlreadyEnded);
    let after = w.submit(NewJob { prerequisites: vec![id], ..osis() }).await;
    assert_eq!(w.queued().await, [after], "its output counts as that of any other");
    w.delete(id, None).await.unwrap();
    assert!(w.status(id, None).await.is_err());
}

#[tokio::test]
async fn an_end_that_an_actor_wrote_reaches_those_that_wait_for_it() {
    let w = world().await;
    let (good, bad) = (w.submit(osis()).await, w.submit(osis()).await);
    let released = w.submit(NewJob { prerequisites: vec![good], ..osis() }).await;
    let failed = w.submit(NewJob { prerequisites: vec![good, bad], ..osis() }).await;
    let chained = w.submit(NewJob { prerequisites: vec![failed], ..osis() }).await;
    {
        let mut redis = w.fixture().behind();
        for (id, status) in [(good, "Finished"), (bad, "Error")] {
            redis.lpop::<_, ()>(OSIS, None).unwrap();
            redis.hset::<_, _, _, ()>(format!("hero:job:{id}"), "status", status).unwrap();
        }
    }
    // Each wait for each prerequisite is one: two for the good one, one for the bad, one for the chain.
    assert_eq!(w.settle().await.released, 4);
    assert_eq!(w.queued().await, [released]);
    w.assert_failed(failed, ErrorKind::PrerequisiteFailed).await;
    w.assert_failed(chained, ErrorKind::PrerequisiteFailed).await;
}

#[tokio::test]
async fn the_older_queue_of_a_circle_is_drained_too() {
    let w = world().await;
    let circle = circle();
    let queue = format!("rhai_tasks:{circle}");
    let fields = [("script", "1"), ("script_type", "OSIS"), ("context_id", circle.as_str())];
    let id = produce(&mut w.fixture().behind(), &queue, &fields);
    let runner = w.runner("a").await;
    let lane = Lane { circle: Some(circle), ..osis_lane() };
    assert_eq!(ids(&w.ask(&runner, &Claim { lane, ..claim(5) }).await.jobs), [id]);
}

#[tokio::test]
async fn rubbish_in_a_queue_is_dropped_and_holds_nobody_up() {
    let w = world().await;
    let good = w.submit(osis()).await;
    {
        let mut redis = w.fixture().behind();
        let named = "hero:job:not-a-uuid";
        redis.hset_multiple::<_, _, _, ()>(named, &[("script", "1"), ("script_type", "osis")]).unwrap();
        let (no_hash, string, list) = (JobId::mint(), JobId::mint(), JobId::mint());
        redis.set::<_, _, ()>(format!("hero:job:{string}"), "a string").unwrap();
        redis.rpush::<_, _, ()>(format!("hero:job:{list}"), "a list").unwrap();
        let rubbish = [
            no_hash.to_string(),
            "not-a-uuid".to_owned(),
            String::new(),
            string.to_string(),
            list.to_string(),
        ];
        for id in rubbish {
            redis.lpush::<_, _, ()>(OSIS, &id).unwrap();
            redis.rpush::<_, _, ()>(OSIS, &id).unwrap();
        }
    }
    let last = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let answer = w.ask(&runner, &claim(20)).await;
    assert_eq!((ids(&answer.jobs), answer.drained), (vec![good, last], true));
    for job in &answer.jobs {
        w.finish(&runner, job).await;
    }
    let left: usize = w.fixture().behind().llen(OSIS).unwrap();
    assert_eq!(left, 0);
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    assert_eq!(w.places().await, Default::default());
}

#[tokio::test]
async fn rubbish_in_a_runners_hands_is_dropped_when_it_is_lost() {
    let w = world().await;
    let good = w.submit(osis()).await;
    w.runner("a").await;
    {
        let mut redis = w.fixture().behind();
        let string = JobId::mint();
        redis.set::<_, _, ()>(format!("hero:job:{string}"), "a string").unwrap();
        for id in [string.to_string(), "not-a-uuid".to_owned(), JobId::mint().to_string()] {
            redis.rpush::<_, _, ()>("hero:q:inflight:a", id).unwrap();
        }
    }
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    let left: usize = w.fixture().behind().llen("hero:q:inflight:a").unwrap();
    assert_eq!(left, 0);
    assert_eq!(w.queued().await, [good]);
}

#[tokio::test]
async fn a_caller_that_pops_the_reply_gets_it_once() {
    let w = world().await;
    let produce = || produce(&mut w.fixture().behind(), OSIS, &[("script", "1"), ("script_type", "osis")]);
    let jobs = [produce(), produce(), produce()];
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    w.stop(jobs[2], None).await.unwrap();
    let ours = w.submit(osis()).await;
    w.run_next(&runner).await;
    let mut redis = w.fixture().behind();
    for (id, status) in jobs.iter().zip(["finished", "error", "error"]) {
        let key = format!("hero:q:reply:{id}");
        let left_s: i64 = redis.ttl(&key).unwrap();
        assert!((1..=60).contains(&left_s), "{left_s}");
        let replies: Vec<String> = redis.lrange(&key, 0, -1).unwrap();
        assert_eq!(replies, [status]);
    }
    let is_there: bool = redis.exists(format!("hero:q:reply:{ours}")).unwrap();
    assert!(!is_there, "nobody waits for the reply of a job that was made through us");
}

/// What the stream of events says: kind and ids.
fn events(redis: &mut Connection) -> Vec<(String, String)> {
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("hero:events").arg("-").arg("+").query(redis).unwrap();
    let pair = |fields: Vec<String>| match <[String; 4]>::try_from(fields) {
        Ok([k, kind, ids, text]) if k == "k" && ids == "ids" => (kind, text),
        other => panic!("{other:?}"),
    };
    entries.into_iter().map(|(_, fields)| pair(fields)).collect()
}

#[tokio::test]
async fn every_change_of_state_is_announced_once_a_call_and_kind() {
    let w = world().await;
    let jobs = w.submit_many(3).await;
    let waiting = w.submit(NewJob { prerequisites: vec![jobs[0]], ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim(&runner, 2).await;
    w.finish(&runner, &claimed[0]).await;
    w.fail(&runner, &claimed[1], ErrorKind::ScriptFailed).await;
    w.delete(jobs[2], None).await.unwrap();
    let mut told = events(&mut w.fixture().behind());
    let all = format!("{} {} {}", jobs[0], jobs[1], jobs[2]);
    let mut expected = vec![
        ("queued", all),
        ("waiting", waiting.to_string()),
        ("started", format!("{} {}", jobs[0], jobs[1])),
        ("finished", jobs[0].to_string()),
        ("queued", waiting.to_string()),
        ("failed", jobs[1].to_string()),
        ("deleted", jobs[2].to_string()),
    ];
    // The kinds of one call come in any order.
    expected.sort_unstable();
    told.sort_unstable();
    let told: Vec<(&str, String)> = told.iter().map(|(kind, ids)| (kind.as_str(), ids.clone())).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_small_waiting_job_costs_at_most_600_bytes() {
    let w = world().await;
    let used = || -> usize {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut *w.fixture().behind()).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a figure");
        line.parse().unwrap()
    };
    // A thousand first, so that fixed costs and growing tables are not counted.
    w.submit_many(1_000).await;
    let before = used();
    for _ in 0..20 {
        w.submit_many(1_000).await;
    }
    let each = (used() - before) / 20_000;
    assert!(each <= 600, "{each} bytes a job");
}
