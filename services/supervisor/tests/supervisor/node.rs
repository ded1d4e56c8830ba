//! A supervisor in this process, its Redis, and a runner's hand.

use std::time::Duration;

use hero_domain::{Caller, CircleKey, Job, JobId, NewJob, Scope, ScriptType, ports::Jobs as _};
use hero_proto::{GrpcCircles, GrpcJobs, GrpcKeys, GrpcRunners, GrpcSchedules};
use hero_redis::RedisConfig;
use hero_runtime::{
    Address, ChannelConfig, Chassis as _, Context, DrainConfig, Health, Service as _, Shutdown,
    ShutdownTrigger, grpc, run_service,
};
use hero_store::{Claim, Claimed, Finish, JobStore as _, Lane, Outcome, Session, SignIn, Store};
use hero_supervisor::{Supervisor, SupervisorConfig};
use hero_testing::RedisServer;
use tokio::{task::JoinHandle, time::Instant};
use tonic::transport::Channel;

/// The longest that a test waits for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds what it looks for.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A running supervisor.
pub(crate) struct Node {
    pub(crate) redis: RedisServer,
    pub(crate) health: Health,
    #[allow(dead_code, reason = "only the crowd connects more than once")]
    pub(crate) address: Address,
    pub(crate) channel: Channel,
    pub(crate) store: Store,
    trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut SupervisorConfig)) -> Self {
        let node = Self::over(RedisServer::start().expect("a redis"), set).await;
        node.ready().await;
        node
    }

    /// A supervisor over this Redis, which may not be ready.
    pub(crate) async fn over(redis: RedisServer, set: impl FnOnce(&mut SupervisorConfig)) -> Self {
        let mut config = SupervisorConfig {
            listen: Address::loopback(0),
            redis: RedisConfig::at(redis.url().parse().expect("its address")),
            ..SupervisorConfig::default()
        };
        config.upkeep.sweep_interval_ms = 20;
        config.upkeep.check_interval_ms = 100;
        config.drain = DrainConfig { drain_delay_ms: 0, grace_ms: 10_000 };
        set(&mut config);
        let store = Store::connect(&config.redis).expect("a store");
        let cx = Context::detached();
        let (trigger, shutdown) = Shutdown::new(*config.drain());
        let supervisor = Supervisor::bind(config, &cx).await.expect("it binds");
        let address = supervisor.addresses().get("grpc").expect("an address").clone();
        let task = tokio::spawn(run_service(supervisor, shutdown));
        let channel = grpc::channel(&address, &ChannelConfig::default());
        Self { redis, health: cx.health, address, channel, store, trigger, task }
    }

    pub(crate) async fn ready(&self) {
        let ready = tokio::time::timeout(PATIENCE, self.health.ready()).await;
        assert!(ready.is_ok(), "not ready: {:?}", self.health.report());
    }

    /// What `/readyz` says about Redis.
    pub(crate) fn words(&self) -> String {
        self.health.report().conditions["redis"].clone()
    }

    /// Waits until a first call waits for a job: then the ends of jobs are subscribed to.
    pub(crate) async fn is_waited_on(&self) {
        let mut connection = self.redis.connection().expect("a connection");
        until("a call waits for a job", || {
            let heard: (String, u64) =
                redis::cmd("PUBSUB").arg("NUMSUB").arg("hero:ended").query(&mut connection).expect("a count");
            async move { (heard.1 > 0).then_some(()) }
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        self.trigger.drain().await;
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends within its grace");
        ended.expect("it does not panic").expect("it ends without an error");
    }

    /// Requests the stop, and goes on.
    pub(crate) fn begin_to_stop(&self) {
        self.trigger.stop();
    }

    pub(crate) fn jobs(&self) -> GrpcJobs {
        GrpcJobs::new(self.channel.clone())
    }

    pub(crate) fn runners(&self) -> GrpcRunners {
        GrpcRunners::new(self.channel.clone())
    }

    pub(crate) fn schedules(&self) -> GrpcSchedules {
        GrpcSchedules::new(self.channel.clone())
    }

    /// Another supervisor over the same Redis.
    pub(crate) async fn second(&self, set: impl FnOnce(&mut SupervisorConfig)) -> Self {
        let url = self.redis.url();
        Self::start_with(|config| {
            config.redis = RedisConfig::at(url.parse().expect("its address"));
            set(config);
        })
        .await
    }

    pub(crate) fn circles(&self) -> GrpcCircles {
        GrpcCircles::with_calls(self.channel.clone(), hero_proto::Calls::default())
    }

    pub(crate) fn keys(&self) -> GrpcKeys {
        GrpcKeys::new(self.channel.clone())
    }

    /// Signs a runner in.
    pub(crate) async fn hand(&self, id: &str, circle: Option<CircleKey>, lease: Duration) -> Hand {
        let sign_in = SignIn {
            id: id.parse().expect("a runner id"),
            session: JobId::mint().to_string(),
            script_types: vec![ScriptType::Osis],
            circles: circle.iter().cloned().collect(),
            slots: 4,
            slots_by_type: std::collections::BTreeMap::new(),
            not_offered: std::collections::BTreeMap::new(),
            host: "here".into(),
            version: "0.0.0".into(),
            sandbox: String::new(),
            lease,
        };
        let session = self.store.sign_in(&sign_in).await.expect("it signs in");
        Hand { store: self.store.clone(), session, lane: Lane { script_type: ScriptType::Osis, circle } }
    }

    pub(crate) async fn shared_hand(&self) -> Hand {
        self.hand("hand", None, Duration::from_secs(60)).await
    }
}

/// A runner that does what a test says.
pub(crate) struct Hand {
    pub(crate) store: Store,
    pub(crate) session: Session,
    lane: Lane,
}

impl Hand {
    /// Takes the next job, as soon as there is one.
    pub(crate) async fn take(&self) -> Claimed {
        until("there is a job to take", || async {
            let claim = Claim { lane: self.lane.clone(), taken: Vec::new(), want: 1, low_first: false };
            let exchanged = self.store.exchange(&self.session, &[], Some(&claim)).await.expect("it asks");
            exchanged.jobs.into_iter().next()
        })
        .await
    }

    pub(crate) async fn end(&self, job: &Claimed, outcome: Outcome) {
        let finish = Finish { id: job.id, attempt: job.attempt, outcome, jitter: 0.0 };
        let exchanged = self.store.exchange(&self.session, &[finish], None).await.expect("it reports");
        assert!(exchanged.refused.is_empty(), "refused {:?}", exchanged.refused);
    }

    pub(crate) async fn finish(&self, job: &Claimed, output: &str) {
        self.end(job, Outcome::Finished { output: output.to_owned() }).await;
    }
}

pub(crate) fn caller() -> Caller {
    Caller { name: "tester".into(), scope: Scope::User, circle: None }
}

pub(crate) fn circle(byte: u8) -> CircleKey {
    format!("02{}", format!("{byte:02x}").repeat(32)).parse().expect("a circle's key")
}

pub(crate) fn inside(byte: u8) -> Caller {
    Caller { circle: Some(circle(byte)), ..caller() }
}

pub(crate) fn job(script: &str) -> NewJob {
    NewJob::new(ScriptType::Osis, script)
}

pub(crate) async fn submit(node: &Node, new: NewJob) -> JobId {
    node.jobs().submit(&caller(), vec![new]).await.expect("it is taken")[0]
}

pub(crate) async fn get(node: &Node, id: JobId) -> Job {
    node.jobs().get(&caller(), id).await.expect("it is there")
}
