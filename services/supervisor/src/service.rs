//! The life of a supervisor.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use hero_config::Overrides;
use hero_proto::{
    Calls, FILE_DESCRIPTOR_SET, GrpcOverlay, circle_server, job_server, key_server, node_server,
    runner_server, schedule_server,
};
use hero_runtime::{
    Address, Addresses, ChannelConfig, Condition, Context, Health, Listener, Service, Shutdown, Tasks, grpc,
    listen::{Connector, Peers},
};
use hero_store::{Store, Waits};
use tokio_util::sync::CancellationToken;

use crate::{
    beside::Beside,
    circles::Directory,
    config::{Flags, SupervisorConfig},
    jobs::StoredJobs,
    keys::StoredKeys,
    node::{self, Face, Fleet, Heart},
    readiness::Gate,
    runners::StoredRunners,
    schedules::{StoredSchedules, clock::Clock},
    upkeep::Upkeep,
};

/// Keeps jobs in Redis and queues them; serves the contracts of jobs, runners and keys over gRPC.
pub struct Supervisor {
    config: SupervisorConfig,
    listener: Listener,
    face: Face,
    store: Store,
    health: Health,
    redis: Condition,
    bridge: Option<Beside>,
}

impl Supervisor {
    /// Names the mycelium-bridge of this machine, for whoever starts it after the supervisor has been bound.
    pub fn set_mycelium_bridge(&mut self, address: Address) {
        self.config.node.mycelium_bridge = Some(address);
    }
}

impl Service for Supervisor {
    const NAME: &'static str = "supervisor";
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = node::config::ENV_ALIASES;
    const ABOUT: &'static str = "Keeps jobs in Redis and queues them; serves the job contract over gRPC";

    type Config = SupervisorConfig;
    type Flags = Flags;

    fn overrides(flags: Flags) -> Overrides {
        flags.overrides()
    }

    async fn bind(config: SupervisorConfig, cx: &Context) -> anyhow::Result<Self> {
        let store = Store::connect(&config.redis).context("the address of redis cannot be used")?;
        let listener = Listener::bind(&config.listen).await?;
        let face = Face::bind(&config.node, &config.secrets).await?;
        let redis = cx.health.condition("redis");
        let bridge = Beside::find(&config, listener.address())?;
        Ok(Self { config, listener, face, store, health: cx.health.clone(), redis, bridge })
    }

    fn addresses(&self) -> Addresses {
        Addresses::new().with("grpc", self.listener.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, listener, face, store, health, redis, bridge } = self;
        let gate = Gate::closed();
        let overlay = overlay(Beside::listen(&config).as_ref());
        let (stop_events, closing) = (CancellationToken::new(), CancellationToken::new());
        let waits = Waits::start(store.clone(), stop_events.clone());

        let circles = Directory::new(
            store.clone(),
            gate.clone(),
            config.circle_keys().map_err(|invalid| anyhow!("{invalid:?}"))?,
            Duration::from_millis(config.auth.circle_cache_ms),
        );
        let keys = StoredKeys::new(
            store.clone(),
            gate.clone(),
            config.secrets,
            config.enable_auth,
            circles.clone(),
            config.auth,
        );
        let limits = Arc::new(config.jobs);
        let max_running_per_context = limits.max_running_per_context;
        let jobs = StoredJobs::new(
            store.clone(),
            waits,
            gate.clone(),
            circles.clone(),
            Arc::clone(&limits),
            (config.submit, config.wait),
            closing.clone(),
        );
        let runners = StoredRunners { store: store.clone(), gate: gate.clone(), circles: circles.clone() };
        let schedules = StoredSchedules {
            store: store.clone(),
            gate: gate.clone(),
            circles: circles.clone(),
            limits,
            config: config.schedules,
        };
        let clock = Clock { store: store.clone(), gate: gate.clone(), config: config.schedules };
        let peers = Peers::new(
            Connector::new(&config.node.tls).context("`node.tls` cannot be used")?,
            config.node.lines,
        );
        let explorers = config.node.explorers();
        let heart = match &config.node.folder {
            None => None,
            Some(folder) => {
                Some(Heart::new(&config.node, folder.clone(), face.addresses(), store.clone(), overlay)?)
            }
        };
        let (heart, pulse) = heart.unzip();
        let fleet = Fleet {
            explorers: explorers.clone(),
            secret: config.node.secret.clone(),
            peers: peers.clone(),
            pulse: pulse.clone(),
        };
        let server = grpc::Server::new(&config.grpc, &health)
            .add_service(job_server(jobs))
            .add_service(runner_server(runners))
            .add_service(schedule_server(schedules))
            .add_service(circle_server(circles))
            .add_service(key_server(keys))
            .add_service(node_server(fleet))
            .descriptors(FILE_DESCRIPTOR_SET);
        let upkeep = Upkeep { store, gate, condition: redis, config: config.upkeep, max_running_per_context };

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.essential("node", face.serve(listener.address().clone(), shutdown.clone()));
        if let Some(heart) = heart {
            tasks.essential("heart", heart.beat(shutdown.clone()));
        }
        for explorer in explorers {
            let Some(pulse) = pulse.clone() else { break };
            let (peers, shutdown) = (peers.clone(), shutdown.clone());
            let interval = Duration::from_millis(config.node.interval_ms);
            tasks.restartable("heartbeats", move || {
                node::tell(explorer.clone(), peers.clone(), pulse.clone(), interval, shutdown.clone())
            });
        }
        tasks.essential("grpc", server.serve(listener, shutdown.clone()));
        tasks.restartable("upkeep", {
            let shutdown = shutdown.clone();
            move || upkeep.clone().run(shutdown.clone())
        });
        tasks.restartable("schedules", {
            let shutdown = shutdown.clone();
            move || clock.clone().run(shutdown.clone())
        });
        if let Some(bridge) = bridge {
            let shutdown = shutdown.clone();
            tasks.restartable("mycelium bridge", move || bridge.clone().run(shutdown.clone()));
        }
        // The reader of the events ends with this call, however it ends.
        let _stop_events = stop_events.drop_guard();
        tokio::select! {
            finished = tasks.finish() => finished,
            never = end_waits(shutdown, closing) => match never {},
        }
    }
}

/// The way to this node's own place in the overlay; none: it has none.
fn overlay(bridge: Option<&Address>) -> Option<GrpcOverlay> {
    let channel = grpc::channel(bridge?, &ChannelConfig::default());
    Some(GrpcOverlay::with_calls(Some(channel), Calls::default()))
}

/// Half the grace is for jobs to end; then whoever still waits is told that the job goes on without this
/// server, while there is time to say so.
async fn end_waits(shutdown: Shutdown, closing: CancellationToken) -> Infallible {
    shutdown.requested().await;
    tokio::time::sleep(shutdown.grace() / 2).await;
    closing.cancel();
    std::future::pending().await
}
