//! Stop, delete and clear, in every state a job can be in.

use hero_domain::{ErrorKind, JobId, JobStatus, LogStream, NewJob, Priority};
use hero_store::{Error, JobStore, Outcome, Stopped};

use crate::{
    fixture::Fixture,
    world::{LEASE_MS, World, after, at, claim, failed, finished, ids, of_context, osis, report},
};

promises![
    a_created_job_is_stopped,
    a_queued_job_is_stopped,
    a_job_of_each_priority_is_stopped,
    a_waiting_job_is_stopped,
    a_delayed_job_is_stopped,
    a_taken_job_is_stopped,
    a_running_job_is_asked_to_stop,
    a_second_stop_of_a_running_job_asks_again,
    an_ended_job_is_not_stopped,
    an_unknown_job_is_not_stopped,
    a_stopped_job_ends_as_stopped,
    a_stopped_job_is_not_retried,
    a_stopped_job_is_not_handed_on,
    a_stopped_job_that_was_quicker_has_finished,
    a_stopped_job_of_a_lost_runner_ends,
    a_stopped_job_of_a_runner_that_signs_in_again_ends,
    a_stop_between_retries_ends_the_job,
    a_job_in_any_state_can_be_deleted,
    a_second_delete_finds_nothing,
    a_running_jobs_runner_is_told_of_the_delete,
    a_deleted_jobs_log_is_gone,
    a_job_that_was_deleted_while_taken_does_not_come_back,
    clear_removes_every_job,
    clear_removes_many,
    clear_is_confined,
    clear_of_nothing_removes_nothing,
];

async fn a_created_job_is_stopped<F: Fixture>(w: World<F>) {
    let id = w.create_one(osis()).await;
    w.advance(9).await;
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.job(id).await.finished_at, Some(at(9)));
}

async fn a_queued_job_is_stopped<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(3).await;
    assert_eq!(w.stop(jobs[1], None).await.unwrap(), Stopped::Ended);
    w.assert_failed(jobs[1], ErrorKind::Stopped).await;
    assert_eq!(w.queued().await, [jobs[0], jobs[2]]);
}

async fn a_job_of_each_priority_is_stopped<F: Fixture>(w: World<F>) {
    for priority in Priority::ALL {
        let id = w.submit(NewJob { priority: *priority, ..osis() }).await;
        assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
        assert_eq!(w.places().await, Default::default());
    }
}

async fn a_waiting_job_is_stopped<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let id = w.submit(after(&[root])).await;
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.status_of(root).await, JobStatus::Dispatched);
}

async fn a_delayed_job_is_stopped<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { run_at: Some(at(1_000)), ..osis() }).await;
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_taken_job_is_stopped<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let runner = w.runner("a").await;
    let id = w.taken(&runner).await;
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(id, ErrorKind::Stopped).await;
}

async fn a_running_job_is_asked_to_stop<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert_eq!(w.renew(&runner, 1, &[id]).await.unwrap().stop, []);
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Asked(runner.runner.clone()));
    assert_eq!(w.status_of(id).await, JobStatus::Started, "it ends when its process has");
    assert_eq!(w.renew(&runner, 1, &[id]).await.unwrap().stop, [id]);
    w.fail(&runner, &claimed, ErrorKind::Stopped).await;
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.renew(&runner, 0, &[]).await.unwrap().stop, []);
}

async fn a_second_stop_of_a_running_job_asks_again<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    for _ in 0..2 {
        assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Asked(runner.runner.clone()));
    }
}

async fn an_ended_job_is_not_stopped<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    for id in jobs {
        let before = w.job(id).await;
        w.advance(10).await;
        assert_eq!(w.stop(id, None).await.unwrap(), Stopped::AlreadyEnded);
        assert_eq!(w.job(id).await, before);
    }
}

async fn an_unknown_job_is_not_stopped<F: Fixture>(w: World<F>) {
    let id = JobId::mint();
    assert!(matches!(w.stop(id, None).await, Err(Error::JobNotFound(it)) if it == id));
    assert!(matches!(w.delete(id, None).await, Err(Error::JobNotFound(_))));
}

async fn a_stopped_job_ends_as_stopped<F: Fixture>(w: World<F>) {
    // The runner kills the process, and what it then sees of it looks like a failure of the script.
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    w.assert_failed(id, ErrorKind::Stopped).await;
}

async fn a_stopped_job_is_not_retried<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 5, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    w.fail(&runner, &claimed, ErrorKind::Timeout).await;
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_stopped_job_is_not_handed_on<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    assert!(w.report(&runner, report(&claimed, Outcome::HandedBack)).await);
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_stopped_job_that_was_quicker_has_finished<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    w.finish(&runner, &claimed).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.output.as_deref()), (JobStatus::Finished, Some("42")));
}

async fn a_stopped_job_of_a_lost_runner_ends<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    w.advance(LEASE_MS + 1).await;
    let swept = w.settle().await;
    assert_eq!((swept.ended, swept.requeued), (1, 0));
    w.assert_failed(id, ErrorKind::Stopped).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_stopped_job_of_a_runner_that_signs_in_again_ends<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    w.stop(id, None).await.unwrap();
    w.runner("a").await;
    w.assert_failed(id, ErrorKind::Stopped).await;
}

async fn a_stop_between_retries_ends_the_job<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 5, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Ended);
    w.assert_failed(id, ErrorKind::Stopped).await;
    w.advance(3_600_000).await;
    assert_eq!(w.settle().await.promoted, 0);
}

/// One job in every state, the last five of them in a place.
async fn one_of_each<F: Fixture>(w: &World<F>, runner: &hero_store::Session) -> Vec<(&'static str, JobId)> {
    let done = w.submit_many(2).await;
    w.run_next(runner).await;
    let claimed = w.claim_one(runner).await;
    w.fail(runner, &claimed, ErrorKind::ScriptFailed).await;
    let running = w.submit(osis()).await;
    w.claim_one(runner).await;
    let taken = w.submit(osis()).await;
    w.taken(runner).await;
    let queued = w.submit(osis()).await;
    vec![
        ("finished", done[0]),
        ("failed", done[1]),
        ("created", w.create_one(osis()).await),
        ("waiting", w.submit(after(&[queued])).await),
        ("delayed", w.submit(NewJob { run_at: Some(at(3_600_000)), ..osis() }).await),
        ("running", running),
        ("taken", taken),
        ("queued", queued),
    ]
}

async fn a_job_in_any_state_can_be_deleted<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    for (state, id) in one_of_each(&w, &runner).await {
        w.delete(id, None).await.unwrap();
        assert!(matches!(w.get(id, None).await, Err(Error::JobNotFound(_))), "{state}");
        assert!(matches!(w.status(id, None).await, Err(Error::JobNotFound(_))), "{state}");
        assert!(matches!(w.read_log(id, None, None, 100).await, Err(Error::JobNotFound(_))), "{state}");
        assert!(!w.list(&Default::default()).await.unwrap().ids.contains(&id), "{state}");
    }
    assert_eq!(w.places().await, Default::default());
    assert_eq!(w.claim(&runner, 10).await, vec![]);
    w.advance(3_600_000).await;
    w.settle().await;
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, []);
}

async fn a_second_delete_finds_nothing<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    w.delete(id, None).await.unwrap();
    assert!(matches!(w.delete(id, None).await, Err(Error::JobNotFound(_))));
    assert!(matches!(w.stop(id, None).await, Err(Error::JobNotFound(_))));
    assert!(matches!(w.start(id, None).await, Err(Error::JobNotFound(_))));
}

async fn a_running_jobs_runner_is_told_of_the_delete<F: Fixture>(w: World<F>) {
    let jobs = w.submit_many(2).await;
    let runner = w.runner("a").await;
    w.claim(&runner, 2).await;
    w.delete(jobs[0], None).await.unwrap();
    let renewed = w.renew(&runner, 2, &jobs).await.unwrap();
    assert_eq!(renewed.stop, [jobs[0]]);
    assert_eq!(w.status_of(jobs[1]).await, JobStatus::Started);
}

async fn a_deleted_jobs_log_is_gone<F: Fixture>(w: World<F>) {
    let job = NewJob { id: Some(JobId::mint()), ..osis() };
    let id = w.submit(job.clone()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    w.append_log(id, 1, 0, &[(LogStream::Log, "old".to_owned())], 1_000).await.unwrap();
    w.delete(id, None).await.unwrap();
    w.submit(job).await;
    assert_eq!(w.read_log(id, None, None, 1_000).await.unwrap().lines, vec![]);
}

async fn a_job_that_was_deleted_while_taken_does_not_come_back<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let runner = w.runner("a").await;
    let id = w.taken(&runner).await;
    w.delete(id, None).await.unwrap();
    w.advance(LEASE_MS + 1).await;
    w.settle().await;
    assert_eq!(w.places().await, Default::default());
    assert!(w.status(id, None).await.is_err());
}

async fn clear_removes_every_job<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    let jobs = one_of_each(&w, &runner).await;
    w.submit(of_context("other")).await;
    assert_eq!(w.clear(None).await.unwrap(), jobs.len() as u64 + 1);
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, []);
    for (_, id) in jobs {
        assert!(w.status(id, None).await.is_err());
    }
    assert_eq!(w.places().await, Default::default());
    assert_eq!(w.clear(None).await.unwrap(), 0);
    // The runner learns that its process has nobody to work for.
    let next = w.submit(osis()).await;
    assert_eq!(ids(&w.ask(&runner, &claim(5)).await.jobs), [next]);
}

async fn clear_removes_many<F: Fixture>(w: World<F>) {
    w.submit_many(1_000).await;
    w.submit_many(500).await;
    let waiting = w.submit_many(1).await;
    w.create(&vec![after(&waiting); 300], true).await.unwrap();
    assert_eq!(w.clear(None).await.unwrap(), 1_801);
    w.settle().await;
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, []);
    assert_eq!(w.places().await, Default::default());
}

async fn clear_is_confined<F: Fixture>(w: World<F>) {
    let (one, other) = (w.submit(of_context("one")).await, w.submit(of_context("other")).await);
    w.submit(of_context("one")).await;
    assert_eq!(w.clear(Some("one")).await.unwrap(), 2);
    assert!(w.status(one, None).await.is_err());
    assert_eq!(w.queued().await, [other]);
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, [other]);
}

async fn clear_of_nothing_removes_nothing<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    assert_eq!(w.clear(Some("nowhere")).await.unwrap(), 0);
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(w.report(&runner, finished(&claimed, "42")).await);
    assert!(w.report(&runner, failed(&claimed, ErrorKind::Stopped)).await);
    assert_eq!(w.status_of(id).await, JobStatus::Finished);
}
