//! Every method does what the port says.

use std::time::Duration;

use hero_domain::{
    Caller, DEFAULT_CONTEXT, ErrorKind, JobFilter, JobStatus, LogStream, NewJob, Priority, Scope, ScriptType,
    Timestamp,
    ports::{Jobs as _, Keys as _, Runners as _},
};
use hero_store::{JobStore as _, Outcome};

use crate::node::{Node, caller, get, job, submit};

#[tokio::test]
async fn a_job_is_created_started_taken_and_finished() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let new = NewJob {
        caller_id: String::new(),
        context_id: String::new(),
        env_vars: [("A".to_owned(), "1".to_owned())].into(),
        priority: Priority::High,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..job("40 + 2")
    };
    let id = node.jobs().create(&caller(), new.clone()).await.unwrap();
    let created = get(&node, id).await;
    assert_eq!((created.status, created.queued_at), (JobStatus::Dispatched, None));
    assert_eq!((created.caller_id.as_str(), created.context_id.as_str()), ("tester", DEFAULT_CONTEXT));
    assert_eq!((created.env_vars, created.priority), (new.env_vars, Priority::High));

    node.jobs().start(&caller(), id).await.unwrap();
    let claimed = hand.take().await;
    assert_eq!((claimed.id, claimed.script.as_str()), (id, "40 + 2"));
    assert_eq!(claimed.traceparent, new.traceparent);
    assert_eq!(node.jobs().status(&caller(), id).await.unwrap(), JobStatus::Started);
    hand.finish(&claimed, "42").await;
    let finished = get(&node, id).await;
    assert_eq!((finished.status, finished.output.as_deref()), (JobStatus::Finished, Some("42")));
    assert_eq!((finished.attempt, finished.runner_id), (1, Some(hand.session.runner.clone())));
    node.stop().await;
}

#[tokio::test]
async fn jobs_of_one_call_may_wait_for_each_other() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let first = hero_domain::JobId::mint();
    let jobs =
        vec![NewJob { id: Some(first), ..job("1") }, NewJob { prerequisites: vec![first], ..job("2") }];
    let ids = node.jobs().submit(&caller(), jobs).await.unwrap();
    assert_eq!(ids[0], first);
    assert_eq!(node.jobs().status(&caller(), ids[1]).await.unwrap(), JobStatus::WaitingForPrerequisites);
    let claimed = hand.take().await;
    hand.finish(&claimed, "").await;
    assert_eq!(hand.take().await.id, ids[1]);
    assert_eq!(node.jobs().submit(&caller(), Vec::new()).await.unwrap(), []);
    node.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_job() {
    let node = Node::start().await;
    let keyed = |context: &str| NewJob {
        idempotency_key: Some("once".into()),
        context_id: context.into(),
        ..job("1")
    };
    let first = submit(&node, keyed("a")).await;
    assert_eq!(submit(&node, keyed("a")).await, first);
    assert_eq!(node.jobs().create(&caller(), keyed("a")).await.unwrap(), first);
    assert_ne!(submit(&node, keyed("b")).await, first);
    node.stop().await;
}

#[tokio::test]
async fn a_log_is_read_in_pages() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let id = submit(&node, job("1")).await;
    let none = node.jobs().logs(&caller(), id, None, 0).await.unwrap();
    assert_eq!((none.to_text(), none.next), (None, None));
    let claimed = hand.take().await;
    let lines: Vec<_> = (0..10).map(|number| (LogStream::Stdout, format!("line {number}"))).collect();
    node.store.append_log(id, claimed.attempt, 0, &lines, 1 << 20).await.unwrap();
    let whole = node.jobs().logs(&caller(), id, None, 0).await.unwrap();
    assert_eq!(whole.lines.len(), 10);
    let (mut texts, mut from) = (Vec::new(), None);
    loop {
        let page = node.jobs().logs(&caller(), id, from, 14).await.unwrap();
        texts.extend(page.lines.into_iter().map(|line| line.text));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(texts, lines.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_filter_and_page() {
    let node = Node::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let script_type = if number == 0 { ScriptType::Python } else { ScriptType::Osis };
        let context_id = if number < 3 { "a" } else { "b" }.to_owned();
        ids.push(submit(&node, NewJob { script_type, context_id, ..job("1") }).await);
    }
    ids.reverse();
    let list = async |filter| node.jobs().list(&caller(), filter).await.unwrap().ids;
    assert_eq!(list(JobFilter::default()).await, ids);
    let of_a = JobFilter { context_id: Some("a".into()), ..JobFilter::default() };
    assert_eq!(list(of_a).await, ids[2..]);
    let python = JobFilter { script_type: Some(ScriptType::Python), ..JobFilter::default() };
    assert_eq!(list(python).await, ids[4..]);
    let finished = JobFilter { status: Some(JobStatus::Finished), ..JobFilter::default() };
    assert_eq!(list(finished).await, []);
    let nobodys = JobFilter { caller_id: Some("nobody".into()), ..JobFilter::default() };
    assert_eq!(list(nobodys).await, []);
    let future =
        JobFilter { created_after: Some(Timestamp::from_millis(4_000_000_000_000)), ..JobFilter::default() };
    assert_eq!(list(future).await, []);

    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page =
            node.jobs().list(&caller(), JobFilter { limit: Some(2), cursor, ..JobFilter::default() }).await;
        let page = page.unwrap();
        assert!(page.ids.len() <= 2);
        paged.extend(page.ids);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, ids);
    node.stop().await;
}

#[tokio::test]
async fn a_page_has_its_default_size_when_none_is_named() {
    let node = Node::start_with(|config| config.jobs.default_list_page = 3).await;
    node.jobs().submit(&caller(), vec![job("1"); 5]).await.unwrap();
    let page = node.jobs().list(&caller(), JobFilter::default()).await.unwrap();
    assert_eq!((page.ids.len(), page.next_cursor), (3, page.ids.last().copied()));
    node.stop().await;
}

#[tokio::test]
async fn a_stop_ends_what_waits_asks_for_what_runs_and_leaves_what_has_ended() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let queued = submit(&node, job("1")).await;
    node.jobs().stop(&caller(), queued).await.unwrap();
    let stopped = get(&node, queued).await;
    assert_eq!((stopped.status, stopped.error_kind), (JobStatus::Error, Some(ErrorKind::Stopped)));
    node.jobs().stop(&caller(), queued).await.unwrap();

    let running = submit(&node, job("2")).await;
    let claimed = hand.take().await;
    assert_eq!(claimed.id, running);
    node.jobs().stop(&caller(), running).await.unwrap();
    let renewed = node.store.renew(&hand.session, 1, &[running]).await.unwrap();
    assert_eq!(renewed.stop, [running]);
    let outcome =
        Outcome::Failed { kind: ErrorKind::Stopped, error: "stopped".into(), output: Some("so far".into()) };
    hand.end(&claimed, outcome).await;
    node.jobs().stop(&caller(), running).await.unwrap();
    assert_eq!(get(&node, running).await.output.as_deref(), Some("so far"));
    node.stop().await;
}

#[tokio::test]
async fn a_deleted_job_is_gone_and_a_clear_leaves_nothing() {
    let node = Node::start().await;
    let id = submit(&node, job("1")).await;
    node.jobs().delete(&caller(), id).await.unwrap();
    assert!(node.jobs().get(&caller(), id).await.is_err());
    node.jobs().submit(&caller(), vec![job("1"); 150]).await.unwrap();
    assert_eq!(node.jobs().clear(&caller()).await.unwrap(), 150);
    assert_eq!(node.jobs().clear(&caller()).await.unwrap(), 0);
    assert_eq!(node.jobs().list(&caller(), JobFilter::default()).await.unwrap().ids, []);
    node.stop().await;
}

#[tokio::test]
async fn a_job_is_not_queued_before_its_time() {
    let node = Node::start().await;
    let hand = node.shared_hand().await;
    let soon = {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap() + 300)
    };
    let id = submit(&node, NewJob { run_at: Some(soon), ..job("1") }).await;
    assert_eq!(hand.take().await.id, id);
    let taken = get(&node, id).await;
    assert!(taken.started_at.unwrap() >= soon, "{taken:?}");
    node.stop().await;
}

#[tokio::test]
async fn the_job_of_a_lost_runner_goes_to_another() {
    let node = Node::start().await;
    let lost = node.hand("lost", None, Duration::from_secs(60)).await;
    let id = submit(&node, job("1")).await;
    assert_eq!(lost.take().await.id, id);
    // Its lease is over, whatever the machine has been busy with since it signed in.
    let mut over = redis::cmd("ZADD");
    over.arg("hero:leases").arg(1).arg("lost").exec(&mut node.redis.connection().unwrap()).unwrap();
    let other = node.shared_hand().await;
    let again = other.take().await;
    assert_eq!((again.id, again.attempt), (id, 2));
    node.stop().await;
}

#[tokio::test]
async fn runners_are_listed_and_found() {
    let node = Node::start().await;
    let registrar = Caller { scope: Scope::Register, ..caller() };
    assert_eq!(node.runners().list(&registrar).await.unwrap(), []);
    let hand = node.shared_hand().await;
    let runners = node.runners().list(&registrar).await.unwrap();
    assert_eq!(runners.len(), 1);
    assert_eq!(
        (&runners[0].id, runners[0].slots, runners[0].host.as_str()),
        (&hand.session.runner, 4, "here")
    );
    assert_eq!(node.runners().get(&registrar, hand.session.runner.clone()).await.unwrap(), runners[0]);
    node.stop().await;
}

#[tokio::test]
async fn a_secret_stands_for_a_caller() {
    let node = Node::start_with(|config| config.secrets.user = vec!["user123".into()]).await;
    assert_eq!(node.keys().identify(Some("user123")).await.unwrap().scope, Scope::User);
    assert!(node.keys().identify(Some("wrong")).await.is_err());
    assert!(node.keys().identify(None).await.is_err());
    node.stop().await;
    let open = Node::start().await;
    assert_eq!(open.keys().identify(None).await.unwrap(), Caller::local());
    open.stop().await;
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    let node = Node::start().await;
    for service in ["", "hero.job.v1.JobService", "hero.runner.v1.RunnerService", "hero.key.v1.KeyService"] {
        crate::node::until("it says that it serves", || async {
            let request = HealthCheckRequest { service: service.into() };
            let answer = HealthClient::new(node.channel.clone()).check(request).await.ok()?;
            (answer.into_inner().status == i32::from(ServingStatus::Serving)).then_some(())
        })
        .await;
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(node.channel.clone());
    let answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("no list: {answer:?}");
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in ["hero.job.v1.JobService", "hero.runner.v1.RunnerService", "hero.key.v1.KeyService"] {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }
    node.stop().await;
}
