//! Hands jobs to the store, many callers' in one call when many come at once.
//!
//! A request that finds a free slot goes at once and on its own, in its caller's task. One that finds none
//! joins the pending ones, and the next slot to come free takes all of those along in a single call. So a lone
//! job pays nothing, and a crowd shares its round trips; there is no timer.
//!
//! A store call is all or none, and so is a request, but a request must not fail for another one's mistake:
//! when a shared call is refused for one of its jobs, nothing of it was stored, and each request is sent again
//! on its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use hero_domain::{ApiError, NewJob};
use hero_store::{Created, Error, JobStore, Store};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{config::SubmitConfig, waiters::refused};

type Reply = Result<Vec<Created>, Error>;

/// Where jobs go: the store, or a stand-in that a test can hold up.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Stores and starts jobs, all or none.
    fn submit(&self, jobs: &[NewJob]) -> impl Future<Output = Reply> + Send;
}

impl Sink for Store {
    fn submit(&self, jobs: &[NewJob]) -> impl Future<Output = Reply> + Send {
        self.create(jobs, true)
    }
}

/// The way of all submitted jobs into the store.
pub(crate) struct Submissions<S: Sink>(Arc<Shared<S>>);

struct Shared<S: Sink> {
    sink: S,
    config: SubmitConfig,
    /// A slot may come free while a call is being dropped, where there is no task to ask for it.
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    pending: VecDeque<Request>,
}

struct Request {
    jobs: Vec<NewJob>,
    reply: oneshot::Sender<Reply>,
}

/// One of the calls that may be in flight. When it ends, however it ends, what is pending goes next.
struct Slot<S: Sink>(Arc<Shared<S>>);

enum Turn<S: Sink> {
    Now(Slot<S>, Vec<NewJob>),
    Later(oneshot::Receiver<Reply>),
}

impl<S: Sink> Submissions<S> {
    /// Needs a tokio runtime.
    pub(crate) fn new(sink: S, config: SubmitConfig) -> Self {
        Self(Arc::new(Shared { sink, config, runtime: Handle::current(), state: Mutex::default() }))
    }

    /// Stores and starts jobs, all or none. When the caller goes away first, jobs that are still pending are
    /// dropped with it.
    ///
    /// # Errors
    /// What the store refused (`index` counts in `jobs`), or TooManyRequests.
    pub(crate) async fn submit(&self, jobs: Vec<NewJob>) -> Result<Reply, ApiError> {
        match self.take_turn(jobs)? {
            Turn::Now(slot, jobs) => {
                let reply = self.0.sink.submit(&jobs).await;
                drop(slot);
                Ok(reply)
            }
            // The other end is dropped only with the runtime, at the very end of the process.
            Turn::Later(reply) => reply.await.map_err(ApiError::internal),
        }
    }

    fn take_turn(&self, jobs: Vec<NewJob>) -> Result<Turn<S>, ApiError> {
        let mut state = self.0.lock();
        if state.in_flight < self.0.config.max_in_flight {
            state.in_flight += 1;
            return Ok(Turn::Now(Slot(Arc::clone(&self.0)), jobs));
        }
        if state.pending.len() >= self.0.config.max_pending {
            drop(state);
            return Err(refused(format!("{} calls wait to be stored", self.0.config.max_pending)));
        }
        let (reply, later) = oneshot::channel();
        state.pending.push_back(Request { jobs, reply });
        Ok(Turn::Later(later))
    }
}

impl<S: Sink> Drop for Slot<S> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let batch = state.take_batch(&self.0.config);
        if batch.is_empty() {
            state.in_flight -= 1;
            return;
        }
        drop(state);
        let next = Self(Arc::clone(&self.0));
        self.0.runtime.spawn(async move { next.0.send(batch).await });
    }
}

impl State {
    /// The oldest pending requests that fit into one call, at least one; whose caller has gone is skipped.
    fn take_batch(&mut self, config: &SubmitConfig) -> Vec<Request> {
        let mut batch = Vec::new();
        let (mut jobs, mut bytes) = (0, 0);
        while let Some(request) = self.pending.front() {
            jobs += request.jobs.len();
            bytes += request.jobs.iter().map(|job| job.script.len()).sum::<usize>();
            let fits = jobs <= config.max_jobs && bytes <= config.max_bytes;
            if !fits && !batch.is_empty() {
                break;
            }
            batch.extend(self.pending.pop_front().filter(|request| !request.reply.is_closed()));
        }
        batch
    }
}

impl<S: Sink> Shared<S> {
    async fn send(&self, batch: Vec<Request>) {
        let mut jobs = Vec::with_capacity(batch.iter().map(|request| request.jobs.len()).sum());
        let mut replies = Vec::with_capacity(batch.len());
        for request in batch {
            replies.push((request.jobs.len(), request.reply));
            jobs.extend(request.jobs);
        }
        match self.sink.submit(&jobs).await {
            Ok(created) => {
                let mut created = created.into_iter();
                for (count, reply) in replies {
                    // Whoever has gone meanwhile does not want to know.
                    let _ = reply.send(Ok(created.by_ref().take(count).collect()));
                }
            }
            Err(Error::JobExists { .. } | Error::PrerequisiteNotFound { .. } | Error::ContextFull { .. })
                if replies.len() > 1 =>
            {
                self.send_one_by_one(&jobs, replies).await;
            }
            Err(error) => {
                for (_, reply) in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn send_one_by_one(&self, mut jobs: &[NewJob], replies: Vec<(usize, oneshot::Sender<Reply>)>) {
        let calls = replies.into_iter().map(|(count, reply)| {
            let (own, rest) = jobs.split_at(count);
            jobs = rest;
            async move {
                let _ = reply.send(self.sink.submit(own).await);
            }
        });
        join_all(calls.collect::<Vec<_>>()).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
