//! An answer that got lost leaves its caller in doubt: each change may be asked for again, and the second time changes
//! nothing, or no more than the table in docs/reliability.md says. Schedules have their repeats in `scheduling`.

use std::collections::BTreeMap;

use hero_domain::{ErrorKind, Job, JobFilter, JobId, LogStream, NewJob, Progress, Runner};
use hero_store::{Created, Error, JobStore, Outcome, Said, Stopped, model::Places};

use crate::{
    fixture::Fixture,
    world::{World, after, claim, failed, finished, ids, osis, report, runner_id, signing_in},
};

promises![
    a_create_that_is_repeated_creates_nothing,
    a_start_and_a_stop_that_are_repeated_change_nothing,
    a_retry_and_a_delete_that_are_repeated_change_nothing,
    reports_that_are_repeated_change_nothing,
    a_claim_that_is_repeated_takes_other_jobs_and_the_first_come_back,
    what_is_said_of_a_running_job_may_be_said_again,
    what_a_runner_does_may_be_repeated,
];

/// Everything that can be seen.
async fn look<F: Fixture>(w: &World<F>) -> (BTreeMap<JobId, Job>, Places, Vec<Runner>) {
    let filter = JobFilter { limit: Some(1_000), ..JobFilter::default() };
    let mut jobs = BTreeMap::new();
    for id in w.list(&filter).await.unwrap().ids {
        jobs.insert(id, w.job(id).await);
    }
    (jobs, w.places().await, w.runners().await.unwrap())
}

async fn a_create_that_is_repeated_creates_nothing<F: Fixture>(w: World<F>) {
    for start in [false, true] {
        let own =
            [NewJob { id: Some(JobId::mint()), ..osis() }, NewJob { id: Some(JobId::mint()), ..osis() }];
        let keyed = [NewJob { idempotency_key: Some(start.to_string()), ..osis() }];
        w.create(&own, start).await.unwrap();
        let first = w.create(&keyed, start).await.unwrap()[0].id;
        let before = look(&w).await;
        let again = w.create(&own, start).await;
        assert!(matches!(again, Err(Error::JobExists { index: 0, .. })), "{again:?}");
        assert_eq!(w.create(&keyed, start).await.unwrap(), [Created { id: first, is_new: false }]);
        assert_eq!(look(&w).await, before);
    }
}

async fn a_start_and_a_stop_that_are_repeated_change_nothing<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    let id = w.create_one(osis()).await;
    let waiting = w.submit(after(&[id])).await;
    w.start(id, None).await.unwrap();
    let before = look(&w).await;
    for id in [id, waiting] {
        assert!(matches!(w.start(id, None).await, Err(Error::AlreadyStarted(_))));
    }
    assert_eq!(look(&w).await, before);

    w.claim_one(&runner).await;
    let before = look(&w).await;
    for _ in 0..2 {
        assert_eq!(w.stop(id, None).await.unwrap(), Stopped::Asked(runner_id("a")));
        assert_eq!(look(&w).await, before, "its runner is told again");
    }
    assert_eq!(w.stop(waiting, None).await.unwrap(), Stopped::Ended);
    let before = look(&w).await;
    assert_eq!(w.stop(waiting, None).await.unwrap(), Stopped::AlreadyEnded);
    assert_eq!(look(&w).await, before);
}

async fn a_retry_and_a_delete_that_are_repeated_change_nothing<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    w.stop(id, None).await.unwrap();
    w.retry(id, None).await.unwrap();
    let before = look(&w).await;
    assert!(matches!(w.retry(id, None).await, Err(Error::JobNotFailed(_))));
    assert_eq!(look(&w).await, before);
    w.delete(id, None).await.unwrap();
    let before = look(&w).await;
    assert!(matches!(w.delete(id, None).await, Err(Error::JobNotFound(_))));
    assert_eq!(look(&w).await, before);
}

async fn reports_that_are_repeated_change_nothing<F: Fixture>(w: World<F>) {
    let retried = w.submit(NewJob { retries: 1, ..osis() }).await;
    w.submit_many(3).await;
    let runner = w.runner("a").await;
    let jobs = w.claim(&runner, 4).await;
    assert_eq!(jobs[0].id, retried);
    let reports = [
        failed(&jobs[0], ErrorKind::ScriptFailed),
        finished(&jobs[1], "42"),
        failed(&jobs[2], ErrorKind::Timeout),
        report(&jobs[3], Outcome::HandedBack),
    ];
    w.exchange(&runner, &reports, None).await.unwrap();
    let before = look(&w).await;
    for _ in 0..2 {
        assert_eq!(w.exchange(&runner, &reports, None).await.unwrap().refused, []);
        assert_eq!(look(&w).await, before);
    }
}

async fn a_claim_that_is_repeated_takes_other_jobs_and_the_first_come_back<F: Fixture>(w: World<F>) {
    let all = w.submit_many(4).await;
    let runner = w.runner("a").await;
    // The answer that brought these was lost.
    w.ask(&runner, &claim(2)).await;
    let heard_of = ids(&w.ask(&runner, &claim(2)).await.jobs);
    assert_eq!(heard_of, all[2..]);
    for _ in 0..2 {
        w.renew(&runner, 2, &heard_of).await.unwrap();
    }
    assert_eq!(w.queued().await.len(), 2);
    assert_eq!(w.places().await.inflight[&runner_id("a")], heard_of);
}

async fn what_is_said_of_a_running_job_may_be_said_again<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    let lines = [(LogStream::Stdout, "one".to_owned()), (LogStream::Stderr, "two".to_owned())];
    let said = Said { progress: Some(Progress::new(0.5, "half")), result: Some("1".to_owned()) };
    let mut seen = Vec::new();
    for _ in 0..2 {
        w.append_log(id, 1, 0, &lines, 1_000).await.unwrap();
        assert!(w.say(id, 1, &said).await.unwrap());
        seen.push((look(&w).await, w.read_log(id, None, None, 1_000).await.unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
}

async fn what_a_runner_does_may_be_repeated<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let sign_in = signing_in("a", "a-1");
    let runner = w.sign_in(&sign_in).await.unwrap();
    let before = look(&w).await;
    assert_eq!(w.sign_in(&sign_in).await.unwrap(), runner);
    assert_eq!(look(&w).await, before);
    let job = w.claim_one(&runner).await;
    for draining in [true, false] {
        let mut seen = Vec::new();
        for _ in 0..2 {
            w.drain(&runner.runner, draining).await.unwrap();
            assert_eq!(w.renew(&runner, 1, &[id]).await.unwrap().draining, draining);
            seen.push(look(&w).await);
        }
        assert_eq!(seen[0], seen[1]);
    }
    // A sign-in that is repeated later gives back what was held, as that of another process does.
    w.sign_in(&sign_in).await.unwrap();
    assert_eq!(w.queued().await, [job.id]);
    w.sign_out(&runner).await.unwrap();
    let before = look(&w).await;
    assert!(matches!(w.sign_out(&runner).await, Err(Error::RunnerReplaced(_))));
    assert!(matches!(w.remove(&runner.runner).await, Err(Error::RunnerNotFound(_))));
    assert_eq!(look(&w).await, before);
    let swept = w.settle().await;
    assert_eq!((swept.requeued, swept.ended), (0, 0));
    assert_eq!(look(&w).await, before);
}
