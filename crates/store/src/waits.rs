//! Waiting for the end of jobs: one reader of the events for all waits of a process.
//!
//! An event that was missed (the reader fell behind, or an outside actor wrote the hash and told nobody) is
//! found by a look at the watched jobs every [`LOOK_EVERY`]. The reader rests while nobody waits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hero_domain::{JobEvent, JobEventKind, JobId};
use hero_redis::{cmd, pipe};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{Result, Store, keys, record::status, work::Repeated};

/// How often the watched jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the reader goes on when nobody waits any more.
const REST_AFTER: Duration = Duration::from_secs(10);
/// How long a read of the events waits inside Redis.
const BLOCK_MS: u64 = 2_000;
/// Events that one read brings.
const EVENTS_A_READ: usize = 100;
/// Jobs that one look looks at in one round trip.
const JOBS_A_LOOK: usize = 500;
/// Events that a slow subscriber may fall behind.
const EVENTS_BUFFERED: usize = 1_024;

/// All waits of a process, fed by one reader of the events. Cheap to clone.
#[derive(Clone)]
pub struct Waits(Arc<Shared>);

struct Shared {
    store: Store,
    watched: Mutex<HashMap<JobId, Watched>>,
    next_waiter: AtomicU64,
    events: broadcast::Sender<JobEvent>,
    interest: Notify,
}

struct Watched {
    waiters: Vec<(u64, oneshot::Sender<()>)>,
    since: Instant,
    /// A look has found the job: when another one does not, it has been removed.
    was_seen: bool,
}

impl Waits {
    /// Starts the reader; it ends with the token.
    #[must_use]
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            store,
            watched: Mutex::default(),
            next_waiter: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            interest: Notify::new(),
        });
        let reading = shared.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(reading.read()).await;
        });
        Self(shared)
    }

    /// Watches a job. Call it before the job is dispatched; dropping the watch ends it.
    #[must_use]
    pub fn watch(&self, id: JobId) -> Watch {
        let (sender, ended) = oneshot::channel();
        let waiter = self.0.next_waiter.fetch_add(1, Ordering::Relaxed);
        let mut watched = self.0.watched.lock();
        let entry = watched.entry(id).or_insert_with(|| Watched {
            waiters: Vec::with_capacity(1),
            since: Instant::now(),
            was_seen: false,
        });
        entry.waiters.push((waiter, sender));
        drop(watched);
        self.0.interest.notify_one();
        Watch { id, waiter, ended: Some(ended), shared: self.0.clone() }
    }

    /// Every event from now on; a slow reader misses some, and is told how many.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        let events = self.0.events.subscribe();
        self.0.interest.notify_one();
        events
    }
}

/// A wait for one job's end.
pub struct Watch {
    id: JobId,
    waiter: u64,
    /// None once it has ended.
    ended: Option<oneshot::Receiver<()>>,
    shared: Arc<Shared>,
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
        if tokio::time::timeout(longest, ended).await.is_err() {
            return false;
        }
        self.ended = None;
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.shared.watched.lock();
        if let Some(entry) = watched.get_mut(&self.id) {
            entry.waiters.retain(|(waiter, _)| *waiter != self.waiter);
            if entry.waiters.is_empty() {
                watched.remove(&self.id);
            }
        }
    }
}

impl Shared {
    fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0 || !self.watched.lock().is_empty()
    }

    /// Reads events while somebody waits, and rests otherwise.
    async fn read(&self) {
        loop {
            while !self.is_wanted() {
                self.interest.notified().await;
            }
            let mut repeated = Repeated::new(self.store.link(), "read of the events");
            let Ok(mut place) = self.last_event().await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            // What ended before this place was known is found by a look; all that ends later is an event.
            let _ = self.look_at(|_| true).await;
            let (mut wanted_at, mut looked_at) = (Instant::now(), Instant::now());
            while wanted_at.elapsed() < REST_AFTER {
                let mut read = cmd("XREAD");
                read.arg("COUNT").arg(EVENTS_A_READ).arg("BLOCK").arg(BLOCK_MS);
                read.arg("STREAMS").arg(keys::EVENTS).arg(&place);
                match repeated.call::<Events>(&read).await {
                    Some(events) => self.announce_all(events, &mut place),
                    // Redis may have been restarted, with or without its memory.
                    None => break,
                }
                if self.is_wanted() {
                    wanted_at = Instant::now();
                }
                if looked_at.elapsed() >= LOOK_EVERY {
                    // A failed look is a failed read in a moment, and that one is said and repeated.
                    let _ = self.look_at(|watched| watched.since.elapsed() >= LOOK_EVERY).await;
                    looked_at = Instant::now();
                }
            }
        }
    }

    /// The place in the stream after which everything is news.
    async fn last_event(&self) -> Result<String> {
        let mut call = cmd("XREVRANGE");
        call.arg(keys::EVENTS).arg("+").arg("-").arg("COUNT").arg(1);
        let last: Vec<(String, Vec<String>)> = self.store.link().call(&call).await?;
        Ok(last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(place, _)| place))
    }

    fn announce_all(&self, events: Events, place: &mut String) {
        for (_, entries) in events.unwrap_or_default() {
            for (id, fields) in entries {
                *place = id;
                self.announce(place, &fields);
            }
        }
    }

    fn announce(&self, place: &str, fields: &[String]) {
        let [_, kind, _, ids] = fields else { return };
        let Some(kind) = JobEventKind::from_name(kind) else { return };
        let has_subscribers = self.events.receiver_count() > 0;
        if !has_subscribers && !kind.is_end() {
            return;
        }
        let jobs: Vec<JobId> = ids.split(' ').filter_map(|id| id.parse().ok()).collect();
        if kind.is_end() {
            let mut watched = self.watched.lock();
            for id in &jobs {
                wake(watched.remove(id));
            }
        }
        if has_subscribers {
            // Nobody may be left by now; that is no fault.
            let _ = self.events.send(JobEvent { id: place.to_owned(), kind, jobs });
        }
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
                    wake(watched.remove(id));
                }
            }
        }
        Ok(())
    }
}

/// What a read of the events brings: streams with their entries, or nothing.
type Events = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

fn wake(watched: Option<Watched>) {
    for (_, waiter) in watched.into_iter().flat_map(|watched| watched.waiters) {
        // A watch that was dropped in between needs no waking.
        let _ = waiter.send(());
    }
}
