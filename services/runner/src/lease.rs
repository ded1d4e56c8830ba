//! The runner's sign of life, and what it is told.
//!
//! It has a thread, a runtime and connections of its own, so that neither a script nor a busy runtime can delay
//! it: a runner that works hard must not look dead, and a job must be killed at once when it is told to be.

use std::{cell::Cell, thread, time::Duration};

use hero_redis::RedisConfig;
use hero_runtime::Condition;
use hero_store::{Control, ControlMessage, Error, JobStore, Session, Store};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{attempt::Order, backoff::Backoff, holdings::Holdings, lane::Mode, stall::Watch};

/// A lease is renewed so often within its length.
const RENEWALS_A_LEASE: u32 = 3;

/// What the keeper of a lease works with.
pub(crate) struct Keeper {
    pub(crate) redis: RedisConfig,
    pub(crate) session: Session,
    pub(crate) lease: Duration,
    pub(crate) holdings: Holdings,
    pub(crate) mode: watch::Sender<Mode>,
    /// Cancelled by whoever learns that the session is over.
    pub(crate) lost: CancellationToken,
    /// Whether the job store answers.
    pub(crate) condition: Condition,
}

impl Keeper {
    /// Keeps the lease until the token is cancelled, and watches the lanes. The receiver resolves when the thread has
    /// ended.
    pub(crate) fn start(
        self,
        watch: Watch,
        until: CancellationToken,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (ended, when_ended) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("lease".to_owned()).stack_size(1 << 20).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.keep(watch) => {}
                    () = until.cancelled() => {}
                }
            });
            drop(ended);
        })?;
        Ok(when_ended)
    }

    async fn keep(self, watch: Watch) {
        let store = match Store::connect(&self.redis) {
            Ok(store) => store,
            Err(error) => {
                // The same address has been used to sign in, so this is not expected.
                tracing::error!(%error, "the lease cannot be kept");
                return self.lost.cancel();
            }
        };
        let mut control = store.control(&self.session);
        let answers_since = Cell::new(None);
        tokio::select! {
            () = self.renew(&store, &answers_since) => {}
            () = self.listen(&mut control) => {}
            () = look(watch, &answers_since) => {}
        }
    }

    async fn renew(&self, store: &Store, answers_since: &Cell<Option<Instant>>) {
        let mut backoff = Backoff::default();
        let mut last = Instant::now();
        loop {
            let known = self.holdings.ids();
            let pause = match store
                .renew(&self.session, u32::try_from(known.len()).unwrap_or(u32::MAX), &known)
                .await
            {
                Ok(renewed) => {
                    last = Instant::now();
                    answers_since.set(answers_since.get().or(Some(last)));
                    backoff = Backoff::default();
                    self.condition.ready();
                    renewed.stop.into_iter().for_each(|id| self.stop(id));
                    self.drain(renewed.draining);
                    self.lease / RENEWALS_A_LEASE
                }
                Err(error @ Error::RunnerReplaced(_)) => {
                    tracing::error!(%error, "this runner's jobs are not its own any more");
                    return self.lost.cancel();
                }
                Err(error) => {
                    answers_since.set(None);
                    self.condition.unready(format!("the job store does not answer: {error}"));
                    let age_ms = last.elapsed().as_millis() as u64;
                    tracing::warn!(%error, age_ms, "the lease was not renewed, trying again");
                    backoff.next().min(self.lease / RENEWALS_A_LEASE)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn listen(&self, control: &mut Control) {
        loop {
            match control.next().await {
                ControlMessage::Stop(id) => self.stop(id),
                ControlMessage::Drain(draining) => self.drain(draining),
            }
        }
    }

    fn stop(&self, id: hero_domain::JobId) {
        tracing::debug!(job_id = %id, "told to stop a job");
        self.holdings.order(id, Order::Stop);
    }

    fn drain(&self, draining: bool) {
        let wanted = if draining { Mode::Rest } else { Mode::Serve };
        self.mode.send_if_modified(|mode| {
            let changes = *mode != Mode::End && *mode != wanted;
            if changes {
                tracing::info!(draining, "told whether to take new jobs");
                *mode = wanted;
            }
            changes
        });
    }
}

/// Watches the lanes, for as long as it is polled.
async fn look(mut watch: Watch, answers_since: &Cell<Option<Instant>>) {
    loop {
        tokio::time::sleep(watch.pause()).await;
        watch.look(answers_since.get());
    }
}
