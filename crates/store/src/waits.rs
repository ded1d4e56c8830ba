//! Waiting for the end of jobs, for events and for the news of logs: one reader of the events for all of a process.
//!
//! Ends come by a subscription of their own (`ends.rs`). The reader of the events rests while nobody wants them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hero_domain::{JobEvent, JobId};
use hero_redis::{cmd, pipe};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Result, Store,
    ends::{Ends, Watch},
    feeds::event,
    keys,
    work::Repeated,
};

/// How long the reader goes on when nobody waits any more.
const REST_AFTER: Duration = Duration::from_secs(10);
/// How long a read of the events waits inside Redis.
const BLOCK_MS: u64 = 2_000;
/// Events that one read brings.
const EVENTS_A_READ: usize = 100;
/// Events that a slow subscriber may fall behind.
const EVENTS_BUFFERED: usize = 1_024;

/// All waits of a process, fed by one reader of the events. Cheap to clone.
#[derive(Clone)]
pub struct Waits(Arc<Shared>);

struct Shared {
    store: Store,
    ends: Arc<Ends>,
    logs: Mutex<HashMap<JobId, watch::Sender<()>>>,
    events: broadcast::Sender<Arc<JobEvent>>,
    /// Whether the reader is at work: every event from now on comes to those who have asked for them.
    is_reading: watch::Sender<bool>,
    interest: Notify,
}

impl Waits {
    /// Starts the reader; it ends with the token.
    #[must_use]
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        let ends = Arc::new(Ends::new(store.clone()));
        let shared = Arc::new(Shared {
            store,
            ends: Arc::clone(&ends),
            logs: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            is_reading: watch::Sender::new(false),
            interest: Notify::new(),
        });
        let reading = shared.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(async { tokio::join!(reading.read(), ends.listen()) }).await;
        });
        Self(shared)
    }

    /// Watches a job. Call it before the job is dispatched; dropping the watch ends it.
    #[must_use]
    pub fn watch(&self, id: JobId) -> Watch {
        self.0.ends.watch(id)
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

/// How far the streams of events have been read.
#[derive(Clone)]
struct Places {
    jobs: String,
    logs: String,
}

impl Shared {
    fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0 || !self.logs.lock().is_empty()
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
        self.wake_logs();
        let mut wanted_at = Instant::now();
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
        if let Some(event) = event(id, fields).filter(|_| has_subscribers) {
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
}

/// What a read of the events brings: streams with their entries, or nothing.
type Events = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;
