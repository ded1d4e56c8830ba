//! Finish: how an attempt ends, who may say so, and what comes after.

use hero_domain::{ErrorKind, JobStatus, NewJob};
use hero_store::{Claimed, Error, Finish, JobStore, Outcome};

use crate::{
    fixture::Fixture,
    world::{LEASE_MS, World, at, claim, failed, finished, ids, osis, report, signing_in},
};

promises![
    a_finished_job_has_its_output,
    an_empty_output_is_an_output,
    a_failed_job_says_why,
    every_kind_of_failure_is_kept,
    a_failure_is_retried_after_a_pause,
    the_pause_doubles_and_is_stretched_by_jitter,
    a_timeout_is_retried,
    other_failures_are_not_retried,
    the_last_retry_ends_the_job,
    a_retry_that_succeeds_leaves_no_error,
    the_attempt_grows_with_every_claim,
    a_stale_attempt_is_refused,
    the_report_of_another_runner_is_refused,
    the_report_of_an_unknown_job_is_refused,
    the_report_of_a_deleted_job_is_refused,
    the_report_of_a_job_that_never_began_is_refused,
    a_report_of_success_may_be_repeated,
    a_report_of_failure_may_be_repeated,
    a_report_that_is_retried_may_be_repeated,
    a_hand_back_may_be_repeated,
    a_second_different_report_changes_nothing,
    a_handed_back_job_goes_to_the_head,
    a_handed_back_job_of_one_delivery_is_lost,
    handing_back_is_not_losing,
    refused_reports_do_not_hold_up_the_others,
    an_ended_job_expires_after_its_retention,
    a_job_without_retention_is_kept,
];

async fn a_finished_job_has_its_output<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.advance(40).await;
    w.finish(&runner, &claimed).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("42")));
    assert_eq!((job.error_kind, job.error), (None, None));
    assert_eq!((job.started_at, job.finished_at, job.updated_at), (Some(at(0)), Some(at(40)), at(40)));
    assert_eq!(job.runner_id, Some(runner.runner));
    assert_eq!(w.places().await, Default::default());
}

async fn an_empty_output_is_an_output<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(w.report(&runner, finished(&claimed, "")).await);
    assert_eq!(w.job(id).await.output.as_deref(), Some(""));
}

fn failure(job: &Claimed, kind: ErrorKind, error: &str, output: Option<&str>) -> Finish {
    report(job, Outcome::Failed { kind, error: error.to_owned(), output: output.map(str::to_owned) })
}

async fn a_failed_job_says_why<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.advance(3).await;
    assert!(
        w.report(&runner, failure(&claimed, ErrorKind::ScriptFailed, "line 3: no", Some("so far"))).await
    );
    let job = w.job(id).await;
    assert_eq!((job.status, job.error_kind), (JobStatus::Error, Some(ErrorKind::ScriptFailed)));
    assert_eq!((job.error.as_deref(), job.output.as_deref()), (Some("line 3: no"), Some("so far")));
    assert_eq!(job.finished_at, Some(at(3)));
    assert_eq!(w.places().await, Default::default());
}

async fn every_kind_of_failure_is_kept<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    for kind in ErrorKind::ALL {
        let id = w.submit(osis()).await;
        let claimed = w.claim_one(&runner).await;
        w.fail(&runner, &claimed, *kind).await;
        w.assert_failed(id, *kind).await;
    }
}

async fn a_failure_is_retried_after_a_pause<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 1, retry_backoff_ms: 500, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.retries, job.finished_at), (JobStatus::Dispatched, 0, None));
    assert_eq!(w.places().await.delayed[&id], at(500));
    assert_eq!(w.places().await.inflight, Default::default());
    w.advance(499).await;
    assert_eq!(w.settle().await.promoted, 0);
    w.advance(1).await;
    assert_eq!(w.settle().await.promoted, 1);
    assert_eq!(w.queued().await, [id]);
    assert_eq!(w.job(id).await.queued_at, Some(at(500)));
}

async fn the_pause_doubles_and_is_stretched_by_jitter<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 3, retry_backoff_ms: 1_000, ..osis() }).await;
    let runner = w.runner("a").await;
    let mut now = 0;
    for pause in [1_000, 2_000, 4_000] {
        let claimed = w.claim_one(&runner).await;
        w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
        assert_eq!(w.places().await.delayed[&id], at(now + pause));
        now += pause;
        w.advance(pause).await;
        w.renew(&runner, 0, &[]).await.unwrap();
        w.settle().await;
    }
    let stretched = w.submit(NewJob { retries: 1, retry_backoff_ms: 1_000, ..osis() }).await;
    w.stop(id, None).await.unwrap();
    let claimed = w.claim_one(&runner).await;
    assert_eq!(claimed.id, stretched);
    let all = Finish { jitter: 1.0, ..failed(&claimed, ErrorKind::ScriptFailed) };
    assert!(w.report(&runner, all).await);
    let pause = w.places().await.delayed[&stretched].millis_since(at(now));
    assert!((1_001..=2_000).contains(&pause), "{pause}");
}

async fn a_timeout_is_retried<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 1, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::Timeout).await;
    assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
}

async fn other_failures_are_not_retried<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    for kind in ErrorKind::ALL {
        if matches!(kind, ErrorKind::ScriptFailed | ErrorKind::Timeout) {
            continue;
        }
        let id = w.submit(NewJob { retries: 5, ..osis() }).await;
        let claimed = w.claim_one(&runner).await;
        w.fail(&runner, &claimed, *kind).await;
        w.assert_failed(id, *kind).await;
    }
}

async fn the_last_retry_ends_the_job<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 2, retry_backoff_ms: 1, ..osis() }).await;
    let runner = w.runner("a").await;
    for attempt in 1..=3 {
        let claimed = w.claim_one(&runner).await;
        assert_eq!(claimed.attempt, attempt);
        w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
        w.advance(100).await;
        w.settle().await;
    }
    w.assert_failed(id, ErrorKind::ScriptFailed).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_retry_that_succeeds_leaves_no_error<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 1, retry_backoff_ms: 1, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(w.report(&runner, failure(&claimed, ErrorKind::ScriptFailed, "no", Some("half"))).await);
    w.advance(1).await;
    w.settle().await;
    w.run_next(&runner).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.error_kind, job.error), (JobStatus::Finished, None, None));
    assert_eq!(job.output.as_deref(), Some("42"));
}

async fn the_attempt_grows_with_every_claim<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    for attempt in 1..=5 {
        let claimed = w.claim_one(&runner).await;
        assert_eq!((claimed.id, claimed.attempt), (id, attempt));
        assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
        assert_eq!(w.job(id).await.attempt, attempt);
    }
}

async fn a_stale_attempt_is_refused<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let first = w.claim_one(&runner).await;
    assert!(w.report(&runner, report(&first, Outcome::HandedBack)).await);
    let second = w.claim_one(&runner).await;
    for stale in [
        finished(&first, "late"),
        failed(&first, ErrorKind::ScriptFailed),
        report(&first, Outcome::HandedBack),
    ] {
        assert!(!w.report(&runner, stale).await);
    }
    let job = w.job(id).await;
    assert_eq!((job.status, job.attempt, job.output), (JobStatus::Started, 2, None));
    w.finish(&runner, &second).await;
    assert!(!w.report(&runner, finished(&first, "late")).await);
    assert_eq!(w.job(id).await.output.as_deref(), Some("42"));
}

async fn the_report_of_another_runner_is_refused<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let (a, b) = (w.runner("a").await, w.runner("b").await);
    let claimed = w.claim_one(&a).await;
    assert!(!w.report(&b, finished(&claimed, "not mine")).await);
    assert_eq!(w.status_of(id).await, JobStatus::Started);
    // A runner that was thought dead cannot overwrite its successor.
    w.advance(LEASE_MS - 1).await;
    w.renew(&b, 0, &[]).await.unwrap();
    w.advance(2).await;
    w.settle().await;
    let again = w.claim_one(&b).await;
    assert_eq!((again.id, again.attempt), (id, 2));
    let dead = w.exchange(&a, &[finished(&claimed, "late")], None).await;
    assert!(matches!(dead, Err(Error::RunnerReplaced(_))), "{dead:?}");
    let returned = w.sign_in(&signing_in("a", "a-2")).await.unwrap();
    assert!(!w.report(&returned, finished(&claimed, "late")).await);
    w.finish(&b, &again).await;
    assert_eq!(w.job(id).await.output.as_deref(), Some("42"));
}

async fn the_report_of_an_unknown_job_is_refused<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    let unknown = Finish { id: hero_domain::JobId::mint(), ..finished(&claimed, "?") };
    let answer = w.exchange(&runner, std::slice::from_ref(&unknown), None).await.unwrap();
    assert_eq!(answer.refused, [unknown.id]);
}

async fn the_report_of_a_deleted_job_is_refused<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.delete(id, None).await.unwrap();
    assert!(!w.report(&runner, finished(&claimed, "late")).await);
    assert!(matches!(w.get(id, None).await, Err(Error::JobNotFound(_))), "a late report brings nothing back");
    assert_eq!(w.places().await, Default::default());
}

async fn the_report_of_a_job_that_never_began_is_refused<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let early = Finish { id, attempt: 0, outcome: Outcome::Finished { output: String::new() }, jitter: 0.0 };
    assert!(!w.report(&runner, early).await);
    assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
}

async fn a_report_of_success_may_be_repeated<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.finish(&runner, &claimed).await;
    let before = w.job(id).await;
    w.advance(10).await;
    w.finish(&runner, &claimed).await;
    assert_eq!(w.job(id).await, before);
}

async fn a_report_of_failure_may_be_repeated<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::InvalidScript).await;
    let before = w.job(id).await;
    w.advance(10).await;
    w.fail(&runner, &claimed, ErrorKind::InvalidScript).await;
    assert_eq!(w.job(id).await, before);
}

async fn a_report_that_is_retried_may_be_repeated<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 5, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    let (before, places) = (w.job(id).await, w.places().await);
    w.advance(10).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    assert_eq!((w.job(id).await, w.places().await), (before, places), "one failure, one retry");
}

async fn a_hand_back_may_be_repeated<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    for _ in 0..2 {
        assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
        assert_eq!(w.queued().await, [id]);
    }
}

async fn a_second_different_report_changes_nothing<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.finish(&runner, &claimed).await;
    let before = w.job(id).await;
    w.report(&runner, failed(&claimed, ErrorKind::ScriptFailed)).await;
    w.report(&runner, report(&claimed, Outcome::HandedBack)).await;
    assert_eq!(w.job(id).await, before);
    assert_eq!(w.places().await, Default::default());
}

async fn a_handed_back_job_goes_to_the_head<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
    assert_eq!(w.queued().await, jobs);
    assert_eq!(w.status_of(jobs[0]).await, JobStatus::Dispatched);
}

async fn a_handed_back_job_of_one_delivery_is_lost<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { max_deliveries: 1, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
    w.assert_failed(id, ErrorKind::RunnerLost).await;
    assert_eq!(w.places().await, Default::default());
}

async fn handing_back_is_not_losing<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { max_deliveries: 2, ..osis() }).await;
    let runner = w.runner("a").await;
    for _ in 0..5 {
        let claimed = w.claim_one(&runner).await;
        assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
    }
    assert_eq!(w.status_of(id).await, JobStatus::Dispatched);
}

async fn refused_reports_do_not_hold_up_the_others<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(4).await;
    let runner = w.runner("a").await;
    let claimed = w.claim(&runner, 3).await;
    w.delete(jobs[1], None).await.unwrap();
    let reports: Vec<Finish> = claimed.iter().map(|job| finished(job, "42")).collect();
    let answer = w.exchange(&runner, &reports, Some(&claim(1))).await.unwrap();
    assert_eq!((ids(&answer.jobs), answer.refused), (vec![jobs[3]], vec![jobs[1]]));
    for id in [jobs[0], jobs[2]] {
        assert_eq!(w.status_of(id).await, JobStatus::Finished);
    }
}

async fn an_ended_job_expires_after_its_retention<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retention_s: 60, idempotency_key: Some("k".to_owned()), ..osis() }).await;
    let other = w.submit(osis()).await;
    w.advance(120_000).await;
    let runner = w.runner("a").await;
    assert_eq!(w.run_next(&runner).await, id, "only an ended job expires");
    w.advance(59_000).await;
    assert_eq!(w.status_of(id).await, JobStatus::Finished);
    w.advance(1_000).await;
    assert!(matches!(w.get(id, None).await, Err(Error::JobNotFound(_))));
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, [other]);
    let again = w.create(&[NewJob { idempotency_key: Some("k".to_owned()), ..osis() }], false).await.unwrap();
    assert!(again[0].is_new, "its key is free again");
}

async fn a_job_without_retention_is_kept<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retention_s: 0, ..osis() }).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.advance(10 * 366 * 86_400_000).await;
    assert_eq!(w.status_of(id).await, JobStatus::Finished);
}
