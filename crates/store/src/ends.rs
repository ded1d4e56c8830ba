//! Waiting for the end of jobs: one subscription for all waits of a process.
//!
//! An end that was not heard of (the connection was lost, or an outside actor wrote the hash and told nobody) is
//! found by a look at the watched jobs every [`LOOK_EVERY`]. Nothing is subscribed to while nobody waits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hero_domain::{Job, JobId};
use hero_redis::{Subscription, pipe};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Result, Store, keys,
    record::{Record, status},
};

/// How often the watched jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the subscription is kept when nobody waits any more.
const REST_AFTER: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Jobs that one look looks at in one round trip.
const JOBS_A_LOOK: usize = 500;

/// The jobs whose end somebody waits for.
pub(crate) struct Ends {
    store: Store,
    watched: Mutex<HashMap<JobId, Watched>>,
    next_waiter: AtomicU64,
    interest: Notify,
}

struct Watched {
    waiters: Vec<(u64, oneshot::Sender<Option<Box<Job>>>)>,
    since: Instant,
    /// A look has found the job: when another one does not, it has been removed.
    was_seen: bool,
}

impl Ends {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, watched: Mutex::default(), next_waiter: AtomicU64::new(0), interest: Notify::new() }
    }

    /// Watches a job until the watch is dropped.
    pub(crate) fn watch(self: &Arc<Self>, id: JobId) -> Watch {
        let (sender, ended) = oneshot::channel();
        let waiter = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        let mut watched = self.watched.lock();
        let entry = watched.entry(id).or_insert_with(|| Watched {
            waiters: Vec::with_capacity(1),
            since: Instant::now(),
            was_seen: false,
        });
        entry.waiters.push((waiter, sender));
        drop(watched);
        self.interest.notify_one();
        Watch { id, waiter, ended: Some(ended), job: None, ends: Arc::clone(self) }
    }

    /// Listens while somebody waits, for ever.
    pub(crate) async fn listen(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            while self.watched.lock().is_empty() {
                self.interest.notified().await;
            }
            let over = match self.store.link().subscribe(keys::ENDED).await {
                Ok(mut ended) => {
                    pause = FIRST_PAUSE;
                    self.hear(&mut ended).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = over {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    pause_ms = pause.as_millis() as u64,
                    "the ends of jobs cannot be heard of, trying again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Wakes waits until there have been none for a while, or the connection is lost.
    async fn hear(&self, ended: &mut Subscription) -> Result<()> {
        // What ended before now was not heard of; all that ends later is.
        self.look_at(|_| true).await?;
        let mut wanted_at = Instant::now();
        let mut look = tokio::time::interval_at(wanted_at + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while wanted_at.elapsed() < REST_AFTER {
            tokio::select! {
                message = ended.next() => match message {
                    Some(ended) if self.wake_all(&ended) => wanted_at = Instant::now(),
                    Some(_) => {}
                    None => return ended.check().await.map_err(Into::into),
                },
                _ = look.tick() => {
                    if !self.watched.lock().is_empty() {
                        wanted_at = Instant::now();
                    }
                    ended.check().await?;
                    self.look_at(|watched| watched.since.elapsed() >= LOOK_EVERY).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes up an announcement: the ids of jobs that have ended, and the record of one that ended alone after a line
    /// feed. Whether somebody was woken.
    fn wake_all(&self, ended: &[u8]) -> bool {
        let mut parts = ended.splitn(2, |byte| *byte == b'\n');
        let ids = parts.next().and_then(|ids| str::from_utf8(ids).ok()).unwrap_or_default();
        let woken: Vec<(JobId, Watched)> = {
            let mut watched = self.watched.lock();
            let ids = ids.split(' ').filter_map(|id| id.parse().ok());
            ids.filter_map(|id| watched.remove_entry(&id)).collect()
        };
        let has_woken = !woken.is_empty();
        let record = parts.next();
        for (id, watched) in woken {
            wake(Some(watched), record.and_then(|record| job_of(id, record)).as_ref());
        }
        has_woken
    }

    /// Wakes those whose job has ended.
    async fn look_at(&self, is_due: impl Fn(&Watched) -> bool) -> Result<()> {
        let due: Vec<JobId> =
            self.watched.lock().iter().filter(|(_, it)| is_due(it)).map(|(id, _)| *id).collect();
        for ids in due.chunks(JOBS_A_LOOK) {
            let mut calls = pipe();
            for id in ids {
                calls.cmd("HMGET").arg(keys::job(*id)).arg("script_type").arg("status");
            }
            let found: Vec<[Option<String>; 2]> = self.store.link().call_all(&calls).await?;
            let mut watched = self.watched.lock();
            for (id, [script_type, status_text]) in ids.iter().zip(found) {
                let Some(entry) = watched.get_mut(id) else { continue };
                let is_there = script_type.is_some();
                let is_over =
                    if is_there { status(status_text.as_deref()).is_ended() } else { entry.was_seen };
                entry.was_seen |= is_there;
                if is_over {
                    wake(watched.remove(id), None);
                }
            }
        }
        Ok(())
    }
}

/// A wait for one job's end.
pub struct Watch {
    id: JobId,
    waiter: u64,
    /// None once it has ended.
    ended: Option<oneshot::Receiver<Option<Box<Job>>>>,
    job: Option<Box<Job>>,
    ends: Arc<Ends>,
}

impl Watch {
    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Waits for the end of the job: true once it has ended (or is gone), false when `longest` is over.
    pub async fn ended(&mut self, longest: Duration) -> bool {
        let Some(ended) = &mut self.ended else { return true };
        let Ok(told) = tokio::time::timeout(longest, ended).await else { return false };
        self.job = told.ok().flatten();
        self.ended = None;
        true
    }

    /// The job as it ended, when the announcement of the end has brought it: a small one that ended alone.
    pub fn take_job(&mut self) -> Option<Job> {
        self.job.take().map(|job| *job)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.ends.watched.lock();
        if let Some(entry) = watched.get_mut(&self.id) {
            entry.waiters.retain(|(waiter, _)| *waiter != self.waiter);
            if entry.waiters.is_empty() {
                watched.remove(&self.id);
            }
        }
    }
}

fn wake(watched: Option<Watched>, job: Option<&Job>) {
    for (_, waiter) in watched.into_iter().flat_map(|watched| watched.waiters) {
        // A watch that was dropped in between needs no waking.
        let _ = waiter.send(job.cloned().map(Box::new));
    }
}

/// The job in an announcement: a list of the names and values of its record. None where a look is due: it does not say
/// all, or nothing that can be read.
fn job_of(id: JobId, record: &[u8]) -> Option<Job> {
    let fields: Vec<String> = serde_json::from_slice(record).ok()?;
    let mut fields = fields.into_iter();
    let pairs = std::iter::from_fn(|| Some((fields.next()?, fields.next()?.into_bytes())));
    let record = Record::new(id, pairs.collect())?;
    let job = if record.has_dependents() { None } else { record.into_job(Vec::new()).ok() };
    job.filter(|job| job.status.is_ended())
}
