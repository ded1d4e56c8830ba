//! Waiting for the end of jobs, for events and for the news of logs: one reader of the events for all of a process.
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
    sync::{Notify, broadcast, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{Result, Store, feeds::event, keys, record::status, work::Repeated};

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
    logs: Mutex<HashMap<JobId, watch::Sender<()>>>,
    next_waiter: AtomicU64,
    events: broadcast::Sender<Arc<JobEvent>>,
    /// Whether the reader is at work: every event from now on comes to those who have asked for them.
    is_reading: watch::Sender<bool>,
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
            logs: Mutex::default(),
            next_waiter: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            is_reading: watch::Sender::new(false),
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
    pub fn events(&self) -> broadcast::Receiver<Arc<JobEvent>> {
        let events = self.0.events.subscribe();
        self.0.interest.notify_one();
        events
    }

    /// Waits until the reader is at work, at most so long: what is announced from then on comes to every receiver
    /// of [`Waits::events`] that was there before the call. Whether it is.
    pub async fn reading(&self, longest: Duration) -> bool {
        let mut is_reading = self.0.is_reading.subscribe();
        let reading = is_reading.wait_for(|is_reading| *is_reading);
        matches!(tokio::time::timeout(longest, reading).await, Ok(Ok(_)))
    }

    /// Watches the log of a job that has its news announced ([`Store::announce_log`]).
    #[must_use]
    pub fn watch_log(&self, id: JobId) -> LogWatch {
        let news = self.0.logs.lock().entry(id).or_default().subscribe();
        self.0.interest.notify_one();
        LogWatch { id, news: Some(news), shared: self.0.clone() }
    }
}

/// A wait for what comes into a job's log.
pub struct LogWatch {
    id: JobId,
    /// None while it is being dropped.
    news: Option<watch::Receiver<()>>,
    shared: Arc<Shared>,
}

impl LogWatch {
    /// Waits until something has come in since the last call, or since the watch began; at most so long, for an
    /// announcement may be missed.
    pub async fn news(&mut self, longest: Duration) {
        let Some(news) = &mut self.news else { return };
        let _ = tokio::time::timeout(longest, news.changed()).await;
    }
}

impl Drop for LogWatch {
    fn drop(&mut self) {
        let mut logs = self.shared.logs.lock();
        self.news = None;
        if logs.get(&self.id).is_some_and(|log| log.receiver_count() == 0) {
            logs.remove(&self.id);
        }
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

/// How far the streams of events have been read.
#[derive(Clone)]
struct Places {
    jobs: String,
    logs: String,
}

impl Shared {
    fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0 || !self.watched.lock().is_empty() || !self.logs.lock().is_empty()
    }

    /// Reads events while somebody waits, and rests otherwise.
    async fn read(&self) {
        let mut places = None;
        loop {
            while !self.is_wanted() {
                places = None;
                self.interest.notified().await;
            }
            let begin = match places.take() {
                // Whoever asked for events gets those that came while Redis was away, too.
                Some(places) => Ok(places),
                None => self.last_places().await,
            };
            let Ok(mut reached) = begin else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            self.is_reading.send_replace(true);
            self.read_on(&mut reached).await;
            // First this, then the look at who waits: whoever has seen a reader at work is seen now.
            self.is_reading.send_replace(false);
            places = Some(reached);
        }
    }

    /// Reads until nobody waits any more, or Redis is away.
    async fn read_on(&self, places: &mut Places) {
        let mut repeated = Repeated::new(self.store.link(), "read of the events");
        // What ended before this place was known is found by a look; all that ends later is an event.
        let _ = self.look_at(|_| true).await;
        self.wake_logs();
        let (mut wanted_at, mut looked_at) = (Instant::now(), Instant::now());
        while wanted_at.elapsed() < REST_AFTER {
            let mut read = cmd("XREAD");
            read.arg("COUNT").arg(EVENTS_A_READ).arg("BLOCK").arg(BLOCK_MS);
            read.arg("STREAMS").arg(keys::EVENTS).arg(keys::LOG_EVENTS).arg(&places.jobs).arg(&places.logs);
            match repeated.call::<Events>(&read).await {
                Some(events) => self.announce_all(events, places),
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

    /// The places in the streams after which everything is news.
    async fn last_places(&self) -> Result<Places> {
        let mut calls = pipe();
        for stream in [keys::EVENTS, keys::LOG_EVENTS] {
            calls.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let last: [Vec<(String, Vec<String>)>; 2] = self.store.link().call_all(&calls).await?;
        let [jobs, logs] =
            last.map(|last| last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(place, _)| place));
        Ok(Places { jobs, logs })
    }

    fn announce_all(&self, events: Events, places: &mut Places) {
        for (stream, entries) in events.unwrap_or_default() {
            for (id, fields) in entries {
                if stream == keys::LOG_EVENTS {
                    places.logs = id;
                    self.announce_log(&fields);
                } else {
                    places.jobs.clone_from(&id);
                    self.announce(id, &fields);
                }
            }
        }
    }

    fn announce(&self, id: String, fields: &[String]) {
        let has_subscribers = self.events.receiver_count() > 0;
        let is_end =
            fields.get(1).and_then(|kind| JobEventKind::from_name(kind)).is_some_and(JobEventKind::is_end);
        if !has_subscribers && !is_end {
            return;
        }
        let Some(event) = event(id, fields) else { return };
        if is_end {
            let mut watched = self.watched.lock();
            for id in &event.jobs {
                wake(watched.remove(id));
            }
        }
        if has_subscribers {
            // Nobody may be left by now; that is no fault.
            let _ = self.events.send(Arc::new(event));
        }
    }

    fn announce_log(&self, fields: &[String]) {
        let [_, id] = fields else { return };
        let Ok(id) = id.parse() else { return };
        if let Some(log) = self.logs.lock().get(&id) {
            log.send_replace(());
        }
    }

    fn wake_logs(&self) {
        for log in self.logs.lock().values() {
            log.send_replace(());
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
