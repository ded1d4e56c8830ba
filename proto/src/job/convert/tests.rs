//! Every job that can exist comes out as it went in; what cannot exist is refused by name.

use hero_domain::{
    CircleKey, ErrorKind, Job, JobFilter, JobId, JobPage, JobStatus, LogLine, LogPage, LogStream, NewJob,
    Priority, Progress, Reason, RunnerId, ScriptType, Timestamp,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

use super::{
    job, job_filter, job_ids, job_page, job_status, log_page, new_job, new_jobs, to_job, to_job_ids,
    to_job_page, to_job_status, to_list_request, to_log_page, to_new_job,
};
use crate::pb::job::v1 as pb;

fn id() -> impl Strategy<Value = JobId> {
    any::<u128>().prop_map(|bits| uuid::Uuid::from_u128(bits).into())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

fn name<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

fn circle() -> impl Strategy<Value = CircleKey> {
    any::<[u8; 32]>().prop_map(|bytes| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("02{hex}").parse().expect("a compressed key")
    })
}

fn runner() -> impl Strategy<Value = RunnerId> {
    any::<u64>().prop_map(|number| format!("runner-{number}").parse().expect("a runner id"))
}

prop_compose! {
    fn new_jobs_of_any_kind()(
        (id, caller_id, context_id, script) in (option::of(id()), text(), text(), text()),
        script_type in name(ScriptType::ALL),
        (timeout_s, retries, retry_backoff_ms, max_deliveries, retention_s) in any::<(u32, u32, u64, u32, u32)>(),
        prerequisites in vec(id(), 0..4),
        priority in name(Priority::ALL),
        run_at in option::of(time()),
        env_vars in btree_map(text(), text(), 0..4),
        (idempotency_key, traceparent) in (option::of(text()), option::of(text())),
    ) -> NewJob {
        NewJob {
            id, is_id_minted: false, caller_id, context_id, circle: None, script, script_type, timeout_s, prerequisites, retries,
            retry_backoff_ms, max_deliveries, priority, run_at, env_vars, idempotency_key, retention_s, traceparent,
        }
    }
}

prop_compose! {
    fn jobs_of_any_kind()(
        new in new_jobs_of_any_kind(),
        (id, circle, dependents, runner_id) in (id(), option::of(circle()), vec(id(), 0..4), option::of(runner())),
        (status, error_kind) in (name(JobStatus::ALL), option::of(name(ErrorKind::ALL))),
        (error, output, attempt, note) in (option::of(text()), option::of(text()), any::<u32>(), option::of(text())),
        (progress, result) in (option::of((0..=1000_u16, text())), option::of(text())),
        (created_at, updated_at) in (time(), time()),
        (queued_at, started_at, finished_at) in (option::of(time()), option::of(time()), option::of(time())),
    ) -> Job {
        let progress = progress.map(|(per_mille, text)| Progress { per_mille, text });
        Job {
            id, caller_id: new.caller_id, context_id: new.context_id, circle, script: new.script,
            script_type: new.script_type, timeout_s: new.timeout_s, prerequisites: new.prerequisites, dependents,
            retries: new.retries, retry_backoff_ms: new.retry_backoff_ms, max_deliveries: new.max_deliveries,
            priority: new.priority, run_at: new.run_at, env_vars: new.env_vars,
            idempotency_key: new.idempotency_key, retention_s: new.retention_s, status, error_kind, error, output,
            progress, result, attempt, runner_id, created_at, queued_at, started_at, finished_at, updated_at,
            traceparent: new.traceparent, note,
        }
    }
}

prop_compose! {
    fn filters_of_any_kind()(
        (status, script_type) in (option::of(name(JobStatus::ALL)), option::of(name(ScriptType::ALL))),
        error_kind in option::of(name(ErrorKind::ALL)),
        (context_id, caller_id) in (option::of(text()), option::of(text())),
        (created_after, created_before) in (option::of(time()), option::of(time())),
        (limit, cursor) in (option::of(any::<u32>()), option::of(id())),
    ) -> JobFilter {
        let limit = limit.map(|limit| limit as usize);
        JobFilter { status, error_kind, script_type, context_id, caller_id, created_after, created_before, limit, cursor }
    }
}

proptest! {
    #[test]
    fn a_new_job_survives(example in new_jobs_of_any_kind()) {
        prop_assert_eq!(new_job(to_new_job(example.clone())).unwrap(), example);
    }

    #[test]
    fn a_job_survives(example in jobs_of_any_kind()) {
        prop_assert_eq!(job(Some(to_job(example.clone()))).unwrap(), example);
    }

    #[test]
    fn a_filter_survives(example in filters_of_any_kind()) {
        prop_assert_eq!(job_filter(to_list_request(example.clone())).unwrap(), example);
    }

    #[test]
    fn a_page_survives(ids in vec(id(), 0..5), next_cursor in option::of(id())) {
        let example = JobPage { ids, next_cursor };
        prop_assert_eq!(job_page(to_job_page(example.clone())).unwrap(), example);
    }

    #[test]
    fn ids_survive(ids in vec(id(), 0..5)) {
        prop_assert_eq!(job_ids(to_job_ids(ids.clone())).unwrap(), ids);
    }

    #[test]
    fn a_log_survives(
        lines in vec((select(vec![LogStream::Stdout, LogStream::Stderr, LogStream::Log]), time(), text()), 0..5),
        next in option::of(text()),
    ) {
        let lines = lines.into_iter().map(|(stream, at, text)| LogLine { stream, at, text }).collect();
        let example = LogPage { lines, next };
        prop_assert_eq!(log_page(to_log_page(example.clone())).unwrap(), example);
    }
}

#[test]
fn a_status_survives() {
    for status in JobStatus::ALL {
        assert_eq!(job_status(to_job_status(*status)).unwrap(), *status);
    }
    assert_eq!(job_status(pb::GetJobStatusResponse { status: 0 }).unwrap_err().field(), Some("status"));
}

#[test]
fn what_is_left_out_of_a_new_job_is_at_its_default() {
    let bare = pb::NewJob {
        script: "40 + 2".into(),
        script_type: pb::ScriptType::Osis.into(),
        caller_id: "me".into(),
        context_id: "here".into(),
        ..pb::NewJob::default()
    };
    let expected = NewJob {
        caller_id: "me".into(),
        context_id: "here".into(),
        ..NewJob::new(ScriptType::Osis, "40 + 2")
    };
    assert_eq!(new_job(bare).unwrap(), expected);
}

#[test]
fn the_circle_of_a_new_job_does_not_travel_with_it() {
    let circle = format!("02{}", "ab".repeat(32)).parse().ok();
    let inside = NewJob { circle, ..NewJob::new(ScriptType::Osis, "1") };
    assert_eq!(new_job(to_new_job(inside)).unwrap().circle, None);
}

#[test]
fn what_is_malformed_is_refused_by_name() {
    let whole = to_new_job(NewJob::new(ScriptType::Python, "pass"));
    let time = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    let cases = [
        ("script_type", Reason::ScriptTypeUnknown, pb::NewJob { script_type: 0, ..whole.clone() }),
        ("script_type", Reason::ScriptTypeUnknown, pb::NewJob { script_type: 99, ..whole.clone() }),
        ("priority", Reason::InvalidParams, pb::NewJob { priority: Some(0), ..whole.clone() }),
        ("id", Reason::IdMalformed, pb::NewJob { id: Some("42".into()), ..whole.clone() }),
        (
            "prerequisites",
            Reason::IdMalformed,
            pb::NewJob { prerequisites: vec!["42".into()], ..whole.clone() },
        ),
        ("run_at", Reason::InvalidParams, pb::NewJob { run_at: time, ..whole.clone() }),
    ];
    for (field, reason, case) in cases {
        let error = new_job(case.clone()).unwrap_err();
        assert_eq!((error.field(), error.reason()), (Some(field), reason));
        let error = new_jobs(vec![whole.clone(), case]).unwrap_err();
        assert_eq!(error.field(), Some(format!("jobs[1].{field}").as_str()));
    }
}

#[test]
fn a_cursor_that_is_no_id_leads_nowhere() {
    let request = pb::ListJobsRequest { page_token: Some("next".into()), ..pb::ListJobsRequest::default() };
    let error = job_filter(request).unwrap_err();
    assert_eq!((error.field(), error.reason()), (Some("cursor"), Reason::CursorUnknown));
}

#[test]
fn a_job_without_what_every_job_has_is_refused() {
    assert_eq!(job(None).unwrap_err().field(), Some("job"));
    assert_eq!(job(Some(pb::Job::default())).unwrap_err().field(), Some("id"));
}
