//! The gateway as a service: wiring, and its life.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use hero_config::Overrides;
use hero_jsonrpc::module;
use hero_proto::{Calls, Deadlines, GrpcPorts};
use hero_runtime::{
    Address, Addresses, Condition, Context, Listener, Service, Shutdown, Tasks, grpc, listen::Acceptor,
};
use hero_telemetry::trace_context;
use jsonrpsee::server::{ServerHandle, stop_channel};

use crate::{
    auth::Authenticator,
    coalesce::Coalesced,
    config::{GatewayConfig, LimitsConfig},
    connection,
    edge::Edge,
    upstream,
};

/// The public edge of a node.
pub struct Gateway {
    listener: Listener,
    tls: Option<Acceptor>,
    router: Router,
    limits: LimitsConfig,
    auth: Arc<Authenticator<GrpcPorts>>,
    supervisor: Condition,
    websockets: ServerHandle,
}

/// The gateway's own flags.
#[derive(Debug, Default, clap::Args)]
pub struct GatewayFlags {
    /// Where to listen: tcp://host:port or unix:///path
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["host", "port"])]
    pub listen: Option<String>,
    /// The host to listen on [default: 127.0.0.1]
    #[arg(long)]
    pub host: Option<String>,
    /// The port to listen on, 0 for any free one [default: 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// Where the supervisor serves gRPC: tcp://host:port or unix:///path
    #[arg(long, value_name = "ADDRESS")]
    pub supervisor: Option<String>,
    /// Where the msgbus-relay serves gRPC, if this node has one: tcp://host:port or unix:///path
    #[arg(long, value_name = "ADDRESS")]
    pub msgbus_relay: Option<String>,
    /// Where the mycelium-bridge serves gRPC, if this node has one: tcp://host:port or unix:///path
    #[arg(long, value_name = "ADDRESS")]
    pub mycelium_bridge: Option<String>,
    /// Serve HTTPS and wss://; needs --cert-path and --key-path
    #[arg(long, requires_all = ["cert_path", "key_path"])]
    pub enable_tls: bool,
    /// The certificate for --enable-tls, a PEM file
    #[arg(long, value_name = "FILE")]
    pub cert_path: Option<String>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE")]
    pub key_path: Option<String>,
    /// Serve callers without a secret, even on an address that others can reach
    #[arg(long)]
    pub insecure_no_auth: bool,
}

impl GatewayFlags {
    fn listen(self) -> (&'static str, Option<String>) {
        const HOST: &str = "127.0.0.1";
        const PORT: u16 = 8080;
        match (self.listen, self.host, self.port) {
            (Some(listen), ..) => ("--listen", Some(listen)),
            (None, None, None) => ("--listen", None),
            (None, host, port) => {
                let host = host.unwrap_or_else(|| HOST.to_owned());
                let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
                ("--host, --port", Some(format!("tcp://{bracketed}:{}", port.unwrap_or(PORT))))
            }
        }
    }
}

impl Service for Gateway {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str = "The public JSON-RPC edge of a Hero node, over HTTP and WebSocket";

    type Config = GatewayConfig;
    type Flags = GatewayFlags;

    fn overrides(flags: GatewayFlags) -> Overrides {
        let supervisor = flags.supervisor.clone();
        let msgbus_relay = flags.msgbus_relay.clone();
        let mycelium_bridge = flags.mycelium_bridge.clone();
        let insecure = flags.insecure_no_auth;
        let (enable_tls, cert, key) = (flags.enable_tls, flags.cert_path.clone(), flags.key_path.clone());
        let (flag, listen) = flags.listen();
        Overrides::new()
            .set("listen", flag, listen)
            .set("supervisor", "--supervisor", supervisor)
            .set("msgbus_relay", "--msgbus-relay", msgbus_relay)
            .set("mycelium_bridge", "--mycelium-bridge", mycelium_bridge)
            .set_switch("enable_tls", "--enable-tls", enable_tls)
            .set("cert_path", "--cert-path", cert)
            .set("key_path", "--key-path", key)
            .set_switch("insecure_no_auth", "--insecure-no-auth", insecure)
    }

    async fn bind(config: GatewayConfig, cx: &Context) -> anyhow::Result<Self> {
        let handshake_timeout = Duration::from_millis(config.limits.header_timeout_ms);
        let tls = config.tls().map(|tls| Acceptor::speaking(&tls, handshake_timeout, &["h2", "http/1.1"]));
        let tls = tls.transpose().context("`cert_path` and `key_path` cannot be used")?;
        let listener = Listener::bind(&config.listen).await?;
        let channel = grpc::channel(&config.supervisor, &config.channel);
        let limits = config.limits.clone();
        let calls = Calls {
            deadlines: Deadlines { call: limits.calls().call_timeout, ..Deadlines::default() },
            traceparent: trace_context::current_traceparent,
            ..Calls::default()
        }
        .with_token(config.channel.token.expose());
        let to = |address: &Option<Address>| address.as_ref().map(|it| grpc::channel(it, &config.channel));
        let upstream = GrpcPorts::new(channel, &calls)
            .with_bus(to(&config.msgbus_relay), &calls)
            .with_overlay(to(&config.mycelium_bridge), &calls);
        let upstream = match &config.explorer {
            None => upstream,
            Some(explorer) => upstream.with_explorer(grpc::channel(explorer, &config.channel), &calls),
        };
        // What a subscriber does not take may hold up other feeds, but no call.
        let feeds = grpc::channel(&config.supervisor, &config.channel);
        let ports = upstream.clone().map_jobs(|jobs| Coalesced::new(jobs.with_feeds(feeds)));

        let serves_anonymous = config.insecure_no_auth || config.listen.is_local();
        if config.insecure_no_auth && !config.listen.is_local() {
            tracing::warn!(address = %listener.address(), "serving callers without a secret where others can reach");
        }
        let auth = Arc::new(Authenticator::new(upstream, config.auth.clone(), serves_anonymous));
        let (stop, websockets) = stop_channel();
        let methods = module(ports, limits.options(Duration::from_millis(config.auth.failure_delay_ms)));
        let router = Edge::new(&config, Arc::clone(&auth), methods, stop).router(&config);
        let supervisor = cx.health.condition("supervisor");
        Ok(Self { listener, tls, router, limits, auth, supervisor, websockets })
    }

    fn addresses(&self) -> Addresses {
        Addresses::new().with("http", self.listener.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.essential("supervisor watch", upstream::watch(self.auth, self.supervisor, shutdown.clone()));
        let serve =
            connection::serve(self.listener, self.tls, self.router, self.limits, self.websockets, shutdown);
        tasks.essential("edge", async move {
            serve.await;
            Ok(())
        });
        tasks.finish().await
    }
}
