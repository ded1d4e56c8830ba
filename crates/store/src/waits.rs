//! Waiting for the end of jobs, and for events: one subscription and one reader for all of a process.
//!
//! The reader of the events rests while nobody wants them.

use std::{sync::Arc, time::Duration};

use hero_domain::{JobEvent, JobEventKind, JobId};
use hero_redis::cmd;
use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Result, Store,
    ends::{Ends, Watch},
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

/// All waits of a process. Cheap to clone.
#[derive(Clone)]
pub struct Waits(Arc<Shared>);

struct Shared {
    store: Store,
    ends: Arc<Ends>,
    events: broadcast::Sender<JobEvent>,
    interest: Notify,
}

impl Waits {
    /// Starts what feeds them; it ends with the token.
    #[must_use]
    pub fn start(store: Store, shutdown: CancellationToken) -> Self {
        let ends = Arc::new(Ends::new(store.clone()));
        let shared = Arc::new(Shared {
            store,
            ends: Arc::clone(&ends),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
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
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        let events = self.0.events.subscribe();
        self.0.interest.notify_one();
        events
    }
}

impl Shared {
    fn is_wanted(&self) -> bool {
        self.events.receiver_count() > 0
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
            let mut wanted_at = Instant::now();
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
        let jobs: Vec<JobId> = ids.split(' ').filter_map(|id| id.parse().ok()).collect();
        // Nobody may be left by now; that is no fault.
        let _ = self.events.send(JobEvent { id: place.to_owned(), kind, jobs });
    }
}

/// What a read of the events brings: streams with their entries, or nothing.
type Events = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;
