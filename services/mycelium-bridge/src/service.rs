//! The bridge as a service: wiring, and its life.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use hero_client::mycelium::Daemon;
use hero_config::Overrides;
use hero_proto::{Calls, Deadlines, FILE_DESCRIPTOR_SET, GrpcKeys, GrpcPorts, overlay_server};
use hero_redis::Link;
use hero_runtime::{
    Address, Addresses, Condition, Context, Health, Listener, Service, Shutdown, Tasks, grpc,
};
use hero_telemetry::trace_context;
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    config::BridgeConfig,
    dispatch::Dispatch,
    doorbell,
    memory::Memory,
    outbound::Outbound,
    peers::Peers,
    receive::{self, Receiver},
    replies,
    senders::Senders,
    watch::Watch,
};

/// Calls over the overlay.
pub struct Bridge {
    config: Arc<BridgeConfig>,
    daemon: Daemon,
    link: Link,
    doorbell: Option<Listener>,
    grpc: Listener,
    health: Health,
    conditions: Conditions,
}

struct Conditions {
    daemon: Condition,
    peers: Condition,
    redis: Condition,
}

/// The bridge's own flags.
#[derive(Debug, Default, clap::Args)]
pub struct BridgeFlags {
    /// Where the Mycelium daemon serves JSON-RPC [default: http://127.0.0.1:8990]
    #[arg(long, value_name = "URL")]
    pub mycelium_url: Option<String>,
    /// The topic that requests come in on [default: supervisor.rpc]
    #[arg(long)]
    pub topic: Option<String>,
    /// Where to serve gRPC for calls to other nodes: tcp://host:port or unix:///path [default: tcp://127.0.0.1:8084]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the supervisor serves gRPC: tcp://host:port or unix:///path
    #[arg(long, value_name = "ADDRESS")]
    pub supervisor: Option<String>,
    /// Where requests are remembered: redis://host:port or unix:///path
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// A unix socket that the daemon rings when a message comes in
    #[arg(long, value_name = "PATH")]
    pub forward_socket: Option<PathBuf>,
}

impl Service for Bridge {
    const NAME: &'static str = "mycelium-bridge";
    const ABOUT: &'static str = "Calls to a Hero node over messages of the Mycelium overlay";

    type Config = BridgeConfig;
    type Flags = BridgeFlags;

    fn overrides(flags: BridgeFlags) -> Overrides {
        let socket = flags.forward_socket.map(|path| path.to_string_lossy().into_owned());
        Overrides::new()
            .set("mycelium_url", "--mycelium-url", flags.mycelium_url)
            .set("topic", "--topic", flags.topic)
            .set("listen", "--listen", flags.listen)
            .set("supervisor", "--supervisor", flags.supervisor)
            .set("redis.url", "--redis-url", flags.redis_url)
            .set("forward_socket", "--forward-socket", socket)
    }

    async fn bind(config: BridgeConfig, cx: &Context) -> anyhow::Result<Self> {
        let daemon = Daemon::new(&config.mycelium_url, config.daemon.options())?;
        let link = Link::open(&config.redis).context("the address of redis cannot be used")?;
        let doorbell = match &config.forward_socket {
            Some(path) => Some(Listener::bind(&Address::Unix(path.clone())).await?),
            None => None,
        };
        let grpc = Listener::bind(&config.listen).await?;
        let conditions = Conditions {
            daemon: cx.health.condition("daemon"),
            peers: cx.health.condition("peers"),
            redis: cx.health.condition("redis"),
        };
        let health = cx.health.clone();
        Ok(Self { config: Arc::new(config), daemon, link, doorbell, grpc, health, conditions })
    }

    fn addresses(&self) -> Addresses {
        Addresses::new().with("grpc", self.grpc.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, daemon, link, doorbell, grpc: listener, health, conditions } = self;
        let (node, mut known) = watch::channel(None);
        let upstream = Upstream::new(&config, listener.address());
        let dispatch = Arc::new(Dispatch::new(upstream.ports.clone(), &config.limits));
        let outbound = Outbound::new(
            Arc::clone(&config),
            daemon.clone(),
            Arc::clone(&dispatch),
            link.clone(),
            known.clone(),
        );
        let mut tasks = Tasks::new(shutdown.clone());
        let look = Watch {
            daemon: daemon.clone(),
            config: Arc::clone(&config),
            is_there: conditions.daemon,
            is_connected: conditions.peers,
            node,
        };
        tasks.essential("daemon watch", look.run(shutdown.clone()));
        let server = grpc::Server::new(&config.grpc, &health)
            .add_service(overlay_server(outbound.clone()))
            .descriptors(FILE_DESCRIPTOR_SET);
        tasks.essential("grpc", server.serve(listener, shutdown.clone()));
        tasks.essential("answers", outbound.gather(shutdown.clone()));
        let bell = Arc::new(Notify::new());
        if let Some(listener) = doorbell {
            tasks.essential("doorbell", doorbell::serve(listener, Arc::clone(&bell), shutdown.clone()));
        }
        tasks.essential("requests", async move {
            let own = tokio::select! {
                own = known.wait_for(Option::is_some) => own?.clone(),
                () = shutdown.draining() => return Ok(()),
            };
            let Some(own) = own else { return Ok(()) };
            let memory = Memory::new(link, own.node_pubkey, config.replies.remember_s);
            let (replies, queue) = mpsc::unbounded_channel();
            let follow =
                replies::follow(daemon.clone(), memory.clone(), config.replies, queue, shutdown.clone());
            let limits = &config.limits;
            let failure_delay = Duration::from_millis(limits.failure_delay_ms);
            let receiver = Arc::new(Receiver {
                dispatch,
                peers: Peers::new(upstream.keys, config.peers.clone(), failure_delay),
                senders: Senders::new(limits.max_in_flight_per_sender, limits.max_rate_per_sender),
                daemon,
                memory,
                replies,
                redis: conditions.redis,
                config,
            });
            let (received, followed) = tokio::join!(receive::run(receiver, bell, shutdown), follow);
            received.and(followed)
        });
        tasks.finish().await
    }
}

/// The ports behind the table of methods: those of the supervisor, and the overlay that this bridge itself leads to.
struct Upstream {
    ports: GrpcPorts,
    keys: GrpcKeys,
}

impl Upstream {
    fn new(config: &BridgeConfig, own: &Address) -> Self {
        let supervisor = grpc::channel(&config.supervisor, &config.channel);
        let deadlines =
            Deadlines { call: Duration::from_millis(config.limits.call_timeout_ms), ..Deadlines::default() };
        let calls = Calls { deadlines, traceparent: trace_context::current_traceparent, ..Calls::default() };
        let own_calls = calls.clone().with_token(config.grpc.token.expose());
        let calls = calls.with_token(config.channel.token.expose());
        let overlay = grpc::channel(&own.reachable(), &config.channel);
        let ports = GrpcPorts::new(supervisor.clone(), &calls).with_overlay(Some(overlay), &own_calls);
        Self { ports, keys: GrpcKeys::with_calls(supervisor, calls) }
    }
}
