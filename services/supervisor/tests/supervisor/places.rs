//! Scopes and circles are checked here, whatever an edge has checked before.

use hero_domain::{
    Caller, JobFilter, NewJob, Reason, Scope,
    ports::{Jobs as _, Runners as _},
};

use crate::node::{Node, caller, circle, get, inside, job, submit};

#[tokio::test]
async fn a_scope_that_does_not_suffice_is_refused() {
    let node = Node::start().await;
    let registrar = Caller { scope: Scope::Register, ..caller() };
    let id = submit(&node, job("1")).await;
    let jobs = node.jobs();
    let refusals = [
        jobs.create(&registrar, job("1")).await.unwrap_err(),
        jobs.start(&registrar, id).await.unwrap_err(),
        jobs.submit(&registrar, vec![job("1")]).await.unwrap_err(),
        jobs.run(&registrar, job("1"), None).await.unwrap_err(),
        jobs.wait(&registrar, id, None).await.unwrap_err(),
        jobs.get(&registrar, id).await.unwrap_err(),
        jobs.status(&registrar, id).await.unwrap_err(),
        jobs.logs(&registrar, id, None, 0).await.unwrap_err(),
        jobs.list(&registrar, JobFilter::default()).await.unwrap_err(),
        jobs.stop(&registrar, id).await.unwrap_err(),
        jobs.delete(&registrar, id).await.unwrap_err(),
        jobs.clear(&registrar).await.unwrap_err(),
        node.runners().list(&caller()).await.unwrap_err(),
        node.runners().get(&caller(), "hand".parse().unwrap()).await.unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(error.reason(), Reason::ScopeInsufficient, "{error}");
    }
    let admin = Caller { scope: Scope::Admin, ..caller() };
    assert_eq!(jobs.clear(&admin).await.unwrap(), 1);
    assert_eq!(node.runners().list(&admin).await.unwrap(), []);
    node.stop().await;
}

/// A node that serves two circles.
async fn with_circles() -> Node {
    Node::start_with(|config| config.circles = [0xaa, 0xdd].map(|byte| circle(byte).to_string()).into()).await
}

#[tokio::test]
async fn a_circle_owns_its_jobs_and_sees_no_others() {
    let node = with_circles().await;
    let (mine, jobs) = (inside(0xaa), node.jobs());
    let own =
        jobs.submit(&mine, vec![NewJob { context_id: "elsewhere".into(), ..job("1") }]).await.unwrap()[0];
    let whole = get(&node, own).await;
    assert_eq!((whole.context_id.as_str(), whole.circle), (circle(0xaa).as_str(), Some(circle(0xaa))));
    let at_root = submit(&node, job("2")).await;
    let of_another = jobs.create(&inside(0xdd), job("3")).await.unwrap();
    for id in [at_root, of_another] {
        let refusals = [
            jobs.get(&mine, id).await.unwrap_err(),
            jobs.status(&mine, id).await.unwrap_err(),
            jobs.start(&mine, id).await.unwrap_err(),
            jobs.wait(&mine, id, None).await.unwrap_err(),
            jobs.logs(&mine, id, None, 0).await.unwrap_err(),
            jobs.stop(&mine, id).await.unwrap_err(),
            jobs.delete(&mine, id).await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!((error.reason(), error.job_id()), (Reason::JobNotFound, Some(id)));
        }
        let waits_for_it = NewJob { prerequisites: vec![id], ..job("4") };
        let error = jobs.create(&mine, waits_for_it).await.unwrap_err();
        assert_eq!((error.reason(), error.field()), (Reason::PrerequisiteNotFound, Some("prerequisites")));
    }
    assert_eq!(jobs.list(&mine, JobFilter::default()).await.unwrap().ids, [own]);
    let elsewhere = JobFilter { context_id: Some("default".into()), ..JobFilter::default() };
    assert_eq!(jobs.list(&mine, elsewhere).await.unwrap().ids, []);
    assert_eq!(jobs.clear(&mine).await.unwrap(), 1);
    assert_eq!(jobs.list(&caller(), JobFilter::default()).await.unwrap().ids.len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn a_circles_job_goes_to_its_own_runner() {
    let node = with_circles().await;
    let hand = node.hand("inner", Some(circle(0xaa)), crate::node::PATIENCE).await;
    submit(&node, job("1")).await;
    let own = node.jobs().submit(&inside(0xaa), vec![job("2")]).await.unwrap()[0];
    assert_eq!(hand.take().await.id, own);
    let registrar = Caller { scope: Scope::Register, ..inside(0xaa) };
    assert_eq!(node.runners().list(&registrar).await.unwrap().len(), 1);
    let registrar = Caller { scope: Scope::Register, ..inside(0xdd) };
    assert_eq!(node.runners().list(&registrar).await.unwrap(), []);
    node.stop().await;
}
