//! Every method of every contract over a real socket: what the port was asked arrives, what it answers comes
//! back, and a failure of each kind is the same on both ends.

use std::time::Duration;

use hero_domain::{
    ApiError, Caller, CircleKey, JobFilter, JobId, JobStatus, NewJob, Reason, Runner, RunnerState, Scope,
    ScriptType, Timestamp,
    ports::{Jobs, Keys, Runners},
};
use hero_proto::{
    Calls, Deadlines, GrpcJobs, GrpcKeys, GrpcRunners, MAX_MESSAGE_BYTES, job_server, key_server,
    runner_server, schedule_server,
};
use hero_testing::FakeNode;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

struct Wire {
    node: FakeNode,
    channel: Channel,
    /// One of its own, so that dropping it takes the connections down too.
    server: Option<Runtime>,
}

impl Wire {
    fn start() -> Self {
        let node = FakeNode::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let services = Server::builder()
            .add_service(job_server(node.clone()))
            .add_service(runner_server(node.clone()))
            .add_service(key_server(node.clone()))
            .add_service(schedule_server(node.clone()));
        let server = Runtime::new().expect("a runtime");
        server.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            services.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint").connect_lazy();
        Self { node, channel, server: Some(server) }
    }

    fn jobs(&self) -> GrpcJobs {
        GrpcJobs::new(self.channel.clone())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

fn caller() -> Caller {
    Caller { name: "büro".into(), scope: Scope::User, circle: None }
}

fn job(script: &str) -> NewJob {
    NewJob { context_id: "here".into(), ..NewJob::new(ScriptType::Osis, script) }
}

#[tokio::test]
async fn every_method_of_jobs_goes_there_and_back() {
    let wire = Wire::start();
    let (jobs, caller) = (wire.jobs(), caller());
    let own = JobId::mint();
    assert_eq!(jobs.create(&caller, NewJob { id: Some(own), ..job("1") }).await.unwrap(), own);
    jobs.start(&caller, own).await.unwrap();
    let ids = jobs.submit(&caller, vec![job("2"), job("endless")]).await.unwrap();
    assert_eq!(ids.len(), 2);
    let ran = jobs.run(&caller, job("3"), Some(Duration::from_secs(1))).await.unwrap();
    assert_eq!((ran.status, ran.output.as_deref()), (JobStatus::Finished, Some("3")));
    assert_eq!(jobs.wait(&caller, ids[0], None).await.unwrap().output.as_deref(), Some("2"));
    assert_eq!(jobs.get(&caller, own).await.unwrap(), wire.node.get_job(own).await);
    assert_eq!(jobs.status(&caller, ids[1]).await.unwrap(), JobStatus::Dispatched);
    for line in ["one", "two"] {
        wire.node.add_log(own, line);
    }
    let page = jobs.logs(&caller, own, None, 4).await.unwrap();
    assert_eq!(page.to_text().as_deref(), Some("one\n"));
    let page = jobs.logs(&caller, own, page.next, 0).await.unwrap();
    assert_eq!((page.to_text().as_deref(), page.next), (Some("two\n"), None));
    let filter = JobFilter { status: Some(JobStatus::Dispatched), ..JobFilter::default() };
    assert_eq!(jobs.list(&caller, filter).await.unwrap().ids, [ids[1]]);
    jobs.stop(&caller, ids[1]).await.unwrap();
    jobs.delete(&caller, ids[1]).await.unwrap();
    assert_eq!(jobs.clear(&caller).await.unwrap(), 3);
    let calls = "create start submit run wait get get status logs logs list stop delete clear";
    assert_eq!(wire.node.calls().join(" "), calls);
    assert_eq!(wire.node.submitted()[0], NewJob { id: Some(own), ..job("1") });
}

/// What the node itself says, without a wire between.
trait Direct {
    async fn get_job(&self, id: JobId) -> hero_domain::Job;
}

impl Direct for FakeNode {
    async fn get_job(&self, id: JobId) -> hero_domain::Job {
        Jobs::get(self, &caller(), id).await.expect("it has the job")
    }
}

#[tokio::test]
async fn a_caller_in_a_circle_stays_in_it() {
    let wire = Wire::start();
    let circle: CircleKey = format!("02{}", "ab".repeat(32)).parse().unwrap();
    let inside = Caller { circle: Some(circle.clone()), ..caller() };
    let (own, other) = (NewJob { context_id: circle.to_string(), ..job("1") }, job("2"));
    let own = wire.jobs().create(&inside, own).await.unwrap();
    let other = wire.jobs().create(&caller(), other).await.unwrap();
    assert_eq!(wire.jobs().get(&inside, own).await.unwrap().id, own);
    let error = wire.jobs().get(&inside, other).await.unwrap_err();
    assert_eq!((error.reason(), error.job_id()), (Reason::JobNotFound, Some(other)));
}

#[tokio::test]
async fn runners_and_keys_go_there_and_back() {
    let wire = Wire::start();
    let runner = Runner {
        id: "node-1".parse().unwrap(),
        script_types: vec![ScriptType::Osis, ScriptType::Python],
        circles: Vec::new(),
        slots: 4,
        slots_by_type: [(ScriptType::Osis, 4)].into(),
        not_offered: [(ScriptType::V, "no `v` on PATH".to_owned())].into(),
        max_running_per_context: Some(8),
        busy: 1,
        host: "node-1".into(),
        version: "0.1.0".into(),
        sandbox: String::new(),
        started_at: Timestamp::from_millis(1),
        last_seen_at: Timestamp::from_millis(2),
        lease_until: Timestamp::from_millis(3),
        state: RunnerState::Alive,
    };
    wire.node.add_runner(runner.clone());
    let runners = GrpcRunners::new(wire.channel.clone());
    assert_eq!(runners.list(&caller()).await.unwrap(), std::slice::from_ref(&runner));
    assert_eq!(runners.get(&caller(), runner.id.clone()).await.unwrap(), runner);
    let error = runners.get(&caller(), "nobody".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RunnerNotFound);

    let keys = GrpcKeys::new(wire.channel.clone());
    assert_eq!(keys.identify(None).await.unwrap(), Caller::local());
    wire.node.add_key("s3cret", caller());
    assert_eq!(keys.identify(Some("s3cret")).await.unwrap(), caller());
    assert_eq!(keys.identify(None).await.unwrap_err().reason(), Reason::AuthenticationRequired);
}

#[tokio::test]
async fn every_reason_comes_back_as_it_went() {
    let wire = Wire::start();
    let id = JobId::mint();
    for reason in Reason::ALL {
        let told = ApiError::new(*reason, "words – für dich")
            .with_field("jobs[3].script")
            .with_job(id)
            .with_retry_after_ms(1_234)
            .with_source("private");
        wire.node.fail_next(told);
        let error = wire.jobs().status(&caller(), id).await.unwrap_err();
        assert_eq!((error.reason(), error.code()), (*reason, reason.code()));
        assert_eq!((error.message(), error.field()), ("words – für dich", Some("jobs[3].script")));
        assert_eq!((error.job_id(), error.retry_after_ms()), (Some(id), Some(1_234)));
        assert!(!format!("{error:?}").contains("private"));
    }
}

#[tokio::test]
async fn a_call_has_a_deadline_and_a_wait_has_a_longer_one() {
    let wire = Wire::start();
    let deadlines = Deadlines {
        call: Duration::from_millis(50),
        margin: Duration::from_secs(30),
        ..Deadlines::default()
    };
    let jobs = GrpcJobs::with_calls(wire.channel.clone(), Calls { deadlines, ..Calls::default() });
    wire.node.set_delay(Duration::from_millis(300));
    let id = JobId::mint();
    assert_eq!(jobs.status(&caller(), id).await.unwrap_err().reason(), Reason::DeadlineExceeded);
    let ran = jobs.run(&caller(), job("1"), Some(Duration::from_millis(10))).await.unwrap();
    assert_eq!(ran.status, JobStatus::Finished);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let channel = Endpoint::from_shared(format!("http://{port}")).unwrap().connect_lazy();
    let error = GrpcJobs::new(channel).clear(&caller()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamUnavailable);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_call_is_unavailable() {
    let wire = Wire::start();
    wire.node.set_delay(Duration::from_secs(3_600));
    let jobs = wire.jobs();
    let call = tokio::spawn(async move { jobs.clear(&caller()).await });
    while wire.node.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(wire);
    assert_eq!(call.await.unwrap().unwrap_err().reason(), Reason::UpstreamUnavailable);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_words_before_it_is_sent() {
    let wire = Wire::start();
    let script = "x".repeat(MAX_MESSAGE_BYTES / 2 + 1);
    let error = wire.jobs().submit(&caller(), vec![job(&script), job(&script)]).await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::BatchTooLarge, Some("jobs")));
    let script = "x".repeat(MAX_MESSAGE_BYTES);
    let error = wire.jobs().run(&caller(), job(&script), None).await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::ScriptTooLarge, Some("script")));
    assert_eq!(wire.node.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_is_too_large_says_so() {
    let wire = Wire::start();
    let large = job(&format!("large {MAX_MESSAGE_BYTES}"));
    let error = wire.jobs().run(&caller(), large, None).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ResponseTooLarge);
    let most = job(&format!("large {}", 15 << 20));
    assert_eq!(wire.jobs().run(&caller(), most, None).await.unwrap().output.unwrap().len(), 15 << 20);
}
