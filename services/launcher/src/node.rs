//! The services of a node, bound to each other, run and stopped in order.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use hero_auth::SealKey;
use hero_config::{Overrides, Secret};
use hero_domain::ScriptType;
use hero_explorer::Explorer;
use hero_gateway::Gateway;
use hero_msgbus_relay::MsgbusRelay;
use hero_mycelium_bridge::Bridge;
use hero_proto::{Calls, GrpcCircles};
use hero_redis::{Link, RedisConfig, RedisUrl, cmd};
use hero_runner::Runner;
use hero_runtime::{
    Addresses, Context, DrainConfig, Health, Service, Shutdown, ShutdownTrigger, VERSION, grpc, run_service,
};
use hero_supervisor::Supervisor;
use tokio::task::JoinHandle;

use crate::{LauncherConfig, LauncherFlags, RedisServer, banner::Banner, tenants::Tenants};

/// After this long without being ready, the node says what it waits for.
const SAY_WHAT_IS_MISSING: Duration = Duration::from_secs(2);
/// The pause before a private Redis that has ended is started again.
const REDIS_BACKOFF: Duration = Duration::from_millis(500);

/// A whole node: supervisor, gateway and runner over real sockets, with a private Redis if it needs one.
pub struct Node {
    begun: Instant,
    drain: DrainConfig,
    health: Health,
    banner: Banner,
    redis: Option<RedisServer>,
    explorer: Option<Explorer>,
    supervisor: Supervisor,
    gateway: Gateway,
    runner: Runner,
    tenants: Tenants,
    bridge: Option<Bridge>,
    relay: Option<MsgbusRelay>,
}

impl Service for Node {
    const NAME: &'static str = "launcher";
    const ABOUT: &'static str =
        "A whole Hero node in one process: gateway, supervisor, runner, and Redis if none is there";

    const ENV_ALIASES: &'static [(&'static str, &'static str)] = crate::config::ENV_ALIASES;
    const IS_ALONE: bool = true;

    type Config = LauncherConfig;
    type Flags = LauncherFlags;

    fn overrides(flags: LauncherFlags) -> Overrides {
        flags.overrides()
    }

    async fn bind(config: LauncherConfig, cx: &Context) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let token = Secret::new(SealKey::mint().expose());
        let config = config.with_token(&token);
        let (url, redis) = choose_redis(&config).await?;
        let mut supervisor = Supervisor::bind(config.supervisor(&url), &cx.scope(Supervisor::NAME))
            .await
            .context("the supervisor cannot start")?;
        let upstream = supervisor.addresses();
        let upstream = upstream.get("grpc").context("the supervisor has no gRPC address")?;
        let bridge = match config.bridge(upstream, &url) {
            Some(config) => {
                Some(Bridge::bind(config, &cx.scope(Bridge::NAME)).await.context("the bridge cannot start")?)
            }
            None => None,
        };
        let overlay = bridge.as_ref().and_then(|bridge| bridge.addresses().get("grpc").cloned());
        if let Some(overlay) = &overlay {
            supervisor.set_mycelium_bridge(overlay.clone());
        }
        let explorer = if config.with_explorer {
            let settings = config.explorer(&url, overlay.as_ref());
            let bound = Explorer::bind(settings, &cx.scope(Explorer::NAME)).await;
            Some(bound.context("the explorer cannot start")?)
        } else {
            None
        };
        let relay = match config.relay(upstream, &url) {
            Some(config) => {
                let bound = MsgbusRelay::bind(config, &cx.scope(MsgbusRelay::NAME)).await;
                Some(bound.context("the message bus relay cannot start")?)
            }
            None => None,
        };
        let bus = relay.as_ref().and_then(|relay| relay.addresses().get("grpc").cloned());
        let gateway =
            Gateway::bind(config.gateway(upstream, overlay.as_ref(), bus.as_ref()), &cx.scope(Gateway::NAME))
                .await
                .context("the gateway cannot start; --port chooses another port, 0 any free one")?;
        let runner = Runner::bind(config.runner(&url), &cx.scope(Runner::NAME))
            .await
            .context("the runner cannot start")?;
        let channel = grpc::channel(upstream, &config.gateway.channel);
        let tenants = Tenants {
            circles: GrpcCircles::with_calls(channel, Calls::default().with_token(token.expose())),
            runner: config.circle_runner(&url),
            telemetry: cx.telemetry.clone(),
            drain: config.drain,
            condition: cx.health.condition("circles"),
        };
        let banner = banner(&config, cx, &gateway.addresses(), &runner.offers(), &url, redis.is_some());
        let health = cx.health.clone();
        Ok(Self {
            begun,
            drain: config.drain,
            health,
            banner,
            redis,
            explorer,
            supervisor,
            gateway,
            runner,
            tenants,
            bridge,
            relay,
        })
    }

    fn addresses(&self) -> Addresses {
        self.gateway.addresses()
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self {
            begun,
            drain,
            health,
            banner,
            redis,
            explorer,
            supervisor,
            gateway,
            runner,
            tenants,
            bridge,
            relay,
        } = self;
        // Stopped from the outside in: nobody loses what it still needs.
        let tenants = Part::spawn("runners of circles", drain, |shutdown| tenants.run(shutdown));
        let mut edge = vec![Part::run(gateway, drain), Part::run(runner, drain), tenants];
        edge.extend(bridge.map(|bridge| Part::run(bridge, drain)));
        edge.extend(relay.map(|relay| Part::run(relay, drain)));
        let mut core = Part::run(supervisor, drain);
        let mut explorer = explorer.map(|explorer| Part::run(explorer, drain));
        let (stop_redis, redis_shutdown) = Shutdown::new(drain);
        let mut redis = redis.map(|redis| tokio::spawn(keep(redis, redis_shutdown)));

        let greeting = tokio::spawn(greet(health, banner, begun));
        let failed = tokio::select! {
            () = shutdown.draining() => None,
            ended = first_ended(&mut edge) => Some(ended),
            ended = core.ended() => Some(ended),
            ended = ended(&mut explorer) => Some(ended),
        };
        greeting.abort();
        if failed.is_none() {
            edge.iter().for_each(|part| part.trigger.begin());
            shutdown.requested().await;
        }
        edge.iter().for_each(|part| part.trigger.stop());
        let mut outcome = failed.map_or(Ok(()), Err);
        for mut part in edge.into_iter().chain([core]).chain(explorer) {
            part.trigger.stop();
            outcome = outcome.and(part.finish().await);
        }
        stop_redis.stop();
        if let Some(redis) = &mut redis {
            let stopped = redis.await.context("the keeper of the private Redis failed").flatten();
            outcome = outcome.and(stopped);
        }
        outcome
    }
}

/// The end of a part that may not be there.
async fn ended(part: &mut Option<Part>) -> anyhow::Error {
    match part {
        Some(part) => part.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits for the first end that nobody has asked for.
async fn first_ended(parts: &mut [Part]) -> anyhow::Error {
    futures::future::select_all(parts.iter_mut().map(|part| Box::pin(part.ended()))).await.0
}

/// A running service and what stops it.
pub(crate) struct Part {
    name: &'static str,
    pub(crate) trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
    is_over: bool,
}

impl Part {
    pub(crate) fn run<S: Service>(service: S, drain: DrainConfig) -> Self {
        Self::spawn(S::NAME, drain, |shutdown| run_service(service, shutdown))
    }

    fn spawn<F>(name: &'static str, drain: DrainConfig, run: impl FnOnce(Shutdown) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (trigger, shutdown) = Shutdown::new(drain);
        Self { name, trigger, task: tokio::spawn(run(shutdown)), is_over: false }
    }

    /// Waits for an end that nobody has asked for: that is always a failure.
    async fn ended(&mut self) -> anyhow::Error {
        match self.join().await {
            Ok(()) => anyhow!("the {} ended before it was told to", self.name),
            Err(error) => error,
        }
    }

    /// Whether it has come to its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end, unless that was told before.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<()> {
        if self.is_over { Ok(()) } else { self.join().await }
    }

    async fn join(&mut self) -> anyhow::Result<()> {
        let ended = (&mut self.task).await;
        self.is_over = true;
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.context(format!("the {} failed", self.name))),
            Err(error) => Err(anyhow!("the {} failed: {error}", self.name)),
        }
    }
}

/// The Redis that was named; else the one at the default address, if it answers; else a private one.
async fn choose_redis(config: &LauncherConfig) -> anyhow::Result<(RedisUrl, Option<RedisServer>)> {
    if let Some(url) = &config.redis_url {
        return Ok((url.clone(), None));
    }
    let default = RedisUrl::default();
    if !config.private_redis && is_there(&default).await? {
        return Ok((default, None));
    }
    let redis = RedisServer::start(&config.data_dir()?, config.patience()).await?;
    Ok((redis.url().clone(), Some(redis)))
}

async fn is_there(url: &RedisUrl) -> anyhow::Result<bool> {
    let link = Link::open(&RedisConfig::at(url.clone()))?;
    match link.call::<String>(&cmd("PING")).await {
        Ok(_) => Ok(true),
        Err(error) => {
            tracing::info!(%url, error = format!("{:#}", anyhow!(error)), "no Redis at the default address");
            Ok(false)
        }
    }
}

/// Starts the private Redis again whenever it ends, until it is told to end.
async fn keep(mut redis: RedisServer, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            status = redis.ended() => tracing::error!(status, "the private Redis has ended, starting it again"),
            () = shutdown.requested() => return redis.stop().await.context("the private Redis does not stop"),
        }
        while let Err(error) = redis.restart().await {
            tracing::error!(
                error = format!("{:#}", anyhow!(error)),
                "the private Redis cannot be started again"
            );
            tokio::select! {
                () = tokio::time::sleep(REDIS_BACKOFF) => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }
}

/// Tells a person that the node is ready, or what it still waits for.
async fn greet(health: Health, banner: Banner, begun: Instant) {
    if tokio::time::timeout(SAY_WHAT_IS_MISSING, health.ready()).await.is_err() {
        let missing: Vec<String> = health
            .report()
            .conditions
            .into_iter()
            .filter(|(_, words)| words != "ok")
            .map(|(name, words)| format!("{name}: {words}"))
            .collect();
        tracing::warn!(waiting_for = missing.join("; "), "not ready yet");
        health.ready().await;
    }
    banner.print(begun.elapsed());
}

fn banner(
    config: &LauncherConfig,
    cx: &Context,
    public: &Addresses,
    offered: &[ScriptType],
    url: &RedisUrl,
    is_private: bool,
) -> Banner {
    let admin = cx.admin.as_ref().unwrap_or(&config.admin.listen).reachable();
    let rpc = public.get("http").map(|address| address.reachable().to_string()).unwrap_or_default();
    let needs_secret = config.enable_auth || !config.secrets.is_empty();
    Banner {
        version: VERSION,
        rpc: rpc.trim_start_matches("tcp://").to_owned(),
        admin: admin.to_string().replace("tcp://", "http://"),
        redis: match is_private {
            true => format!("{url}, private; jobs survive a restart"),
            false => url.to_string(),
        },
        runner: config.runner_in_words(offered),
        auth: match (needs_secret, config.insecure_no_auth) {
            (true, _) if config.secrets.is_empty() => {
                "every call needs an API key, or a login to a circle".to_owned()
            }
            (true, _) => "every call needs a secret, or a login to a circle".to_owned(),
            (false, true) => {
                "OFF, and other machines may call: whoever reaches this port may run scripts".to_owned()
            }
            (false, false) => "off; this machine only".to_owned(),
        },
        needs_secret,
    }
}
