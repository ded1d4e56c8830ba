//! Create, start, submit: what is stored, what is refused, and when a job is queued.

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Priority, ScriptType};
use hero_store::{Error, JobStore};

use crate::{
    fixture::Fixture,
    world::{World, after, at, circle, of_context, osis},
};

promises![
    a_created_job_is_dispatched_and_in_no_queue,
    a_created_job_keeps_every_field,
    a_job_without_options_has_the_defaults,
    text_of_any_kind_survives,
    a_started_job_is_queued,
    a_submitted_job_is_queued,
    jobs_of_one_submit_are_queued_in_order,
    an_id_that_was_brought_is_kept,
    minted_ids_differ,
    an_id_that_exists_is_refused,
    an_id_twice_in_one_call_is_refused,
    a_deleted_id_may_come_again,
    an_expired_id_may_come_again,
    a_refused_call_stores_nothing,
    a_missing_prerequisite_is_refused_with_its_place,
    a_prerequisite_may_stand_earlier_in_the_same_call,
    a_prerequisite_may_not_stand_later_in_the_same_call,
    an_idempotency_key_returns_the_first_job,
    an_idempotency_key_goes_before_an_id_that_exists,
    an_idempotency_key_is_of_its_context,
    an_idempotency_key_works_within_one_call,
    an_idempotency_key_is_free_again_after_a_delete,
    an_idempotency_key_starts_nothing_again,
    an_empty_create_creates_nothing,
    a_second_start_is_refused,
    a_start_of_a_stopped_job_is_refused,
    a_start_of_an_unknown_job_is_refused,
    a_thousand_jobs_in_one_call,
    a_job_for_later_is_not_queued_before_its_time,
    a_job_for_an_earlier_time_is_queued_at_once,
    a_job_for_later_cannot_be_started_twice,
    a_job_for_later_can_be_stopped,
    jobs_for_later_are_promoted_in_the_order_of_their_time,
];

async fn a_created_job_is_dispatched_and_in_no_queue<F: Fixture>(w: World<F>) {
    let id = w.create_one(osis()).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.queued_at, job.attempt), (JobStatus::Dispatched, None, 0));
    assert_eq!((job.created_at, job.updated_at), (at(0), at(0)));
    assert_eq!(w.places().await, Default::default());
    let runner = w.runner("a").await;
    assert_eq!(w.claim(&runner, 1).await, vec![]);
}

async fn a_created_job_keeps_every_field<F: Fixture>(w: World<F>) {
    let first = w.create_one(of_context(circle().as_str())).await;
    let new = NewJob {
        id: Some(JobId::mint()),
        is_id_minted: false,
        caller_id: "mia".to_owned(),
        context_id: circle().as_str().to_owned(),
        circle: Some(circle()),
        script: "print('hi')".to_owned(),
        script_type: ScriptType::Python,
        timeout_s: 5,
        prerequisites: vec![first],
        retries: 2,
        retry_backoff_ms: 250,
        max_deliveries: 7,
        priority: Priority::High,
        run_at: Some(at(90_000)),
        env_vars: [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())].into(),
        idempotency_key: Some("once".to_owned()),
        retention_s: 33,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    let id = w.create_one(new.clone()).await;
    let job = w.job(id).await;
    let kept = NewJob {
        id: Some(job.id),
        is_id_minted: false,
        caller_id: job.caller_id,
        context_id: job.context_id,
        circle: job.circle,
        script: job.script,
        script_type: job.script_type,
        timeout_s: job.timeout_s,
        prerequisites: job.prerequisites,
        retries: job.retries,
        retry_backoff_ms: job.retry_backoff_ms,
        max_deliveries: job.max_deliveries,
        priority: job.priority,
        run_at: job.run_at,
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: job.retention_s,
        traceparent: job.traceparent,
    };
    assert_eq!(kept, new);
}

async fn a_job_without_options_has_the_defaults<F: Fixture>(w: World<F>) {
    let job = w.job(w.create_one(osis()).await).await;
    let default = osis();
    assert_eq!(job.caller_id, default.caller_id);
    assert_eq!(job.context_id, default.context_id);
    assert_eq!(job.timeout_s, default.timeout_s);
    assert_eq!(job.retries, 0);
    assert_eq!(job.retry_backoff_ms, default.retry_backoff_ms);
    assert_eq!(job.max_deliveries, default.max_deliveries);
    assert_eq!(job.priority, Priority::Normal);
    assert_eq!(job.retention_s, default.retention_s);
    assert!(job.env_vars.is_empty() && job.prerequisites.is_empty() && job.dependents.is_empty());
    assert_eq!((job.run_at, job.idempotency_key, job.traceparent, job.circle), (None, None, None, None));
    assert_eq!((job.error_kind, job.error, job.output, job.runner_id), (None, None, None, None));
    assert_eq!((job.started_at, job.finished_at), (None, None));
}

async fn text_of_any_kind_survives<F: Fixture>(w: World<F>) {
    let odd = "\u{0}\r\n\t\"'\\ {\"a\":[]} é 漢 🚀 $1 %s";
    let new = NewJob {
        script: odd.to_owned(),
        caller_id: "é: {x}".to_owned(),
        env_vars: [("A".to_owned(), "line\nline = 漢".to_owned())].into(),
        ..osis()
    };
    let id = w.submit(new.clone()).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert_eq!((claimed.script.as_str(), &claimed.env_vars), (odd, &new.env_vars));
    assert_eq!(claimed.caller_id, new.caller_id);
    assert!(w.report(&runner, crate::world::finished(&claimed, odd)).await);
    let job = w.job(id).await;
    assert_eq!((job.script.as_str(), job.output.as_deref()), (odd, Some(odd)));
}

async fn a_started_job_is_queued<F: Fixture>(w: World<F>) {
    let id = w.create_one(osis()).await;
    w.advance(5).await;
    assert_eq!(w.start(id, None).await.unwrap(), JobStatus::Dispatched);
    let job = w.job(id).await;
    assert_eq!((job.created_at, job.queued_at, job.updated_at), (at(0), Some(at(5)), at(5)));
    assert_eq!(w.queued().await, [id]);
}

async fn a_submitted_job_is_queued<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let job = w.job(id).await;
    assert_eq!((job.status, job.queued_at), (JobStatus::Dispatched, Some(at(0))));
    assert_eq!(w.queued().await, [id]);
}

async fn jobs_of_one_submit_are_queued_in_order<F: Fixture>(w: World<F>) {
    let first = w.submit_many(3).await;
    let second = w.submit_many(2).await;
    assert_eq!(w.queued().await, [first, second].concat());
}

async fn an_id_that_was_brought_is_kept<F: Fixture>(w: World<F>) {
    // Any UUID is taken, not only the kind that is minted.
    let id: JobId = "9f0c3e6a-58a4-4f6e-9d5a-2b8a4d1b7c11".parse().unwrap();
    let created = w.create(&[NewJob { id: Some(id), ..osis() }], false).await.unwrap();
    assert_eq!((created[0].id, created[0].is_new), (id, true));
    assert_eq!(w.job(id).await.id, id);
}

async fn minted_ids_differ<F: Fixture>(w: World<F>) {
    let mut ids = w.submit_many(100).await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

async fn an_id_that_exists_is_refused<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let again = NewJob { id: Some(id), script: "other".to_owned(), ..osis() };
    let error = w.create(&[osis(), again], true).await.unwrap_err();
    assert!(matches!(error, Error::JobExists { index: 1, id: it } if it == id), "{error:?}");
    assert_eq!(w.job(id).await.script, osis().script);
}

async fn an_id_twice_in_one_call_is_refused<F: Fixture>(w: World<F>) {
    let job = NewJob { id: Some(JobId::mint()), ..osis() };
    let error = w.create(&[job.clone(), job.clone()], true).await.unwrap_err();
    assert!(matches!(error, Error::JobExists { index: 1, id } if Some(id) == job.id), "{error:?}");
    assert_eq!(w.places().await, Default::default());
}

async fn a_deleted_id_may_come_again<F: Fixture>(w: World<F>) {
    let job = NewJob { id: Some(JobId::mint()), ..osis() };
    let id = w.submit(job.clone()).await;
    w.delete(id, None).await.unwrap();
    assert_eq!(w.submit(job).await, id);
    assert_eq!(w.queued().await, [id]);
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, [id]);
}

async fn an_expired_id_may_come_again<F: Fixture>(w: World<F>) {
    let job = NewJob { id: Some(JobId::mint()), retention_s: 60, ..osis() };
    let id = w.submit(job.clone()).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let other = w.submit(osis()).await;
    w.advance(60_000).await;
    assert_eq!(w.submit(job).await, id);
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, [id, other], "once, in its new place");
    w.settle().await;
    assert_eq!(w.list(&Default::default()).await.unwrap().ids, [id, other]);
}

async fn a_refused_call_stores_nothing<F: Fixture>(w: World<F>) {
    let existing = w.create_one(osis()).await;
    let keyed = NewJob { id: Some(JobId::mint()), idempotency_key: Some("k".to_owned()), ..osis() };
    let calls = [
        vec![keyed.clone(), after(&[JobId::mint()])],
        vec![keyed.clone(), NewJob { id: Some(existing), ..osis() }],
    ];
    for call in calls {
        w.create(&call, true).await.unwrap_err();
        assert_eq!(w.list(&Default::default()).await.unwrap().ids, [existing]);
        assert_eq!(w.places().await, Default::default());
        assert!(matches!(w.get(keyed.id.unwrap(), None).await, Err(Error::JobNotFound(_))));
    }
    let created = w.create(&[keyed], true).await.unwrap();
    assert!(created[0].is_new, "a refused call has not used up the key");
}

async fn a_missing_prerequisite_is_refused_with_its_place<F: Fixture>(w: World<F>) {
    let (there, missing) = (w.create_one(osis()).await, JobId::mint());
    let error = w.create(&[osis(), after(&[there, missing])], false).await.unwrap_err();
    assert!(matches!(error, Error::PrerequisiteNotFound { index: 1, id } if id == missing), "{error:?}");
}

async fn a_prerequisite_may_stand_earlier_in_the_same_call<F: Fixture>(w: World<F>) {
    let first = NewJob { id: Some(JobId::mint()), ..osis() };
    let created = w.create(&[first.clone(), after(&[first.id.unwrap()])], true).await.unwrap();
    assert_eq!(w.status_of(created[0].id).await, JobStatus::Dispatched);
    assert_eq!(w.status_of(created[1].id).await, JobStatus::WaitingForPrerequisites);
}

async fn a_prerequisite_may_not_stand_later_in_the_same_call<F: Fixture>(w: World<F>) {
    let later = NewJob { id: Some(JobId::mint()), ..osis() };
    let error = w.create(&[after(&[later.id.unwrap()]), later.clone()], true).await.unwrap_err();
    assert!(matches!(error, Error::PrerequisiteNotFound { index: 0, .. }), "{error:?}");
}

fn keyed(key: &str) -> NewJob {
    NewJob { idempotency_key: Some(key.to_owned()), ..osis() }
}

async fn an_idempotency_key_returns_the_first_job<F: Fixture>(w: World<F>) {
    let id = w.submit(keyed("k")).await;
    let other = NewJob { script: "something else".to_owned(), ..keyed("k") };
    let again = w.create(&[osis(), other], true).await.unwrap();
    assert!(again[0].is_new);
    assert_eq!((again[1].id, again[1].is_new), (id, false));
    assert_eq!(w.job(id).await.script, osis().script);
    assert_eq!(w.queued().await, [id, again[0].id]);
}

async fn an_idempotency_key_goes_before_an_id_that_exists<F: Fixture>(w: World<F>) {
    // A caller that repeats its whole call, id and all, gets its job and no error.
    let job = NewJob { id: Some(JobId::mint()), ..keyed("k") };
    let id = w.submit(job.clone()).await;
    let again = w.create(&[job], true).await.unwrap();
    assert_eq!((again[0].id, again[0].is_new), (id, false));
}

async fn an_idempotency_key_is_of_its_context<F: Fixture>(w: World<F>) {
    let first = w.submit(keyed("k")).await;
    let other = w.create(&[NewJob { context_id: "other".to_owned(), ..keyed("k") }], true).await.unwrap();
    assert!(other[0].is_new && other[0].id != first);
}

async fn an_idempotency_key_works_within_one_call<F: Fixture>(w: World<F>) {
    let created = w.create(&[keyed("k"), keyed("k")], true).await.unwrap();
    assert_eq!(created[0].id, created[1].id);
    assert_eq!((created[0].is_new, created[1].is_new), (true, false));
    assert_eq!(w.queued().await, [created[0].id]);
}

async fn an_idempotency_key_is_free_again_after_a_delete<F: Fixture>(w: World<F>) {
    let first = w.submit(keyed("k")).await;
    w.delete(first, None).await.unwrap();
    let created = w.create(&[keyed("k")], true).await.unwrap();
    assert!(created[0].is_new && created[0].id != first);
}

async fn an_idempotency_key_starts_nothing_again<F: Fixture>(w: World<F>) {
    let created_only = w.create_one(keyed("created")).await;
    let again = w.create(&[keyed("created")], true).await.unwrap();
    assert_eq!((again[0].id, again[0].is_new), (created_only, false));
    assert_eq!(w.queued().await, []);
}

async fn an_empty_create_creates_nothing<F: Fixture>(w: World<F>) {
    assert_eq!(w.create(&[], true).await.unwrap(), vec![]);
    assert_eq!(w.list(&Default::default()).await.unwrap(), Default::default());
}

async fn a_second_start_is_refused<F: Fixture>(w: World<F>) {
    let prerequisite = w.create_one(osis()).await;
    let queued = w.create_one(osis()).await;
    let waiting = w.create_one(after(&[prerequisite])).await;
    for id in [queued, waiting] {
        w.start(id, None).await.unwrap();
        let error = w.start(id, None).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyStarted(it) if it == id), "{error:?}");
    }
    assert_eq!(w.queued().await, [queued]);
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(matches!(w.start(queued, None).await, Err(Error::AlreadyStarted(_))), "while it runs");
    w.finish(&runner, &claimed).await;
    assert!(matches!(w.start(queued, None).await, Err(Error::AlreadyStarted(_))), "after its end");
    assert_eq!(w.places().await, Default::default());
}

async fn a_start_of_a_stopped_job_is_refused<F: Fixture>(w: World<F>) {
    let id = w.create_one(osis()).await;
    w.stop(id, None).await.unwrap();
    assert!(matches!(w.start(id, None).await, Err(Error::AlreadyStarted(_))));
    w.assert_failed(id, ErrorKind::Stopped).await;
}

async fn a_start_of_an_unknown_job_is_refused<F: Fixture>(w: World<F>) {
    let id = JobId::mint();
    assert!(matches!(w.start(id, None).await, Err(Error::JobNotFound(it)) if it == id));
    assert!(matches!(w.get(id, None).await, Err(Error::JobNotFound(_))));
    assert!(matches!(w.status(id, None).await, Err(Error::JobNotFound(_))));
}

async fn a_thousand_jobs_in_one_call<F: Fixture>(w: World<F>) {
    let ids = w.submit_many(1_000).await;
    assert_eq!(w.queued().await, ids);
    let runner = w.runner("a").await;
    assert_eq!(crate::world::ids(&w.claim(&runner, 1_000).await), ids);
}

fn for_later(ms: i64) -> NewJob {
    NewJob { run_at: Some(at(ms)), ..osis() }
}

async fn a_job_for_later_is_not_queued_before_its_time<F: Fixture>(w: World<F>) {
    let id = w.create_one(for_later(60_000)).await;
    assert_eq!(w.start(id, None).await.unwrap(), JobStatus::Dispatched);
    w.advance(59_999).await;
    let swept = w.settle().await;
    assert_eq!((swept.promoted, swept.next_due), (0, Some(at(60_000))));
    assert_eq!(w.queued().await, []);
    w.advance(1).await;
    let swept = w.settle().await;
    assert_eq!((swept.promoted, swept.next_due), (1, None));
    assert_eq!(w.queued().await, [id]);
    assert_eq!(w.job(id).await.queued_at, Some(at(60_000)));
}

async fn a_job_for_an_earlier_time_is_queued_at_once<F: Fixture>(w: World<F>) {
    let past = w.submit(for_later(-1)).await;
    let now = w.submit(for_later(0)).await;
    assert_eq!(w.queued().await, [past, now]);
}

async fn a_job_for_later_cannot_be_started_twice<F: Fixture>(w: World<F>) {
    let id = w.submit(for_later(1_000)).await;
    assert!(matches!(w.start(id, None).await, Err(Error::AlreadyStarted(_))));
    w.advance(1_000).await;
    w.settle().await;
    assert_eq!(w.queued().await, [id]);
}

async fn a_job_for_later_can_be_stopped<F: Fixture>(w: World<F>) {
    let id = w.submit(for_later(1_000)).await;
    w.stop(id, None).await.unwrap();
    w.assert_failed(id, ErrorKind::Stopped).await;
    w.advance(1_000).await;
    assert_eq!(w.settle().await.promoted, 0);
    assert_eq!(w.places().await, Default::default());
}

async fn jobs_for_later_are_promoted_in_the_order_of_their_time<F: Fixture>(w: World<F>) {
    let last = w.submit(for_later(3)).await;
    let first = w.submit(for_later(1)).await;
    let middle = w.submit(for_later(2)).await;
    w.advance(10).await;
    w.settle().await;
    assert_eq!(w.queued().await, [first, middle, last]);
}
