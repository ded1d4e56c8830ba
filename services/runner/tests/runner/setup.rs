//! A private Redis, a runner on it, and what a test asks of both.

use std::time::{Duration, Instant};

use hero_domain::{Job, JobId, JobStatus, NewJob, ScriptType};
use hero_redis::RedisConfig;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::{Address, Context, DrainConfig, Service, Shutdown, ShutdownTrigger};
use hero_store::{JobStore, Store};
use hero_testing::RedisServer;
use tokio::task::JoinHandle;

/// Longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node without its gateway and supervisor.
pub(crate) struct Node {
    pub(crate) redis: RedisServer,
    pub(crate) store: Store,
}

/// A runner that runs.
pub(crate) struct Running {
    pub(crate) cx: Context,
    pub(crate) trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    pub(crate) fn start() -> Self {
        let redis = RedisServer::start_durable().expect("a private redis-server");
        let store = Store::connect(&redis_config(&redis)).expect("a store");
        Self { redis, store }
    }

    /// Starts a runner; `change` makes its settings the test's own.
    pub(crate) async fn runner(&self, change: impl FnOnce(&mut RunnerConfig)) -> Running {
        let mut config = RunnerConfig {
            listen: Address::loopback(0),
            redis: redis_config(&self.redis),
            lease_ms: 1_000,
            drain: DrainConfig { drain_delay_ms: 0, grace_ms: 4_000 },
            ..RunnerConfig::default()
        };
        change(&mut config);
        let (trigger, shutdown) = Shutdown::new(config.drain);
        let cx = Context::detached();
        let runner = Runner::bind(config, &cx).await.expect("a runner");
        Running { cx, trigger, task: tokio::spawn(runner.run(shutdown)) }
    }

    /// Creates and starts a job.
    pub(crate) async fn submit(&self, job: NewJob) -> JobId {
        self.store.create(&[job], true).await.expect("the job is created")[0].id
    }

    /// Creates and starts a job with every option at its default.
    pub(crate) async fn submit_script(&self, script_type: ScriptType, script: &str) -> JobId {
        self.submit(NewJob::new(script_type, script)).await
    }

    /// Waits until a job is as it should be.
    pub(crate) async fn job(&self, id: JobId, what: &str, is: impl Fn(&Job) -> bool) -> Job {
        until(what, async || self.store.get(id, None).await.ok().filter(|job| is(job))).await
    }

    /// The types that the first runner offers, once it has signed in.
    pub(crate) async fn offered(&self) -> Vec<ScriptType> {
        until("a runner signs in", async || {
            self.store.runners().await.ok()?.into_iter().next().map(|runner| runner.script_types)
        })
        .await
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, id: JobId) -> Job {
        self.job(id, "the job ends", |job| job.status.is_ended()).await
    }

    /// Waits until a runner has it.
    pub(crate) async fn begun(&self, id: JobId) -> Job {
        self.job(id, "the job begins", |job| job.status == JobStatus::Started).await
    }

    /// The text of a job's log.
    pub(crate) async fn log(&self, id: JobId) -> String {
        let page = self.store.read_log(id, None, None, 1 << 30).await.expect("a log");
        page.to_text().unwrap_or_default()
    }

    /// Waits until the log has this text.
    pub(crate) async fn logged(&self, id: JobId, text: &str) {
        until(text, async || self.log(id).await.contains(text).then_some(())).await;
    }
}

impl Running {
    /// Tells it to stop and waits for its end.
    pub(crate) async fn stop(self) {
        self.trigger.drain().await;
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time");
        ended.expect("it does not panic").expect("it ends well");
    }

    /// Ends it as a crash would, without a word to the store.
    pub(crate) async fn abandon(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) fn redis_config(redis: &RedisServer) -> RedisConfig {
    RedisConfig::at(redis.url().parse().expect("an address"))
}

/// Waits until something holds.
pub(crate) async fn until<T>(what: &str, holds: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = holds().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long until: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
