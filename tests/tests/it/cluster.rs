//! A node in this process: a private Redis, services by their own `bind` and `run`, real sockets on free ports.

use std::{future::Future, time::Duration};

use hero_gateway::{Gateway, GatewayConfig};
use hero_redis::RedisConfig;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::{
    Address, Addresses, AdminConfig, AdminServer, Chassis as _, Context, Health, Service, Shutdown,
    ShutdownTrigger, run_service,
};
use hero_supervisor::{Supervisor, SupervisorConfig};
use hero_testing::RedisServer;
use tokio::{task::JoinHandle, time::Instant};

use crate::client::Client;

/// The longest that a story waits for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

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
        assert!(begun.elapsed() < PATIENCE, "after {} s still waiting until {what}", PATIENCE.as_secs());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A service that runs in this process, with an admin port of its own.
pub(crate) struct Member {
    pub(crate) addresses: Addresses,
    pub(crate) health: Health,
    /// `http://127.0.0.1:41234`
    pub(crate) admin: String,
    trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
    admin_task: JoinHandle<()>,
}

impl Member {
    /// Binds and runs a service; it may not be ready yet.
    pub(crate) async fn start<S: Service>(config: S::Config) -> anyhow::Result<Self> {
        let cx = Context::detached();
        let admin = AdminServer::bind(&AdminConfig::at(0), &cx).await?;
        let admin_address = admin.address().to_string().replace("tcp://", "http://");
        let admin_task = tokio::spawn(async move {
            admin.serve().await.expect("the admin port serves");
        });
        let (trigger, shutdown) = Shutdown::new(*config.drain());
        let service = S::bind(config, &cx).await?;
        let addresses = service.addresses();
        let task = tokio::spawn(run_service(service, shutdown));
        Ok(Self { addresses, health: cx.health, admin: admin_address, trigger, task, admin_task })
    }

    /// The address of that name, as `host:port`.
    pub(crate) fn address(&self, name: &str) -> String {
        let address = self.addresses.get(name).unwrap_or_else(|| panic!("no address {name}"));
        address.to_string().trim_start_matches("tcp://").to_owned()
    }

    pub(crate) async fn ready(&self) {
        let ready = tokio::time::timeout(PATIENCE, self.health.ready()).await;
        assert!(ready.is_ok(), "not ready: {:?}", self.health.report());
    }

    /// Stops it as SIGTERM would, and waits for its end.
    pub(crate) async fn stop(self) {
        self.trigger.drain().await;
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends within its grace");
        ended.expect("it does not panic").expect("it ends without an error");
        self.admin_task.abort();
    }

    /// Ends it as a crash would: nothing is finished, nobody is told.
    pub(crate) fn crash(self) {
        self.task.abort();
        self.admin_task.abort();
    }
}

/// What a node consists of, and how its services are set.
pub(crate) struct Shape {
    pub(crate) supervisors: usize,
    pub(crate) runners: usize,
    /// Keeps its data over a crash of Redis.
    pub(crate) is_durable: bool,
    pub(crate) supervisor: fn(&mut SupervisorConfig),
    pub(crate) gateway: fn(&mut GatewayConfig),
    pub(crate) runner: fn(&mut RunnerConfig),
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            supervisors: 1,
            runners: 1,
            is_durable: false,
            supervisor: |_| {},
            gateway: |_| {},
            runner: |_| {},
        }
    }
}

/// A node.
pub(crate) struct Cluster {
    pub(crate) redis: RedisServer,
    /// How the services reach it.
    pub(crate) way: RedisConfig,
    pub(crate) supervisors: Vec<Member>,
    /// One before each supervisor.
    pub(crate) gateways: Vec<Member>,
    pub(crate) runners: Vec<Member>,
    shape: Shape,
}

impl Cluster {
    /// One of each.
    pub(crate) async fn start() -> Self {
        Self::with(Shape::default()).await
    }

    /// A node of this shape, ready.
    pub(crate) async fn with(shape: Shape) -> Self {
        let redis = if shape.is_durable { RedisServer::start_durable() } else { RedisServer::start() };
        let redis = redis.expect("a private Redis starts");
        let way = RedisConfig::at(redis.url().parse().expect("an address"));
        Self::over(redis, way, shape).await
    }

    /// A node over this Redis, reached in this way; ready.
    pub(crate) async fn over(redis: RedisServer, way: RedisConfig, shape: Shape) -> Self {
        let mut cluster = Self { redis, way, supervisors: vec![], gateways: vec![], runners: vec![], shape };
        for _ in 0..cluster.shape.supervisors {
            let supervisor = cluster.supervisor(Address::loopback(0)).await;
            let gateway = cluster.gateway(supervisor.addresses.get("grpc").expect("it serves gRPC")).await;
            cluster.supervisors.push(supervisor);
            cluster.gateways.push(gateway);
        }
        for _ in 0..cluster.shape.runners {
            let runner = cluster.runner().await;
            cluster.runners.push(runner);
        }
        cluster.ready().await;
        cluster
    }

    /// Waits until every service is ready.
    pub(crate) async fn ready(&self) {
        for member in self.supervisors.iter().chain(&self.gateways).chain(&self.runners) {
            member.ready().await;
        }
    }

    /// A supervisor on this Redis, at this address.
    pub(crate) async fn supervisor(&self, listen: Address) -> Member {
        let mut config = SupervisorConfig { listen, redis: self.way.clone(), ..SupervisorConfig::default() };
        (self.shape.supervisor)(&mut config);
        Member::start::<Supervisor>(config).await.expect("a supervisor starts")
    }

    /// A gateway before this supervisor.
    pub(crate) async fn gateway(&self, supervisor: &Address) -> Member {
        self.gateway_at(Address::loopback(0), supervisor).await
    }

    /// A gateway at this address.
    pub(crate) async fn gateway_at(&self, listen: Address, supervisor: &Address) -> Member {
        let mut config = GatewayConfig { listen, supervisor: supervisor.clone(), ..GatewayConfig::default() };
        (self.shape.gateway)(&mut config);
        Member::start::<Gateway>(config).await.expect("a gateway starts")
    }

    /// A runner on this Redis.
    pub(crate) async fn runner(&self) -> Member {
        let mut config =
            RunnerConfig { listen: Address::loopback(0), redis: self.way.clone(), ..RunnerConfig::default() };
        (self.shape.runner)(&mut config);
        Member::start::<Runner>(config).await.expect("a runner starts")
    }

    /// Where JSON-RPC is served, `127.0.0.1:41234`.
    pub(crate) fn address(&self) -> String {
        self.gateways[0].address("http")
    }

    /// A caller over HTTP.
    pub(crate) fn http(&self) -> Client {
        Client::http(&self.address())
    }

    /// A caller over a WebSocket.
    pub(crate) async fn ws(&self) -> Client {
        Client::ws(&self.address()).await
    }

    /// One of each.
    pub(crate) async fn clients(&self) -> [Client; 2] {
        [self.http(), self.ws().await]
    }

    /// Stops everything in order, and finds that it ends well.
    pub(crate) async fn stop(self) {
        for member in self.gateways.into_iter().chain(self.runners).chain(self.supervisors) {
            member.stop().await;
        }
    }
}
