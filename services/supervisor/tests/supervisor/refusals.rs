//! Each error with its reason, and the field that it is about.

use hero_domain::{
    ApiError, JobFilter, JobId, JobLimits, NewJob, Reason,
    ports::{Jobs as _, Runners as _},
};
use hero_proto::pb::job::v1::{self as pb, job_service_client::JobServiceClient};

use crate::node::{Node, caller, job, submit};

fn told(error: &ApiError) -> (Reason, Option<&str>) {
    (error.reason(), error.field())
}

#[tokio::test]
async fn a_job_that_cannot_be_is_refused_by_every_method_that_takes_one() {
    let node = Node::start().await;
    let limits = JobLimits::default();
    let taken = submit(&node, job("1")).await;
    let ok = job("1");
    let cases = [
        ("script", Reason::ScriptEmpty, job(" \n")),
        ("script", Reason::ScriptTooLarge, job(&"x".repeat(limits.max_script_bytes + 1))),
        ("timeout", Reason::InvalidParams, NewJob { timeout_s: 0, ..ok.clone() }),
        ("retries", Reason::InvalidParams, NewJob { retries: 101, ..ok.clone() }),
        ("caller_id", Reason::InvalidParams, NewJob { caller_id: "a\nb".into(), ..ok.clone() }),
        (
            "env_vars",
            Reason::EnvInvalid,
            NewJob { env_vars: [("1".into(), "x".into())].into(), ..ok.clone() },
        ),
        (
            "prerequisites",
            Reason::TooManyPrerequisites,
            NewJob { prerequisites: vec![JobId::mint(); 1_001], ..ok.clone() },
        ),
        (
            "prerequisites",
            Reason::PrerequisiteNotFound,
            NewJob { prerequisites: vec![JobId::mint()], ..ok.clone() },
        ),
        ("id", Reason::JobExists, NewJob { id: Some(taken), ..ok.clone() }),
    ];
    for (field, reason, bad) in cases {
        let jobs = node.jobs();
        assert_eq!(told(&jobs.create(&caller(), bad.clone()).await.unwrap_err()), (reason, Some(field)));
        assert_eq!(told(&jobs.run(&caller(), bad.clone(), None).await.unwrap_err()), (reason, Some(field)));
        let error = jobs.submit(&caller(), vec![ok.clone(), bad]).await.unwrap_err();
        assert_eq!(told(&error), (reason, Some(format!("jobs[1].{field}").as_str())));
    }
    let left = node.jobs().list(&caller(), JobFilter::default()).await.unwrap().ids;
    assert_eq!(left, [taken], "a refused call leaves nothing behind");
    node.stop().await;
}

#[tokio::test]
async fn bounds_are_settings() {
    let node = Node::start_with(|config| {
        config.jobs.max_script_bytes = 10;
        config.jobs.max_submit_jobs = 2;
        config.jobs.default_list_page = 2;
        config.jobs.max_list_page = 2;
    })
    .await;
    let error = node.jobs().create(&caller(), job("12345678901")).await.unwrap_err();
    assert_eq!(told(&error), (Reason::ScriptTooLarge, Some("script")));
    let error = node.jobs().submit(&caller(), vec![job("1"); 3]).await.unwrap_err();
    assert_eq!(told(&error), (Reason::BatchTooLarge, Some("jobs")));
    for limit in [0, 3] {
        let filter = JobFilter { limit: Some(limit), ..JobFilter::default() };
        let error = node.jobs().list(&caller(), filter).await.unwrap_err();
        assert_eq!(told(&error), (Reason::InvalidParams, Some("limit")));
    }
    node.stop().await;
}

#[tokio::test]
async fn a_job_or_runner_that_is_not_there_is_named() {
    let node = Node::start().await;
    let (jobs, id) = (node.jobs(), JobId::mint());
    let refusals = [
        jobs.start(&caller(), id).await.unwrap_err(),
        jobs.wait(&caller(), id, None).await.unwrap_err(),
        jobs.get(&caller(), id).await.unwrap_err(),
        jobs.status(&caller(), id).await.unwrap_err(),
        jobs.logs(&caller(), id, None, 0).await.unwrap_err(),
        jobs.stop(&caller(), id).await.unwrap_err(),
        jobs.delete(&caller(), id).await.unwrap_err(),
    ];
    for error in refusals {
        assert_eq!((error.reason(), error.job_id()), (Reason::JobNotFound, Some(id)));
        assert!(error.message().contains(&id.to_string()));
    }
    let filter = JobFilter { cursor: Some(id), ..JobFilter::default() };
    assert_eq!(
        told(&jobs.list(&caller(), filter).await.unwrap_err()),
        (Reason::CursorUnknown, Some("cursor"))
    );
    let here = submit(&node, job("1")).await;
    let error = jobs.logs(&caller(), here, Some("nowhere".into()), 0).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CursorUnknown);
    let admin = hero_domain::Caller::local();
    let error = node.runners().get(&admin, "nobody".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RunnerNotFound);
    node.stop().await;
}

#[tokio::test]
async fn a_job_is_started_once() {
    let node = Node::start().await;
    let id = submit(&node, job("1")).await;
    let error = node.jobs().start(&caller(), id).await.unwrap_err();
    assert_eq!((error.reason(), error.job_id()), (Reason::JobAlreadyStarted, Some(id)));
    node.stop().await;
}

#[tokio::test]
async fn a_call_past_our_client_is_checked_too() {
    let node = Node::start().await;
    let mut raw = JobServiceClient::new(node.channel.clone());
    let status = raw.list_jobs(pb::ListJobsRequest::default()).await.unwrap_err();
    assert_eq!(hero_proto::from_status(status).reason(), Reason::AuthenticationRequired);

    let call = |job_id: &str| {
        let mut request = tonic::Request::new(pb::GetJobRequest { job_id: job_id.into() });
        request.metadata_mut().insert("hero-caller-name", "raw".parse().unwrap());
        request.metadata_mut().insert("hero-caller-scope", "user".parse().unwrap());
        request
    };
    for id in ["", "42", "0193e2d07c7a7b0e8f8e0123456789ab"] {
        let error = hero_proto::from_status(raw.get_job(call(id)).await.unwrap_err());
        assert_eq!(told(&error), (Reason::IdMalformed, Some("job_id")));
    }
    let mut empty = tonic::Request::new(pb::CreateJobRequest { job: None });
    *empty.metadata_mut() = call("").metadata().clone();
    let error = hero_proto::from_status(raw.create_job(empty).await.unwrap_err());
    assert_eq!(told(&error), (Reason::InvalidParams, Some("job")));
    node.stop().await;
}
