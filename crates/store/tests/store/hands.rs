//! Between the queue and the claim: what a runner has taken goes back to where it came from, whatever becomes of the
//! runner.

use hero_domain::JobId;
use hero_store::{Claim, JobStore, Lane, Session, SignIn, Strays};
use redis::Commands as _;

use crate::{
    redis_store::OnRedis,
    world::{LEASE_MS, World, circle, claim, ids, osis_lane, runner_id, signing_in},
};

fn circle_lane() -> Lane {
    Lane { circle: Some(circle()), ..osis_lane() }
}

fn circle_queue() -> String {
    format!("hero:q:work:type:osis:group:{}", circle())
}

/// The list of what runner `a` has taken from the circle's queue.
fn hand() -> String {
    format!("hero:q:inflight:a:group:{}", circle())
}

async fn circle_runner(w: &World<OnRedis>) -> Session {
    let sign_in = SignIn { circles: vec![circle()], ..signing_in("a", "a-1") };
    w.sign_in(&sign_in).await.expect("a sign-in")
}

/// What an outside producer does: it writes the hash, says nothing of a circle, and pushes the id.
fn produce(w: &World<OnRedis>) -> JobId {
    let id = JobId::mint();
    let mut redis = w.fixture().behind();
    let fields = [("script", "1"), ("script_type", "osis")];
    redis.hset_multiple::<_, _, _, ()>(format!("hero:job:{id}"), &fields).expect("a hash");
    redis.rpush::<_, _, ()>(circle_queue(), id.to_string()).expect("a queue");
    id
}

/// What the wait for work of the circle's lane does.
fn take(w: &World<OnRedis>) -> JobId {
    let mut take = redis::cmd("LMOVE");
    take.arg(circle_queue()).arg(hand()).arg("LEFT").arg("RIGHT");
    let id: String = take.query(&mut *w.fixture().behind()).expect("a queued job");
    id.parse().expect("a job id")
}

fn queue_of_the_circle(w: &World<OnRedis>) -> Vec<JobId> {
    let ids: Vec<String> = w.fixture().behind().lrange(circle_queue(), 0, -1).expect("a queue");
    ids.iter().map(|id| id.parse().expect("a job id")).collect()
}

#[tokio::test]
async fn the_wait_of_a_circles_lane_takes_into_a_list_of_its_own() {
    let w = World::<OnRedis>::open().await;
    let session = circle_runner(&w).await;
    let id = produce(&w);
    let mut work = w.wait_for_work(&session, &circle_lane());
    assert_eq!(work.next().await.unwrap(), id);
    let held: Vec<String> = w.fixture().behind().lrange(hand(), 0, -1).unwrap();
    assert_eq!(held, [id.to_string()]);
    let claimed = w.ask(&session, &Claim { lane: circle_lane(), taken: vec![id], ..claim(1) }).await.jobs;
    assert_eq!(ids(&claimed), [id]);
    let is_there: bool = w.fixture().behind().exists(hand()).unwrap();
    assert!(!is_there, "a claimed job stands with the others");
    assert_eq!(w.places().await.inflight[&runner_id("a")], [id]);
    w.finish(&session, &claimed[0]).await;
    assert_eq!(w.places().await, Default::default());
}

#[tokio::test]
async fn a_circles_job_from_outside_goes_back_to_its_queue_when_its_runner_dies_before_the_claim() {
    let w = World::<OnRedis>::open().await;
    circle_runner(&w).await;
    let (first, second) = (produce(&w), produce(&w));
    assert_eq!(take(&w), first);
    w.advance(LEASE_MS + 1).await;
    assert_eq!(w.settle().await.requeued, 1);
    assert_eq!(queue_of_the_circle(&w), [first, second]);
    assert_eq!(w.queued().await, [], "it is none of the shared pool");
}

#[tokio::test]
async fn a_circles_job_from_outside_goes_back_to_its_queue_when_it_is_beyond_what_is_wanted() {
    let w = World::<OnRedis>::open().await;
    let session = circle_runner(&w).await;
    let id = produce(&w);
    assert_eq!(take(&w), id);
    let nothing = Claim { lane: circle_lane(), taken: vec![id, id], ..claim(0) };
    assert_eq!(w.ask(&session, &nothing).await.jobs, []);
    assert_eq!(queue_of_the_circle(&w), [id]);
}

#[tokio::test]
async fn a_circles_job_whose_taking_was_not_heard_of_comes_back() {
    let w = World::<OnRedis>::open().await;
    let session = circle_runner(&w).await;
    let id = produce(&w);
    assert_eq!(take(&w), id);
    w.renew(&session, 0, &[]).await.unwrap();
    assert_eq!(queue_of_the_circle(&w), [], "the answer may still be on its way");
    w.renew(&session, 0, &[]).await.unwrap();
    assert_eq!(queue_of_the_circle(&w), [id]);
}

#[tokio::test]
async fn a_sign_out_gives_back_what_was_taken_from_a_circle() {
    let w = World::<OnRedis>::open().await;
    let session = circle_runner(&w).await;
    let id = produce(&w);
    assert_eq!(take(&w), id);
    w.sign_out(&session).await.unwrap();
    assert_eq!(queue_of_the_circle(&w), [id]);
}

async fn look_through_all(w: &World<OnRedis>) -> (u64, u64) {
    let (mut strays, mut found) = (Strays::default(), (0, 0));
    for _ in 0..100 {
        w.take_strays_back(&mut strays).await.expect("a look");
        found = (found.0 + strays.requeued, found.1 + strays.ended);
    }
    found
}

#[tokio::test]
async fn what_was_moved_to_a_runner_that_is_gone_is_found_and_put_back() {
    let w = World::<OnRedis>::open().await;
    let session = w.runner("a").await;
    let alive = w.runner("b").await;
    let jobs = w.submit_many(302).await;
    let held = w.taken(&alive).await;
    let of_circle = produce(&w);
    w.sign_out(&session).await.unwrap();
    for _ in 0..300 {
        w.taken(&session).await;
    }
    assert_eq!(take(&w), of_circle);
    assert_eq!(w.settle().await.requeued, 0, "no lease leads there");
    assert_eq!(look_through_all(&w).await, (301, 0));
    assert_eq!(w.queued().await, jobs[1..]);
    assert_eq!(queue_of_the_circle(&w), [of_circle]);
    assert_eq!(
        w.places().await.inflight[&runner_id("b")],
        [held],
        "what a living runner holds is left alone"
    );
}
