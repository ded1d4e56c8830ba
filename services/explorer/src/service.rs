//! The life of an explorer.

use std::sync::Arc;

use anyhow::Context as _;
use hero_auth::Secrets;
use hero_config::Overrides;
use hero_domain::{Caller, Scope};
use hero_jsonrpc::{Wire, node_module};
use hero_proto::{Calls, FILE_DESCRIPTOR_SET, GrpcOverlay, node_server};
use hero_redis::Link;
use hero_runtime::{
    Addresses, ChannelConfig, Condition, Context, Health, Listener, Service, Shutdown, Tasks, grpc,
    listen::{Acceptor, Connector, Peers, Stream, accept},
};
use hero_telemetry::trace_context;
use parking_lot::Mutex;

use crate::{
    calls::Caretaker,
    config::{ExplorerConfig, Flags},
    nodes::{KnownNodes, Shared},
    registry::Registry,
    shelf::Shelf,
    upkeep,
};

/// Knows which nodes exist, and passes calls on to them.
pub struct Explorer {
    config: ExplorerConfig,
    socket: Listener,
    tcp: Option<(Listener, Option<Acceptor>)>,
    grpc: Listener,
    shared: Arc<Shared>,
    health: Health,
    redis: Condition,
}

impl Service for Explorer {
    const NAME: &'static str = "explorer";
    const ABOUT: &'static str = "Knows which nodes exist, and passes calls on to them";
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = crate::config::ENV_ALIASES;

    type Config = ExplorerConfig;
    type Flags = Flags;

    fn overrides(flags: Flags) -> Overrides {
        flags.overrides()
    }

    async fn bind(config: ExplorerConfig, cx: &Context) -> anyhow::Result<Self> {
        let link = Link::open(&config.redis).context("the address of redis cannot be used")?;
        let connector = Connector::new(&config.calls.tls).context("`calls.tls` cannot be used")?;
        let socket = Listener::bind(&config.socket).await?;
        let tcp = match &config.tcp {
            None => None,
            Some(address) => Some(bind_network(address, &config).await?),
        };
        let grpc = Listener::bind(&config.listen).await?;
        let mut own = vec![socket.address().clone(), grpc.address().clone()];
        own.extend(tcp.as_ref().map(|(listener, _)| listener.address().clone()));
        let shared = Arc::new(Shared {
            registry: Mutex::new(Registry::new()),
            shelf: Shelf::new(link),
            saving: tokio::sync::Mutex::default(),
            loaded: tokio::sync::SetOnce::new(),
            caretaker: Caretaker {
                peers: Peers::new(connector, config.calls.lines),
                overlay: overlay(&config),
                config: config.calls.clone(),
            },
            config: config.heartbeats,
            allow_unsigned: config.allow_unsigned,
            own,
        });
        let redis = cx.health.condition("redis");
        Ok(Self { config, socket, tcp, grpc, shared, health: cx.health.clone(), redis })
    }

    fn addresses(&self) -> Addresses {
        let addresses = Addresses::new()
            .with("unix", self.socket.address().clone())
            .with("grpc", self.grpc.address().clone());
        match &self.tcp {
            None => addresses,
            Some((listener, _)) => addresses.with("tcp", listener.address().clone()),
        }
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, socket, tcp, grpc, shared, health, redis } = self;
        let mut tasks = Tasks::new(shutdown.clone());
        let nodes = |is_local| KnownNodes { shared: Arc::clone(&shared), is_local };

        let server = grpc::Server::new(&config.grpc, &health)
            .add_service(node_server(nodes(false)))
            .descriptors(FILE_DESCRIPTOR_SET);
        tasks.essential("grpc", server.serve(grpc, shutdown.clone()));
        let door = Door::local();
        tasks.essential("unix", serve(socket, None, nodes(true), door, config.clone(), shutdown.clone()));
        if let Some((listener, acceptor)) = tcp {
            let door = Door::network(&config, listener.address().is_local());
            let nodes = nodes(false);
            tasks.essential("tcp", serve(listener, acceptor, nodes, door, config.clone(), shutdown.clone()));
        }
        tasks.restartable("judge", {
            let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
            move || upkeep::judge(Arc::clone(&shared), shutdown.clone())
        });
        let shared = Arc::clone(&shared);
        tasks.restartable("share", move || {
            upkeep::share(Arc::clone(&shared), redis.clone(), shutdown.clone())
        });
        tasks.finish().await
    }
}

/// The way to nodes in the overlay; without a bridge it says what is missing.
fn overlay(config: &ExplorerConfig) -> GrpcOverlay {
    let bridge = config.mycelium_bridge.as_ref();
    let channel = bridge.map(|address| grpc::channel(address, &ChannelConfig::default()));
    GrpcOverlay::with_calls(
        channel,
        Calls { traceparent: trace_context::current_traceparent, ..Calls::default() }
            .with_token(config.grpc.token.expose()),
    )
}

async fn bind_network(
    address: &hero_runtime::Address,
    config: &ExplorerConfig,
) -> anyhow::Result<(Listener, Option<Acceptor>)> {
    let is_tls = matches!(address, hero_runtime::Address::Tls { .. });
    let acceptor = is_tls.then(|| Acceptor::new(&config.tls, config.accept.handshake_timeout()));
    let acceptor = acceptor.transpose().context("`tls` cannot be used")?;
    let listener = Listener::bind(address).await?;
    if !is_tls && !listener.address().is_local() {
        tracing::warn!(
            address = %listener.address(),
            "serving the network without encryption; write tls:// where others listen in"
        );
    }
    if config.allow_unsigned {
        tracing::warn!(
            address = %listener.address(),
            "taking UNSIGNED heartbeats over the network: whoever reaches this port may claim to be any node"
        );
    }
    Ok((listener, acceptor))
}

async fn serve(
    listener: Listener,
    acceptor: Option<Acceptor>,
    nodes: KnownNodes,
    door: Door,
    config: ExplorerConfig,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let wire = Wire::new(node_module(nodes), config.wire, None);
    let stopping = wire.clone();
    let requested = shutdown.clone();
    let serve = accept(listener, acceptor, config.accept, shutdown, move |stream: Stream| {
        let (wire, door, shutdown) = (wire.clone(), door.clone(), requested.clone());
        let is_verified = stream.is_verified();
        async move {
            let stop = async move { shutdown.requested().await };
            wire.serve(stream, move |secret| door.caller(secret, is_verified), Box::pin(stop)).await;
        }
    });
    serve.await;
    stopping.stop();
    Ok(())
}

/// Who may come in.
#[derive(Clone)]
struct Door {
    secrets: Arc<Secrets>,
    /// Who a caller without a secret is.
    anonymous: Arc<Caller>,
}

impl Door {
    /// The unix socket: its file says who may open it.
    fn local() -> Self {
        Self { secrets: Arc::default(), anonymous: Arc::new(Caller::local()) }
    }

    /// The network. Without a secret a caller may say that it lives, and look; everything else only where nobody but
    /// this machine can call, or where that is wanted.
    fn network(config: &ExplorerConfig, is_local: bool) -> Self {
        let may_all = config.insecure_no_auth || (is_local && config.secrets.is_empty());
        let scope = if may_all { Scope::Admin } else { Scope::Register };
        let anonymous = Caller { scope, ..Caller::local() };
        Self { secrets: Arc::new(config.secrets.clone()), anonymous: Arc::new(anonymous) }
    }

    fn caller(&self, secret: Option<&str>, is_verified: bool) -> hero_domain::Result<Arc<Caller>> {
        if let Some(secret) = secret.filter(|_| !self.secrets.is_empty()) {
            return self.secrets.caller(Some(secret)).map(Arc::new);
        }
        if is_verified {
            // Its certificate is of the authority that the fleet shares.
            return Ok(Arc::new(Caller { name: "certificate".to_owned(), ..Caller::local() }));
        }
        Ok(Arc::clone(&self.anonymous))
    }
}
