//! The service: signs in, works, and signs in again when its session was lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use hero_config::Overrides;
use hero_domain::{RunnerId, ScriptType};
use hero_runtime::{Addresses, Condition, Context, Listener, Service, Shutdown, grpc};
use hero_store::{JobStore, Session, SignIn, Store};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    attempt::Order,
    backoff::Backoff,
    config::{RunnerConfig, RunnerFlags},
    engine::Engines,
    holdings::Holdings,
    lane::{LOOK_EVERY, Lane, Mode, Shift},
    lease::Keeper,
    log,
    sandbox::{self, Sandbox},
    stall::{Pulses, Watch},
};

/// What is kept of the grace to report the ends of the jobs that had to be cut short.
const LAST_REPORTS: Duration = Duration::from_secs(2);

/// How long a sign-out may take: a store that hangs must not hold up the end of the process.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Claims jobs and executes their scripts.
pub struct Runner {
    config: RunnerConfig,
    id: RunnerId,
    store: Store,
    engines: Engines,
    /// What it was to serve and cannot, and why.
    not_offered: BTreeMap<ScriptType, String>,
    sandbox: String,
    listener: Listener,
    cx: Context,
    job_store: Condition,
    work: Condition,
}

impl Runner {
    /// The types that it offers: those that were asked for, as far as this machine has what they need.
    #[must_use]
    pub fn offers(&self) -> Vec<ScriptType> {
        self.engines.iter().map(|(script_type, _)| script_type).collect()
    }
}

impl Service for Runner {
    const NAME: &'static str = "runner";
    const ABOUT: &'static str = "Claims jobs and executes their scripts";

    type Config = RunnerConfig;
    type Flags = RunnerFlags;

    fn overrides(flags: RunnerFlags) -> Overrides {
        flags.into_overrides()
    }

    async fn bind(config: RunnerConfig, cx: &Context) -> anyhow::Result<Self> {
        let id = runner_id(&config.id)?;
        let (job_store, work) = (cx.health.condition("job_store"), cx.health.condition("work"));
        let listener =
            Listener::bind(&config.listen).await.context("the runner's gRPC port (`listen`) is not free")?;
        let store = Store::connect(&config.redis).context("the address of Redis (`redis.url`)")?;
        let sandbox = Sandbox::prepare(&config.sandbox)?;
        announce(&sandbox, config.sandbox.mode);
        let (engines, not_offered) = Engines::find(&config, &sandbox, &store).await;
        for missing in &not_offered {
            tracing::warn!(script_type = %missing.script_type, why = missing.why, "NOT OFFERED: jobs of this type wait for another runner");
        }
        if engines.is_empty() {
            let words: Vec<_> = not_offered.iter().map(ToString::to_string).collect();
            bail!("nothing to serve: {}", words.join("; "));
        }
        let sandbox = sandbox.layers().to_string();
        let not_offered = not_offered.into_iter().map(|it| (it.script_type, it.why)).collect();
        Ok(Self {
            config,
            id,
            store,
            engines,
            not_offered,
            sandbox,
            listener,
            cx: cx.clone(),
            job_store,
            work,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses::new().with("grpc", self.listener.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, id, store, engines, not_offered, sandbox, listener, cx, job_store, work } = self;
        let health = grpc::Server::new(&config.grpc, &cx.health).serve(listener, shutdown.clone());
        let worker = Worker { config, id, store, engines, not_offered, sandbox, job_store, work };
        let (served, ()) = tokio::join!(health, worker.work(shutdown));
        served
    }
}

/// Says what scripts are kept in, loudly when that is less than it should be.
fn announce(sandbox: &Sandbox, mode: sandbox::Mode) {
    let layers = sandbox.layers();
    match mode {
        sandbox::Mode::None => {
            tracing::warn!("sandbox.mode is `none`: SCRIPTS MAY DO WHAT THE RUNNER MAY, and read what it may")
        }
        _ if layers.missing().is_empty() => tracing::info!(%layers, "scripts run in a sandbox"),
        _ => tracing::warn!(
            %layers,
            missing = layers.missing().join("; "),
            "THE SANDBOX IS NOT WHOLE, and sandbox.mode is `best-effort`: scripts run nevertheless"
        ),
    }
}

/// The id that was configured, or a fresh one.
fn runner_id(configured: &str) -> anyhow::Result<RunnerId> {
    if !configured.is_empty() {
        return configured.parse().context("the runner's id (`id`)");
    }
    let host: String = host()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(64)
        .collect();
    let random = Uuid::new_v4().simple().to_string();
    format!("{host}-{}-{}", std::process::id(), &random[..8]).parse().context("a fresh runner id")
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// How a shift came to its end.
enum ShiftEnd {
    /// The runner was told to stop.
    Drained,
    /// The session is over.
    Lost,
}

struct Worker {
    config: RunnerConfig,
    id: RunnerId,
    store: Store,
    engines: Engines,
    /// What it was to serve and cannot, and why.
    not_offered: BTreeMap<ScriptType, String>,
    /// The layers in force, in words.
    sandbox: String,
    job_store: Condition,
    work: Condition,
}

impl Worker {
    /// Works until told to stop.
    async fn work(self, shutdown: Shutdown) {
        let mut backoff = Backoff::default();
        loop {
            let session = tokio::select! {
                session = self.sign_in() => session,
                () = shutdown.draining() => return,
            };
            match self.shift(session, &shutdown).await {
                ShiftEnd::Drained => return,
                ShiftEnd::Lost => tokio::select! {
                    // A pause, lest two runners of one id take it from each other without end.
                    () = backoff.pause() => {}
                    () = shutdown.draining() => return,
                },
            }
        }
    }

    /// Signs in, however long the store takes to be there and fit.
    async fn sign_in(&self) -> Session {
        let mut backoff = Backoff::default();
        loop {
            match self.try_sign_in().await {
                Ok(session) => {
                    self.job_store.ready();
                    tracing::info!(runner_id = %self.id, job_store = self.store.address(), "signed in");
                    return session;
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    let address = self.store.address();
                    self.job_store.unready(format!(
                        "cannot sign in at {address}: {error}{}; trying again",
                        cause.unwrap_or_default()
                    ));
                    backoff.pause().await;
                }
            }
        }
    }

    async fn try_sign_in(&self) -> hero_store::Result<Session> {
        self.store.check().await?;
        let slots_of = |script_type| u32::try_from(self.config.slots(script_type)).unwrap_or(u32::MAX);
        let slots_by_type: BTreeMap<_, _> =
            self.engines.iter().map(|(script_type, _)| (script_type, slots_of(script_type))).collect();
        let sign_in = SignIn {
            id: self.id.clone(),
            session: Uuid::new_v4().simple().to_string(),
            script_types: self.engines.iter().map(|(script_type, _)| script_type).collect(),
            circles: self.config.circle().into_iter().collect(),
            slots: slots_by_type.values().sum(),
            slots_by_type,
            not_offered: self.not_offered.clone(),
            host: host(),
            version: hero_runtime::VERSION.to_owned(),
            sandbox: self.sandbox.clone(),
            lease: self.config.lease(),
        };
        self.store.sign_in(&sign_in).await
    }

    /// Works as long as the session lasts.
    async fn shift(&self, session: Session, shutdown: &Shutdown) -> ShiftEnd {
        let holdings = Holdings::default();
        let lost = CancellationToken::new();
        let (mode, lanes_mode) = watch::channel(Mode::Serve);
        let (logging, logs) = mpsc::unbounded_channel();
        let over = CancellationToken::new();
        let _over = over.clone().drop_guard();
        let keeper = Keeper {
            redis: self.config.redis.clone(),
            session: session.clone(),
            lease: self.config.lease(),
            holdings: holdings.clone(),
            mode: mode.clone(),
            lost: lost.clone(),
            condition: self.job_store.clone(),
        };
        let pulses = Pulses::default();
        let watch = Watch::new(pulses.clone(), self.config.stall(), self.work.clone());
        let keeper = match keeper.start(watch, over.clone()) {
            Ok(keeper) => keeper,
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that keeps the lease");
                return ShiftEnd::Lost;
            }
        };
        let shift = Shift {
            store: self.store.clone(),
            session: session.clone(),
            holdings: holdings.clone(),
            mode: lanes_mode,
            lost: lost.clone(),
            logging,
            pulses,
            look_every: LOOK_EVERY.min(self.config.stall() / 4),
        };
        let mut tasks = JoinSet::new();
        let logs = tokio::spawn(log::write_logs(self.store.clone(), self.config.limits.max_log_bytes, logs));
        for (script_type, engine) in self.engines.iter() {
            let slots = self.config.slots(script_type);
            tasks.spawn(Lane::new(shift.clone(), self.config.circle(), Arc::clone(engine), slots).work());
        }
        drop(shift);
        let lanes = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = lanes => {}
            () = hand_back(shutdown, &mode, &holdings) => {
                tracing::warn!("the grace is over before all ends were reported; the lease will return the jobs");
            }
        }
        // Whatever still runs is nobody's business any more.
        holdings.order_all(Order::Abandon);
        logs.abort();
        if lost.is_cancelled() {
            return ShiftEnd::Lost;
        }
        over.cancel();
        let _ = keeper.await;
        match tokio::time::timeout(LAST_WORD, self.store.sign_out(&session)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not signed out; the lease will return what is left"),
            Err(_) => tracing::warn!("not signed out in time; the lease will return what is left"),
        }
        ShiftEnd::Drained
    }
}

/// The drain: no new jobs at once, the running ones get the grace, the rest is handed back. Returns when even the
/// reports of that had no time left.
async fn hand_back(shutdown: &Shutdown, mode: &watch::Sender<Mode>, holdings: &Holdings) {
    shutdown.draining().await;
    mode.send_replace(Mode::End);
    shutdown.requested().await;
    let grace = shutdown.grace();
    tokio::time::sleep(grace.saturating_sub(LAST_REPORTS.min(grace / 4))).await;
    holdings.order_all(Order::HandBack);
    shutdown.grace_over().await;
}
