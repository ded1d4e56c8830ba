//! Claims: from which queue, in which order, how many.

use std::{collections::BTreeMap, time::Duration};

use hero_domain::{ErrorKind, JobStatus, NewJob, Priority, ScriptType};
use hero_store::{Claim, Claimed, JobStore, Lane};

use crate::{
    fixture::Fixture,
    world::{World, at, circle, claim, finished, ids, osis, osis_lane, runner_id},
};

promises![
    the_first_in_is_the_first_out,
    high_goes_before_normal_before_low,
    low_first_begins_with_the_low_list,
    a_claim_takes_as_many_as_it_wants,
    a_claim_takes_what_is_there,
    a_claim_of_none_takes_none,
    an_empty_queue_is_drained,
    a_claimed_job_has_all_that_a_runner_needs,
    a_claimed_job_is_started,
    a_lane_is_of_one_type,
    a_lane_is_of_one_circle,
    what_was_taken_comes_first,
    what_was_taken_beyond_want_goes_back_to_the_head,
    what_was_taken_can_all_go_back,
    what_was_taken_goes_back_to_its_own_list,
    a_taken_job_that_was_stopped_is_dropped,
    a_taken_job_that_was_deleted_is_dropped,
    a_taken_job_of_somebody_else_is_not_claimed,
    the_same_taken_twice_is_claimed_once,
    the_same_taken_twice_goes_back_once,
    a_stopped_job_in_the_queue_is_not_claimed,
    a_deleted_job_in_the_queue_is_not_claimed,
    a_claim_and_a_finish_are_one_call,
    two_runners_never_get_the_same,
];

async fn the_first_in_is_the_first_out<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(5).await;
    let runner = w.runner("a").await;
    for id in jobs {
        assert_eq!(w.claim_one(&runner).await.id, id);
    }
}

async fn three_priorities<F: Fixture>(w: &World<F>) -> [hero_domain::JobId; 3] {
    let low = w.submit(NewJob { priority: Priority::Low, ..osis() }).await;
    let normal = w.submit(osis()).await;
    let high = w.submit(NewJob { priority: Priority::High, ..osis() }).await;
    [high, normal, low]
}

async fn high_goes_before_normal_before_low<F: Fixture>(w: World<F>) {
    let [high, normal, low] = three_priorities(&w).await;
    let runner = w.runner("a").await;
    assert_eq!(ids(&w.claim(&runner, 3).await), [high, normal, low]);
    let [high, normal, low] = three_priorities(&w).await;
    for id in [high, normal, low] {
        assert_eq!(w.claim_one(&runner).await.id, id, "one by one, too");
    }
}

async fn low_first_begins_with_the_low_list<F: Fixture>(w: World<F>) {
    let [high, normal, low] = three_priorities(&w).await;
    let runner = w.runner("a").await;
    let answer = w.ask(&runner, &Claim { low_first: true, ..claim(3) }).await;
    assert_eq!(ids(&answer.jobs), [low, high, normal]);
}

async fn a_claim_takes_as_many_as_it_wants<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(5).await;
    let runner = w.runner("a").await;
    let answer = w.ask(&runner, &claim(3)).await;
    assert_eq!(ids(&answer.jobs), jobs[..3]);
    assert!(!answer.drained);
    assert_eq!(w.queued().await, jobs[3..]);
}

async fn a_claim_takes_what_is_there<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    let answer = w.ask(&runner, &claim(10)).await;
    assert_eq!((ids(&answer.jobs), answer.drained), (jobs, true));
}

async fn a_claim_of_none_takes_none<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    assert_eq!(w.ask(&runner, &claim(0)).await.jobs, vec![]);
    assert_eq!(w.queued().await, jobs);
}

async fn an_empty_queue_is_drained<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    let answer = w.ask(&runner, &claim(1)).await;
    assert_eq!((answer.jobs, answer.drained), (vec![], true));
}

async fn a_claimed_job_has_all_that_a_runner_needs<F: Fixture>(w: World<F>) {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let full = NewJob {
        caller_id: "mia".to_owned(),
        context_id: "home".to_owned(),
        timeout_s: 7,
        env_vars: [("A".to_owned(), "1".to_owned())].into(),
        traceparent: Some(traceparent.clone()),
        ..osis()
    };
    let (full, plain) = (w.submit(full).await, w.submit(osis()).await);
    let runner = w.runner("a").await;
    let expected = Claimed {
        id: full,
        attempt: 1,
        script_type: ScriptType::Osis,
        script: "40 + 2".to_owned(),
        caller_id: "mia".to_owned(),
        context_id: "home".to_owned(),
        timeout: Duration::from_secs(7),
        env_vars: [("A".to_owned(), "1".to_owned())].into(),
        traceparent: Some(traceparent),
    };
    let default = osis();
    let expected_plain = Claimed {
        id: plain,
        caller_id: default.caller_id,
        context_id: default.context_id,
        timeout: Duration::from_secs(default.timeout_s.into()),
        env_vars: BTreeMap::new(),
        traceparent: None,
        ..expected.clone()
    };
    assert_eq!(w.claim(&runner, 2).await, [expected, expected_plain]);
}

async fn a_claimed_job_is_started<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.advance(30).await;
    w.claim_one(&runner).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.attempt), (JobStatus::Started, 1));
    assert_eq!(job.runner_id, Some(runner.runner.clone()));
    assert_eq!((job.queued_at, job.started_at, job.updated_at), (Some(at(0)), Some(at(30)), at(30)));
    let places = w.places().await;
    assert!(places.queues.is_empty());
    assert_eq!(places.inflight[&runner.runner], vec![id]);
}

async fn a_lane_is_of_one_type<F: Fixture>(w: World<F>) {
    let python = w.submit(NewJob { script_type: ScriptType::Python, ..osis() }).await;
    let runner = w.runner("a").await;
    assert_eq!(w.claim(&runner, 5).await, vec![]);
    let lane = Lane { script_type: ScriptType::Python, circle: None };
    let answer = w.ask(&runner, &Claim { lane, ..claim(5) }).await;
    assert_eq!(ids(&answer.jobs), [python]);
    assert_eq!(answer.jobs[0].script_type, ScriptType::Python);
}

async fn a_lane_is_of_one_circle<F: Fixture>(w: World<F>) {
    let own = NewJob { circle: Some(circle()), context_id: circle().to_string(), ..osis() };
    let own = w.submit(own).await;
    let runner = w.runner("a").await;
    assert_eq!(w.claim(&runner, 5).await, vec![], "not the shared pool's");
    let lane = Lane { circle: Some(circle()), ..osis_lane() };
    let answer = w.ask(&runner, &Claim { lane, ..claim(5) }).await;
    assert_eq!(ids(&answer.jobs), [own]);
}

async fn what_was_taken_comes_first<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(4).await;
    let high = w.submit(NewJob { priority: Priority::High, ..osis() }).await;
    let runner = w.runner("a").await;
    let taken = w.taken(&runner).await;
    assert_eq!(taken, jobs[0]);
    assert_eq!(w.status_of(taken).await, JobStatus::Dispatched, "taken is not claimed");
    let answer = w.ask(&runner, &Claim { taken: vec![taken], ..claim(3) }).await;
    assert_eq!(ids(&answer.jobs), [taken, high, jobs[1]]);
    assert_eq!(w.queued().await, jobs[2..]);
}

async fn what_was_taken_beyond_want_goes_back_to_the_head<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(5).await;
    let runner = w.runner("a").await;
    let taken = vec![w.taken(&runner).await, w.taken(&runner).await, w.taken(&runner).await];
    let answer = w.ask(&runner, &Claim { taken, ..claim(1) }).await;
    assert_eq!(ids(&answer.jobs), jobs[..1]);
    assert_eq!(w.queued().await, jobs[1..], "in the order in which they stood");
    assert_eq!(w.places().await.inflight[&runner.runner], vec![jobs[0]]);
}

async fn what_was_taken_can_all_go_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    let runner = w.runner("a").await;
    let taken = vec![w.taken(&runner).await, w.taken(&runner).await];
    let answer = w.ask(&runner, &Claim { taken, ..claim(0) }).await;
    assert_eq!(answer.jobs, vec![]);
    assert_eq!(w.queued().await, jobs);
    assert_eq!(w.places().await.inflight, BTreeMap::new());
    assert_eq!(w.job(jobs[0]).await.attempt, 0);
}

async fn what_was_taken_goes_back_to_its_own_list<F: Fixture>(w: World<F>) {
    let [high, normal, low] = three_priorities(&w).await;
    let runner = w.runner("a").await;
    let mut taken = Vec::new();
    for priority in [Priority::Low, Priority::High] {
        taken.push(w.take(&runner, priority).await.unwrap());
    }
    assert_eq!(taken, [low, high]);
    w.ask(&runner, &Claim { taken, ..claim(0) }).await;
    for (priority, id) in [(Priority::High, high), (Priority::Normal, normal), (Priority::Low, low)] {
        assert_eq!(w.queue(priority).await, [id]);
    }
}

async fn a_taken_job_that_was_stopped_is_dropped<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    let taken = w.taken(&runner).await;
    w.stop(taken, None).await.unwrap();
    let answer = w.ask(&runner, &Claim { taken: vec![taken], ..claim(2) }).await;
    assert_eq!(ids(&answer.jobs), jobs[1..]);
    w.assert_failed(taken, ErrorKind::Stopped).await;
    assert_eq!(w.places().await.inflight[&runner.runner], vec![jobs[1]]);
}

async fn a_taken_job_that_was_deleted_is_dropped<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let runner = w.runner("a").await;
    let taken = w.taken(&runner).await;
    w.delete(taken, None).await.unwrap();
    let answer = w.ask(&runner, &Claim { taken: vec![taken], ..claim(2) }).await;
    assert_eq!(answer.jobs, vec![]);
    assert_eq!(w.places().await, Default::default());
}

async fn a_taken_job_of_somebody_else_is_not_claimed<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let (mine, other) = (w.runner("a").await, w.runner("b").await);
    let taken = w.taken(&mine).await;
    let answer = w.ask(&other, &Claim { taken: vec![taken, jobs[1]], ..claim(0) }).await;
    assert_eq!(answer.jobs, vec![]);
    let answer = w.ask(&other, &Claim { taken: vec![taken], ..claim(2) }).await;
    assert_eq!(ids(&answer.jobs), jobs[1..], "neither taken nor lost");
    let answer = w.ask(&mine, &Claim { taken: vec![taken], ..claim(1) }).await;
    assert_eq!(ids(&answer.jobs), [taken]);
}

async fn the_same_taken_twice_is_claimed_once<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let runner = w.runner("a").await;
    let taken = w.taken(&runner).await;
    let answer = w.ask(&runner, &Claim { taken: vec![taken, taken], ..claim(2) }).await;
    assert_eq!(ids(&answer.jobs), [taken]);
    // A repeat of the call (its reply was lost) must not begin another attempt either.
    let answer = w.ask(&runner, &Claim { taken: vec![taken], ..claim(2) }).await;
    assert_eq!(answer.jobs, vec![]);
    let job = w.job(taken).await;
    assert_eq!((job.status, job.attempt), (JobStatus::Started, 1));
    assert_eq!(w.places().await.inflight[&runner.runner], vec![taken]);
}

async fn the_same_taken_twice_goes_back_once<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    let taken = w.taken(&runner).await;
    w.ask(&runner, &Claim { taken: vec![taken, taken], ..claim(0) }).await;
    assert_eq!(w.queued().await, jobs);
}

async fn a_stopped_job_in_the_queue_is_not_claimed<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    w.stop(jobs[1], None).await.unwrap();
    let runner = w.runner("a").await;
    assert_eq!(ids(&w.claim(&runner, 5).await), [jobs[0], jobs[2]]);
    w.assert_failed(jobs[1], ErrorKind::Stopped).await;
}

async fn a_deleted_job_in_the_queue_is_not_claimed<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    w.delete(jobs[0], None).await.unwrap();
    let runner = w.runner("a").await;
    assert_eq!(ids(&w.claim(&runner, 5).await), jobs[1..]);
}

async fn a_claim_and_a_finish_are_one_call<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(4).await;
    let runner = w.runner("a").await;
    let first = w.claim(&runner, 2).await;
    let reports = [finished(&first[0], "a"), finished(&first[1], "b")];
    let answer = w.exchange(&runner, &reports, Some(&claim(2))).await.unwrap();
    assert_eq!((ids(&answer.jobs), answer.refused), (jobs[2..].to_vec(), vec![]));
    assert_eq!(w.job(jobs[0]).await.output.as_deref(), Some("a"));
    assert_eq!(w.job(jobs[1]).await.output.as_deref(), Some("b"));
}

async fn two_runners_never_get_the_same<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(10).await;
    let (a, b) = (w.runner("a").await, w.runner("b").await);
    let mut got = Vec::new();
    for runner in [&a, &b, &a, &b] {
        got.extend(ids(&w.claim(runner, 3).await));
    }
    assert_eq!(got, jobs);
    let places = w.places().await;
    assert_eq!(places.inflight[&runner_id("a")].len() + places.inflight[&runner_id("b")].len(), 10);
}
