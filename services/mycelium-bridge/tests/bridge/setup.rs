//! Two daemons, a made-up node, and a bridge before it.

use std::time::Duration;

use hero_client::{
    Client, Destination,
    mycelium::{Daemon, DaemonOptions, Pushed},
};
use hero_domain::Scope;
use hero_mycelium_bridge::{Bridge, BridgeConfig, Peer};
use hero_proto::{
    Calls, FILE_DESCRIPTOR_SET, GrpcOverlay, job_server, key_server, runner_server, schedule_server,
};
use hero_runtime::{
    Address, ChannelConfig, Context, DrainConfig, GrpcConfig, Health, Listener, Service as _, Shutdown,
    ShutdownTrigger, grpc,
};
use hero_testing::{
    FakeNode, RedisServer,
    mycelium::{FakeDaemon, FakeOverlay},
};
use serde_json::Value;
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const TOPIC: &str = "supervisor.rpc";

/// A caller's daemon, the node's daemon, the bridge and what stands behind it.
pub(crate) struct Story {
    pub(crate) overlay: FakeOverlay,
    pub(crate) here: FakeDaemon,
    pub(crate) there: FakeDaemon,
    pub(crate) ports: FakeNode,
    pub(crate) redis: RedisServer,
    pub(crate) supervisor: Address,
    _supervisor: ShutdownTrigger,
}

/// A bridge that runs.
pub(crate) struct Running {
    pub(crate) health: Health,
    /// The overlay as the services of this node have it.
    pub(crate) overlay: GrpcOverlay,
    trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn ready(&self) {
        let ready = tokio::time::timeout(PATIENCE, self.health.ready()).await;
        assert!(ready.is_ok(), "not ready: {:?}", self.health.report());
    }

    /// Ends as a crash would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.trigger.drain().await;
        self.task.await.unwrap().unwrap();
    }
}

impl Story {
    pub(crate) async fn begin() -> Self {
        let overlay = FakeOverlay::new();
        let (here, there) = (overlay.daemon().await.unwrap(), overlay.daemon().await.unwrap());
        let ports = FakeNode::new();
        let listener = Listener::bind(&Address::loopback(0)).await.unwrap();
        let supervisor = listener.address().clone();
        let (trigger, shutdown) = Shutdown::new(DrainConfig::default());
        let server = grpc::Server::new(&GrpcConfig::default(), &Health::new())
            .add_service(job_server(ports.clone()))
            .add_service(runner_server(ports.clone()))
            .add_service(key_server(ports.clone()))
            .add_service(schedule_server(ports.clone()))
            .descriptors(FILE_DESCRIPTOR_SET);
        tokio::spawn(server.serve(listener, shutdown));
        let redis = RedisServer::start().unwrap();
        Self { overlay, here, there, ports, redis, supervisor, _supervisor: trigger }
    }

    pub(crate) async fn bridge(&self) -> Running {
        let bridge = self.bridge_with(|_| {}).await;
        bridge.ready().await;
        bridge
    }

    pub(crate) async fn bridge_with(&self, change: impl FnOnce(&mut BridgeConfig)) -> Running {
        let mut config = BridgeConfig {
            listen: Address::loopback(0),
            mycelium_url: self.there.url(),
            supervisor: self.supervisor.clone(),
            peers: vec![Peer {
                pk: self.here.pk().parse().unwrap(),
                scope: Scope::User,
                circles: vec![],
                ip: Some(self.here.ip()),
            }],
            ..BridgeConfig::default()
        };
        config.redis.url = self.redis.url().parse().unwrap();
        config.daemon.check_interval_ms = 50;
        config.daemon.call_timeout_ms = 10_000;
        config.replies.look_ms = 20;
        change(&mut config);
        let cx = Context::detached();
        let (trigger, shutdown) = Shutdown::new(config.drain);
        let bridge = Bridge::bind(config, &cx).await.unwrap();
        let addresses = bridge.addresses();
        let channel = grpc::channel(addresses.get("grpc").unwrap(), &ChannelConfig::default());
        let overlay = GrpcOverlay::with_calls(Some(channel), Calls::default());
        Running { health: cx.health, overlay, trigger, task: tokio::spawn(bridge.run(shutdown)) }
    }

    pub(crate) fn to_there(&self) -> Destination {
        Destination::Pk(self.there.pk().parse().unwrap())
    }

    pub(crate) fn client(&self) -> Client {
        Client::over_mycelium(self.here.url(), self.to_there()).build().unwrap()
    }

    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::new(&self.here.url(), DaemonOptions::default()).unwrap()
    }

    /// Sends what may be no request at all, and reads what comes back.
    pub(crate) async fn ask(&self, payload: &[u8]) -> Value {
        match self.daemon().ask(&self.to_there(), Some(TOPIC), payload, PATIENCE).await.unwrap() {
            Pushed::Reply(reply) => serde_json::from_slice(&reply.payload.unwrap()).unwrap(),
            Pushed::Expired(_) => panic!("nothing came back to {}", String::from_utf8_lossy(payload)),
        }
    }
}

impl Story {
    /// A bridge of the other node, which stands before the same made-up one.
    pub(crate) async fn bridge_here(&self) -> Running {
        self.bridge_here_with(|_| {}).await
    }

    pub(crate) async fn bridge_here_with(&self, change: impl FnOnce(&mut BridgeConfig)) -> Running {
        let url = self.here.url();
        let bridge = self
            .bridge_with(|config| {
                config.mycelium_url = url;
                config.peers.clear();
                change(config);
            })
            .await;
        bridge.ready().await;
        bridge
    }
}
