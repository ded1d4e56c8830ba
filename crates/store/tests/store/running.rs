//! Runners: presence, leases, lost ones, and what the sweep does about them.

use std::time::Duration;

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, RunnerState, ScriptType};
use hero_store::{Error, JobStore, SignIn};

use crate::{
    fixture::Fixture,
    world::{LEASE_MS, World, at, circle, claim, finished, ids, osis, runner_id, signing_in},
};

promises![
    a_runner_that_signed_in_is_known,
    runners_are_told_in_order,
    a_renewal_is_seen,
    a_lease_is_over_when_it_is_not_renewed,
    a_renewed_lease_holds,
    a_lease_that_ran_out_while_the_store_was_away_is_given_once_more,
    a_runner_that_stays_away_after_an_outage_is_lost,
    a_lost_runners_jobs_go_back_to_the_head,
    a_lost_runners_taken_job_goes_back,
    a_job_lost_too_often_ends,
    a_job_of_one_delivery_is_lost_at_once,
    a_lost_runner_must_sign_in_again,
    a_lost_runner_can_sign_in_again,
    a_sweep_does_nothing_twice,
    a_second_process_replaces_the_first,
    a_replaced_process_is_refused,
    a_sign_in_takes_the_old_jobs_back,
    a_sign_out_takes_its_jobs_back,
    a_signed_out_runner_is_gone,
    what_a_lost_reply_claimed_comes_back,
    what_a_lost_reply_took_comes_back,
    what_is_known_is_not_taken_back,
    a_drained_runner_is_told,
    a_drain_of_nobody_is_refused,
    a_drain_ends_with_a_new_session,
    a_thousand_due_jobs_are_promoted_in_steps,
    a_lost_runner_with_a_thousand_jobs_is_worked_off_in_steps,
    many_lost_runners_are_worked_off_in_steps,
];

async fn a_runner_that_signed_in_is_known<F: Fixture>(w: World<F>) {
    assert_eq!(w.runners().await.unwrap(), vec![]);
    let sign_in = SignIn {
        script_types: vec![ScriptType::Osis, ScriptType::V],
        circles: vec![circle()],
        slots: 9,
        ..signing_in("a", "s")
    };
    let session = w.sign_in(&sign_in).await.unwrap();
    assert_eq!((session.runner, session.session.as_str()), (runner_id("a"), "s"));
    let runner = w.runners().await.unwrap().pop().unwrap();
    assert_eq!((runner.id, runner.script_types), (sign_in.id, sign_in.script_types));
    assert_eq!((runner.circles, runner.slots, runner.busy), (sign_in.circles, 9, 0));
    assert_eq!(
        (runner.host, runner.version, runner.sandbox),
        (sign_in.host, sign_in.version, sign_in.sandbox)
    );
    assert_eq!((runner.started_at, runner.last_seen_at), (at(0), at(0)));
    assert_eq!((runner.lease_until, runner.state), (at(LEASE_MS), RunnerState::Alive));
}

async fn runners_are_told_in_order<F: Fixture>(w: World<F>) {
    for name in ["b", "c", "a"] {
        w.runner(name).await;
    }
    let names: Vec<String> = w.runners().await.unwrap().into_iter().map(|it| it.id.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

async fn a_renewal_is_seen<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    w.advance(3_000).await;
    w.renew(&session, 2, &[]).await.unwrap();
    let runner = w.runners().await.unwrap().pop().unwrap();
    assert_eq!((runner.busy, runner.started_at, runner.last_seen_at), (2, at(0), at(3_000)));
    assert_eq!(runner.lease_until, at(3_000 + LEASE_MS));
}

async fn a_lease_is_over_when_it_is_not_renewed<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let session = w.runner("a").await;
    w.claim_one(&session).await;
    w.advance(LEASE_MS - 1).await;
    let swept = w.settle().await;
    assert_eq!((swept.requeued, swept.ended), (0, 0));
    assert_eq!(w.status_of(id).await, JobStatus::Started);
    w.advance(2).await;
    let swept = w.settle().await;
    assert_eq!((swept.requeued, swept.ended), (1, 0));
    let job = w.job(id).await;
    assert_eq!((job.status, job.attempt, job.queued_at), (JobStatus::Dispatched, 1, Some(at(LEASE_MS + 1))));
    assert_eq!(w.queued().await, [id]);
}

async fn a_renewed_lease_holds<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let session = w.runner("a").await;
    let claimed = w.claim_one(&session).await;
    for _ in 0..10 {
        w.advance(LEASE_MS - 1).await;
        w.renew(&session, 1, &[id]).await.unwrap();
        w.settle().await;
    }
    w.finish(&session, &claimed).await;
    assert_eq!(w.job(id).await.attempt, 1);
}

async fn a_lease_that_ran_out_while_the_store_was_away_is_given_once_more<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let session = w.runner("a").await;
    let claimed = w.claim_one(&session).await;
    w.settle().await;
    w.lose(2 * LEASE_MS).await;
    let swept = w.settle().await;
    assert_eq!((swept.requeued, swept.ended), (0, 0), "its runner could not renew");
    assert_eq!(w.runners().await.unwrap()[0].lease_until, at(3 * LEASE_MS));
    w.advance(LEASE_MS - 1).await;
    assert_eq!(w.settle().await.requeued, 0);
    w.renew(&session, 1, &[id]).await.unwrap();
    w.finish(&session, &claimed).await;
    assert_eq!(w.job(id).await.attempt, 1);
}

async fn a_runner_that_stays_away_after_an_outage_is_lost<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let session = w.runner("a").await;
    w.claim_one(&session).await;
    w.settle().await;
    w.lose(2 * LEASE_MS).await;
    w.settle().await;
    w.advance(LEASE_MS).await;
    assert_eq!(w.settle().await.requeued, 1, "one lease more, not two");
    assert_eq!(w.queued().await, [id]);
    assert!(matches!(w.renew(&session, 1, &[id]).await, Err(Error::RunnerReplaced(_))));
}

async fn a_lost_runners_jobs_go_back_to_the_head<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(5).await;
    let session = w.runner("a").await;
    w.claim(&session, 3).await;
    w.advance(LEASE_MS + 1).await;
    assert_eq!(w.settle().await.requeued, 3);
    assert_eq!(w.queued().await, jobs, "in the order in which they stood");
}

async fn a_lost_runners_taken_job_goes_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let session = w.runner("a").await;
    w.taken(&session).await;
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    assert_eq!(w.queued().await, jobs);
    let job = w.job(jobs[0]).await;
    assert_eq!((job.attempt, job.status), (0, JobStatus::Dispatched), "it never began");
}

async fn lose<F: Fixture>(w: &World<F>, name: &str) -> Vec<JobId> {
    let session = w.runner(name).await;
    let claimed = ids(&w.claim(&session, 10).await);
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    claimed
}

async fn a_job_lost_too_often_ends<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { max_deliveries: 3, ..osis() }).await;
    for attempt in 1..=3 {
        assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
        assert_eq!(lose(&w, "a").await, [id], "delivery {attempt}");
    }
    w.assert_failed(id, ErrorKind::RunnerLost).await;
    assert_eq!(w.job(id).await.attempt, 3);
    assert_eq!(w.places().await, Default::default());
}

async fn a_job_of_one_delivery_is_lost_at_once<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { max_deliveries: 1, ..osis() }).await;
    lose(&w, "a").await;
    w.assert_failed(id, ErrorKind::RunnerLost).await;
}

async fn a_lost_runner_must_sign_in_again<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    for refusal in [
        w.renew(&session, 0, &[]).await.map(drop),
        w.exchange(&session, &[], Some(&claim(1))).await.map(drop),
    ] {
        assert!(matches!(refusal, Err(Error::RunnerReplaced(_))), "{refusal:?}");
    }
}

async fn a_lost_runner_can_sign_in_again<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    lose(&w, "a").await;
    let session = w.sign_in(&signing_in("a", "a-2")).await.unwrap();
    assert_eq!(w.run_next(&session).await, id);
    assert_eq!(w.runners().await.unwrap().len(), 1);
}

async fn a_sweep_does_nothing_twice<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    w.submit(NewJob { run_at: Some(at(100)), ..osis() }).await;
    lose(&w, "a").await;
    let places = w.places().await;
    let swept = w.settle().await;
    assert_eq!((swept.promoted, swept.requeued, swept.ended, swept.released), (0, 0, 0, 0));
    assert_eq!(w.places().await, places);
}

async fn a_second_process_replaces_the_first<F: Fixture>(w: World<F>) {
    w.runner("a").await;
    w.advance(500).await;
    let second = w.sign_in(&SignIn { slots: 1, ..signing_in("a", "a-2") }).await.unwrap();
    let runners = w.runners().await.unwrap();
    assert_eq!(runners.len(), 1);
    assert_eq!((runners[0].slots, runners[0].started_at), (1, at(500)));
    w.renew(&second, 0, &[]).await.unwrap();
}

async fn a_replaced_process_is_refused<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let first = w.runner("a").await;
    let claimed = w.claim_one(&first).await;
    let second = w.sign_in(&signing_in("a", "a-2")).await.unwrap();
    for refusal in [
        w.renew(&first, 1, &[jobs[0]]).await.map(drop),
        w.exchange(&first, &[finished(&claimed, "late")], None).await.map(drop),
        w.exchange(&first, &[], Some(&claim(1))).await.map(drop),
        w.sign_out(&first).await,
    ] {
        assert!(matches!(refusal, Err(Error::RunnerReplaced(_))), "{refusal:?}");
    }
    assert_eq!(w.queued().await, jobs);
    assert_eq!(ids(&w.claim(&second, 2).await), jobs, "the second is not disturbed");
}

async fn a_sign_in_takes_the_old_jobs_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(4).await;
    let once = w.submit(NewJob { max_deliveries: 1, ..osis() }).await;
    let first = w.runner("a").await;
    w.claim(&first, 2).await;
    w.taken(&first).await;
    w.stop(jobs[3], None).await.unwrap();
    w.claim(&first, 1).await;
    w.sign_in(&signing_in("a", "a-2")).await.unwrap();
    w.settle().await;
    assert_eq!(w.queued().await, jobs[..3]);
    assert_eq!(w.places().await.inflight, Default::default());
    w.assert_failed(once, ErrorKind::RunnerLost).await;
}

async fn a_sign_out_takes_its_jobs_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    let session = w.runner("a").await;
    w.claim_one(&session).await;
    w.taken(&session).await;
    w.sign_out(&session).await.unwrap();
    w.settle().await;
    assert_eq!(w.queued().await, jobs);
    assert_eq!(w.places().await.inflight, Default::default());
}

async fn a_signed_out_runner_is_gone<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    w.sign_out(&session).await.unwrap();
    assert_eq!(w.runners().await.unwrap(), vec![]);
    assert!(matches!(w.renew(&session, 0, &[]).await, Err(Error::RunnerReplaced(_))));
    assert!(matches!(w.sign_out(&session).await, Err(Error::RunnerReplaced(_))));
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    assert_eq!(w.runners().await.unwrap(), vec![]);
}

async fn what_a_lost_reply_claimed_comes_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let session = w.runner("a").await;
    w.claim_one(&session).await;
    let kept = w.claim_one(&session).await;
    // The first claim's reply never arrived. One renewal may cross a claim, so one is not enough to say so.
    w.renew(&session, 1, &[kept.id]).await.unwrap();
    assert_eq!(w.status_of(jobs[0]).await, JobStatus::Started);
    w.renew(&session, 1, &[kept.id]).await.unwrap();
    assert_eq!(w.status_of(jobs[0]).await, JobStatus::Dispatched);
    assert_eq!(w.queued().await, [jobs[0]]);
    assert_eq!(w.status_of(kept.id).await, JobStatus::Started);
    let again = w.claim_one(&session).await;
    assert_eq!((again.id, again.attempt), (jobs[0], 2));
}

async fn what_a_lost_reply_took_comes_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let session = w.runner("a").await;
    w.taken(&session).await;
    w.renew(&session, 0, &[]).await.unwrap();
    assert_eq!(w.queued().await, jobs[1..]);
    w.renew(&session, 0, &[]).await.unwrap();
    assert_eq!(w.queued().await, jobs);
    assert_eq!(w.job(jobs[0]).await.attempt, 0);
}

async fn what_is_known_is_not_taken_back<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let session = w.runner("a").await;
    w.claim(&session, 2).await;
    w.renew(&session, 2, &jobs[..1]).await.unwrap();
    for _ in 0..3 {
        // The second one was unknown once (its claim's reply was on its way), and is known since.
        w.renew(&session, 2, &jobs).await.unwrap();
    }
    w.renew(&session, 2, &jobs[..1]).await.unwrap();
    for id in jobs {
        assert_eq!(w.status_of(id).await, JobStatus::Started);
    }
}

async fn a_drained_runner_is_told<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    assert!(!w.renew(&session, 0, &[]).await.unwrap().draining);
    w.drain(&session.runner, true).await.unwrap();
    assert!(w.renew(&session, 0, &[]).await.unwrap().draining);
    assert_eq!(w.runners().await.unwrap()[0].state, RunnerState::Draining);
    w.drain(&session.runner, false).await.unwrap();
    assert!(!w.renew(&session, 0, &[]).await.unwrap().draining);
    assert_eq!(w.runners().await.unwrap()[0].state, RunnerState::Alive);
}

async fn a_drain_of_nobody_is_refused<F: Fixture>(w: World<F>) {
    let error = w.drain(&runner_id("nobody"), true).await.unwrap_err();
    assert!(matches!(error, Error::RunnerNotFound(ref id) if *id == runner_id("nobody")), "{error:?}");
}

async fn a_drain_ends_with_a_new_session<F: Fixture>(w: World<F>) {
    let session = w.runner("a").await;
    w.drain(&session.runner, true).await.unwrap();
    let second = w.sign_in(&signing_in("a", "a-2")).await.unwrap();
    assert!(!w.renew(&second, 0, &[]).await.unwrap().draining);
}

async fn a_thousand_due_jobs_are_promoted_in_steps<F: Fixture>(w: World<F>) {
    let created = w.create(&vec![NewJob { run_at: Some(at(100)), ..osis() }; 1_000], true).await.unwrap();
    w.advance(100).await;
    assert_eq!(w.settle().await.promoted, 1_000);
    let mut queued = w.queued().await;
    queued.sort_unstable();
    let mut expected: Vec<JobId> = created.into_iter().map(|it| it.id).collect();
    expected.sort_unstable();
    assert_eq!(queued, expected);
}

async fn a_lost_runner_with_a_thousand_jobs_is_worked_off_in_steps<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(1_000).await;
    let session = w.runner("a").await;
    assert_eq!(w.claim(&session, 1_000).await.len(), 1_000);
    w.advance(LEASE_MS + 1).await;
    assert_eq!(w.settle().await.requeued, 1_000);
    assert_eq!(w.queued().await.len(), 1_000);
    let other = w.runner("b").await;
    let mut again = ids(&w.claim(&other, 1_000).await);
    again.sort_unstable();
    let mut jobs = jobs;
    jobs.sort_unstable();
    assert_eq!(again, jobs);
}

async fn many_lost_runners_are_worked_off_in_steps<F: Fixture>(w: World<F>) {
    w.submit_many(300).await;
    for n in 0..150 {
        let lease = Duration::from_millis(1_000);
        let session = w.sign_in(&SignIn { lease, ..signing_in(&format!("r{n}"), "s") }).await.unwrap();
        assert_eq!(w.claim(&session, 2).await.len(), 2);
    }
    w.advance(1_001).await;
    assert_eq!(w.settle().await.requeued, 300);
    assert_eq!(w.places().await.inflight, Default::default());
    assert_eq!(w.queued().await.len(), 300);
}
