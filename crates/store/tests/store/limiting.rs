//! How many jobs of a context run at once: what is beyond is parked outside of the queues, and nothing of it is lost.

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Parked, ScriptType};
use hero_store::{Claim, JobStore, Lane, Session, SignIn};

use crate::{
    fixture::Fixture,
    redis_store::OnRedis,
    world::{LEASE_MS, World, circle, claim, finished, ids, of_context, osis, signing_in},
};

promises![
    what_is_beyond_the_limit_is_parked_and_others_pass,
    an_end_lets_the_next_one_out_behind_the_others,
    every_way_to_end_makes_room,
    parked_jobs_keep_their_order,
    a_parked_job_can_be_stopped_removed_and_started_again,
    a_taken_job_is_parked_too,
    a_limit_is_heard_of_with_a_renewal,
    a_higher_limit_lets_more_out_and_none_lets_all,
    a_circle_has_a_limit_of_its_own,
    what_nobody_serves_takes_no_place_for_ever,
    a_parked_job_says_why,
    a_limit_is_seen_at_the_runners,
];

/// A runner that has heard of the general limit.
async fn limited<F: Fixture>(w: &World<F>, most: u32) -> Session {
    w.limit_running(None, Some(most)).await.unwrap();
    w.runner("a").await
}

async fn submit_of<F: Fixture>(w: &World<F>, context: &str, count: usize) -> Vec<JobId> {
    let created = w.create(&vec![of_context(context); count], true).await.unwrap();
    created.into_iter().map(|created| created.id).collect()
}

async fn parked<F: Fixture>(w: &World<F>, context: &str) -> Vec<JobId> {
    w.places().await.parked.remove(context).unwrap_or_default()
}

async fn what_is_beyond_the_limit_is_parked_and_others_pass<F: Fixture>(w: World<F>) {
    let session = limited(&w, 2).await;
    let greedy = submit_of(&w, "greedy", 5).await;
    let modest = submit_of(&w, "modest", 1).await;
    let claimed = w.claim(&session, 4).await;
    assert_eq!(ids(&claimed), [greedy[0], greedy[1], modest[0]]);
    assert_eq!(parked(&w, "greedy").await, greedy[2..]);
    for id in &greedy[2..] {
        assert_eq!(w.status_of(*id).await, JobStatus::Dispatched);
    }
    assert!(w.ask(&session, &claim(4)).await.drained);
}

async fn an_end_lets_the_next_one_out_behind_the_others<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let greedy = submit_of(&w, "greedy", 3).await;
    let first = w.claim(&session, 3).await.pop().unwrap();
    let modest = submit_of(&w, "modest", 1).await;
    w.finish(&session, &first).await;
    assert_eq!(w.queued().await, [modest[0], greedy[1]]);
    assert_eq!(parked(&w, "greedy").await, [greedy[2]]);
    assert_eq!(ids(&w.claim(&session, 3).await), [modest[0], greedy[1]]);
}

async fn every_way_to_end_makes_room<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let all = w.create(&vec![NewJob { retries: 1, ..osis() }; 7], true).await.unwrap();
    let all: Vec<JobId> = all.into_iter().map(|created| created.id).collect();
    let mut next = w.claim(&session, 7).await.pop().unwrap();
    // With success; without; with another attempt to come; handed back; stopped; removed.
    for step in 0..5 {
        assert_eq!(next.id, all[step]);
        match step {
            0 => w.finish(&session, &next).await,
            1 => w.fail(&session, &next, ErrorKind::InvalidScript).await,
            2 => w.fail(&session, &next, ErrorKind::ScriptFailed).await,
            3 => {
                w.stop(next.id, None).await.unwrap();
                w.fail(&session, &next, ErrorKind::Stopped).await;
            }
            _ => w.delete(next.id, None).await.unwrap(),
        }
        assert_eq!(w.queued().await, [all[step + 1]], "step {step}");
        next = w.claim_one(&session).await;
    }
    // A lost runner's job keeps its place: it goes on.
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    assert_eq!(w.queued().await, [all[5], all[2]], "the second attempt of one is due by now");
    let session = w.runner("b").await;
    assert_eq!(ids(&w.claim(&session, 7).await), [all[5]]);
    assert_eq!(parked(&w, "default").await, [all[6], all[2]]);
}

async fn parked_jobs_keep_their_order<F: Fixture>(w: World<F>) {
    let session = limited(&w, 2).await;
    let all = w.submit_many(20).await;
    let mut running = w.claim(&session, 20).await;
    let mut ran = ids(&running);
    while let Some(job) = running.pop() {
        let answer = w.exchange(&session, &[finished(&job, "")], Some(&claim(8))).await.unwrap();
        ran.extend(ids(&answer.jobs));
        running.extend(answer.jobs);
        assert!(running.len() <= 2);
    }
    assert_eq!(ran, all);
    assert_eq!(w.places().await, Default::default());
}

async fn a_parked_job_can_be_stopped_removed_and_started_again<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let all = w.submit_many(4).await;
    let first = w.claim(&session, 4).await.pop().unwrap();
    w.stop(all[1], None).await.unwrap();
    w.delete(all[2], None).await.unwrap();
    assert_eq!(parked(&w, "default").await, [all[3]]);
    w.assert_failed(all[1], ErrorKind::Stopped).await;
    assert_eq!(w.retry(all[1], None).await.unwrap(), JobStatus::Dispatched);
    assert_eq!(w.claim(&session, 4).await, []);
    assert_eq!(parked(&w, "default").await, [all[3], all[1]]);
    w.finish(&session, &first).await;
    assert_eq!(w.run_next(&session).await, all[3]);
    assert_eq!(w.run_next(&session).await, all[1]);
}

async fn a_taken_job_is_parked_too<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let all = w.submit_many(2).await;
    w.claim_one(&session).await;
    let taken = vec![w.taken(&session).await];
    let answer = w.ask(&session, &Claim { taken, ..claim(1) }).await;
    assert_eq!(answer.jobs, []);
    let places = w.places().await;
    assert_eq!(places.inflight[&session.runner], [all[0]]);
    assert_eq!(places.parked["default"], [all[1]]);
}

async fn a_limit_is_heard_of_with_a_renewal<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    w.limit_running(None, Some(1)).await.unwrap();
    w.submit_many(4).await;
    let before = w.claim(&session, 2).await;
    assert_eq!(before.len(), 2, "it has not heard of it");
    w.renew(&session, 2, &ids(&before)).await.unwrap();
    // What began before does not count.
    assert_eq!(w.claim(&session, 2).await.len(), 1);
    for job in &before {
        w.finish(&session, job).await;
    }
    assert_eq!(w.claim(&session, 2).await, []);
}

async fn a_higher_limit_lets_more_out_and_none_lets_all<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let all = w.submit_many(6).await;
    w.claim(&session, 6).await;
    w.limit_running(None, Some(3)).await.unwrap();
    w.settle().await;
    assert_eq!(w.queued().await, all[1..3]);
    assert_eq!(ids(&w.claim(&session, 6).await), all[1..3]);
    w.limit_running(None, None).await.unwrap();
    w.settle().await;
    assert_eq!(w.queued().await, all[3..]);
    assert_eq!(ids(&w.claim(&session, 6).await), all[3..]);
}

async fn a_circle_has_a_limit_of_its_own<F: Fixture>(w: World<F>) {
    w.limit_running(None, Some(1)).await.unwrap();
    w.limit_running(Some(circle().as_str()), Some(2)).await.unwrap();
    w.limit_running(Some("free"), Some(0)).await.unwrap();
    let session = w.sign_in(&SignIn { circles: vec![circle()], ..signing_in("c", "c-1") }).await.unwrap();
    let of_circle = NewJob { circle: Some(circle()), ..of_context(circle().as_str()) };
    w.create(&vec![of_circle; 3], true).await.unwrap();
    let lane = Lane { script_type: ScriptType::Osis, circle: Some(circle()) };
    assert_eq!(w.ask(&session, &Claim { lane, ..claim(3) }).await.jobs.len(), 2);
    let session = w.runner("a").await;
    submit_of(&w, "free", 5).await;
    submit_of(&w, "bound", 5).await;
    assert_eq!(w.claim(&session, 10).await.len(), 5 + 1);
}

async fn what_nobody_serves_takes_no_place_for_ever<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let python = Lane { script_type: ScriptType::Python, circle: None };
    let script = NewJob::new(ScriptType::Python, "print(1)");
    let first = w.submit(NewJob { context_id: "default".to_owned(), ..script.clone() }).await;
    let running = w.ask(&session, &Claim { lane: python.clone(), ..claim(1) }).await.jobs.pop().unwrap();
    assert_eq!(running.id, first);
    let second = w.submit(NewJob { context_id: "default".to_owned(), ..script }).await;
    assert_eq!(w.ask(&session, &Claim { lane: python, ..claim(1) }).await.jobs, []);
    w.finish(&session, &running).await;
    // The second Python job is let out, and its runner goes. Its place is not kept for it for ever.
    w.sign_out(&session).await.unwrap();
    let osis_only = SignIn { script_types: vec![ScriptType::Osis], ..signing_in("b", "b-1") };
    let session = w.sign_in(&osis_only).await.unwrap();
    let other = w.submit(of_context("default")).await;
    assert_eq!(w.claim(&session, 1).await, []);
    for _ in 0..4 {
        w.advance(LEASE_MS - 1).await;
        w.renew(&session, 0, &[]).await.unwrap();
        w.settle().await;
    }
    assert_eq!(ids(&w.claim(&session, 1).await), [other]);
    assert_eq!(w.status_of(second).await, JobStatus::Dispatched);
}

async fn a_parked_job_says_why<F: Fixture>(w: World<F>) {
    let session = limited(&w, 1).await;
    let all = w.submit_many(3).await;
    w.claim(&session, 3).await;
    let why = w.explain(all[2], None).await.unwrap();
    let ahead = hero_domain::Ahead { jobs: 1, is_least: false };
    let context_id = "default".to_owned();
    assert_eq!(why.parked, Some(Parked { context_id, running: 1, limit: Some(1), ahead }));
    assert_eq!(why.ahead, None);
    assert_eq!(
        why.reasons(),
        ["parked: context default runs 1 of 1 jobs at once, and 1 of its jobs are parked before this one"]
    );
}

async fn a_limit_is_seen_at_the_runners<F: Fixture>(w: World<F>) {
    limited(&w, 7).await;
    let runner = w.runners().await.unwrap().pop().unwrap();
    assert_eq!(runner.max_running_per_context, Some(7));
    assert_eq!(runner.slots_by_type, [(ScriptType::Osis, 3), (ScriptType::Python, 1)].into());
    assert_eq!(runner.not_offered[&ScriptType::V], "no `v` on PATH");
}

/// One claim looks at a bounded number of jobs; those that are parked are looked at no more.
#[tokio::test]
async fn a_hundred_thousand_jobs_do_not_stand_before_one() {
    let w = World::<OnRedis>::open().await;
    let session = limited(&w, 2).await;
    for _ in 0..100 {
        submit_of(&w, "greedy", 1_000).await;
    }
    let modest = submit_of(&w, "modest", 1).await[0];
    let mut claimed = Vec::new();
    let mut calls = 0;
    loop {
        calls += 1;
        let answer = w.ask(&session, &claim(4)).await;
        claimed.extend(ids(&answer.jobs));
        if answer.drained {
            break;
        }
    }
    assert!(calls <= 110, "{calls} calls");
    assert_eq!(claimed.len(), 3);
    assert!(claimed.contains(&modest));
    assert_eq!(parked(&w, "greedy").await.len(), 99_998);
    // From now on, one of the others waits for nothing, though not a job of the greedy one has ended.
    let late = submit_of(&w, "modest", 1).await[0];
    assert_eq!(ids(&w.claim(&session, 4).await), [late]);
}
