//! The background work of a service, each piece with a name and a rule for its end.

use std::{any::Any, collections::HashMap, time::Duration};

use anyhow::{Context as _, anyhow};
use hero_telemetry::{Attributes, metrics, names};
use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::Instant,
};

use crate::Shutdown;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A task that ran this long before it failed starts over with the first backoff.
const STEADY: Duration = Duration::from_secs(60);

/// The tasks of one service. Dropping them stops them.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, set: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a task without which the service is no use: when it fails, panics, or ends before it was told to, the
    /// service ends with its error.
    pub fn essential<F>(&mut self, name: &'static str, task: F) -> AbortHandle
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.spawn(name, async move {
            task.await.with_context(|| format!("the task {name} failed"))?;
            if shutdown.is_draining() {
                Ok(())
            } else {
                Err(anyhow!("the task {name} ended before it was told to"))
            }
        })
    }

    /// Starts a task that is started again whenever it fails or panics, with a growing pause; that it ends without
    /// an error is its end.
    pub fn restartable<F, Fut>(&mut self, name: &'static str, mut start: F) -> AbortHandle
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.spawn(name, async move {
            let mut backoff = FIRST_BACKOFF;
            loop {
                let began = Instant::now();
                let mut attempt = JoinSet::new();
                attempt.spawn(start());
                let why = match attempt.join_next().await {
                    None | Some(Ok(Ok(()))) => return Ok(()),
                    Some(Ok(Err(error))) => format!("{error:#}"),
                    Some(Err(error)) => describe(error),
                };
                if shutdown.is_draining() {
                    return Ok(());
                }
                if began.elapsed() > STEADY {
                    backoff = FIRST_BACKOFF;
                }
                tracing::warn!(
                    task = name,
                    why,
                    pause_ms = backoff.as_millis() as u64,
                    "task failed, starting again"
                );
                metrics().task_restarts.add(1, &Attributes::new(&[(names::TASK, name)]));
                tokio::select! {
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(LONGEST_BACKOFF),
                    () = shutdown.draining() => return Ok(()),
                }
            }
        })
    }

    /// Waits until all tasks have ended. The first essential one that fails stops the others and is the error; after
    /// a shutdown, those that outlive the grace are cut off.
    ///
    /// # Errors
    /// The failure of an essential task.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let shutdown = self.shutdown.clone();
        loop {
            let ended = tokio::select! {
                ended = self.set.join_next_with_id() => ended,
                () = shutdown.grace_over() => {
                    self.cut_off();
                    return Ok(());
                }
            };
            match ended {
                None => return Ok(()),
                Some(Ok((id, outcome))) => {
                    self.names.remove(&id);
                    outcome?;
                }
                Some(Err(error)) => {
                    let name = self.names.remove(&error.id()).unwrap_or("?");
                    // Whoever aborted a task by its handle wanted its end.
                    if !error.is_cancelled() {
                        return Err(anyhow!("the task {name} failed: {}", describe(error)));
                    }
                }
            }
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
        handle
    }

    fn cut_off(&mut self) {
        let mut late: Vec<_> = self.names.values().copied().collect();
        late.sort_unstable();
        tracing::warn!(tasks = late.join(", "), "the grace is over, cutting off what is still running");
        self.set.abort_all();
    }
}

fn describe(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("it panicked: {}", panic_text(&*panic)),
        Err(error) => error.to_string(),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
