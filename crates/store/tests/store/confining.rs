//! A confined call sees the jobs of one context, and no others.

use hero_domain::{JobFilter, JobStatus, NewJob};
use hero_store::{Error, JobStore, Stopped};

use crate::{
    fixture::Fixture,
    world::{World, circle, of_context, osis},
};

promises![
    a_job_of_another_context_is_as_if_it_were_not_there,
    a_job_of_its_own_context_is_there,
    a_confined_call_changes_nothing_elsewhere,
    a_list_of_one_context_has_its_jobs_only,
    a_circles_job_cannot_wait_for_a_job_of_another_context,
];

async fn a_job_of_another_context_is_as_if_it_were_not_there<F: Fixture>(w: World<F>) {
    let id = w.create_one(of_context("theirs")).await;
    let mine = Some("mine");
    let refusals = [
        w.get(id, mine).await.map(drop),
        w.status(id, mine).await.map(drop),
        w.start(id, mine).await.map(drop),
        w.stop(id, mine).await.map(drop),
        w.delete(id, mine).await,
        w.read_log(id, mine, None, 100).await.map(drop),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(Error::JobNotFound(it)) if it == id), "{refusal:?}");
    }
}

async fn a_confined_call_changes_nothing_elsewhere<F: Fixture>(w: World<F>) {
    let id = w.create_one(of_context("theirs")).await;
    let before = w.job(id).await;
    w.advance(10).await;
    w.start(id, Some("mine")).await.unwrap_err();
    w.stop(id, Some("mine")).await.unwrap_err();
    w.delete(id, Some("mine")).await.unwrap_err();
    assert_eq!(w.clear(Some("mine")).await.unwrap(), 0);
    assert_eq!(w.job(id).await, before);
    assert_eq!(w.places().await, Default::default());
}

async fn a_job_of_its_own_context_is_there<F: Fixture>(w: World<F>) {
    let id = w.create_one(of_context("mine")).await;
    let mine = Some("mine");
    assert_eq!(w.get(id, mine).await.unwrap().id, id);
    assert_eq!(w.status(id, mine).await.unwrap(), JobStatus::Dispatched);
    assert_eq!(w.start(id, mine).await.unwrap(), JobStatus::Dispatched);
    assert_eq!(w.read_log(id, mine, None, 100).await.unwrap().lines, vec![]);
    assert_eq!(w.stop(id, mine).await.unwrap(), Stopped::Ended);
    w.delete(id, mine).await.unwrap();
    assert!(w.get(id, None).await.is_err());
}

async fn a_list_of_one_context_has_its_jobs_only<F: Fixture>(w: World<F>) {
    let mine = w.submit(of_context("mine")).await;
    w.submit(of_context("theirs")).await;
    let filter = JobFilter { context_id: Some("mine".to_owned()), ..JobFilter::default() };
    assert_eq!(w.list(&filter).await.unwrap().ids, [mine]);
}

async fn a_circles_job_cannot_wait_for_a_job_of_another_context<F: Fixture>(w: World<F>) {
    let own = NewJob { circle: Some(circle()), context_id: circle().to_string(), ..osis() };
    let theirs = w.submit(of_context("theirs")).await;
    let error = w.create(&[NewJob { prerequisites: vec![theirs], ..own.clone() }], true).await.unwrap_err();
    assert!(matches!(error, Error::PrerequisiteNotFound { index: 0, id } if id == theirs), "{error:?}");
    let first = w.submit(own.clone()).await;
    let second = w.submit(NewJob { prerequisites: vec![first], ..own }).await;
    assert_eq!(w.status_of(second).await, JobStatus::WaitingForPrerequisites);
}
