//! Feeds of jobs and logs: what is kept comes first, then what comes in, without a gap between the two.
//!
//! The receiver of the events is there before the past is read, and what has been read already is left out. Each
//! feed is a task that ends with its reader. Little waits for a reader: one that is slow gets what is kept in Redis,
//! and is told when that is gone; a log is read no faster than it is taken.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hero_domain::{
    ApiError, Caller, Feed, JobChange, JobDigest, JobEvent, JobFilter, JobId, LogNews, Reason, Result,
    Watched,
};
use hero_store::{JobStore as _, Store, Waits};
use parking_lot::Mutex;
use tokio::{
    sync::{
        OnceCell,
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{Access, confine};
use crate::waiters::{Waiter, Waiters};

/// Items that wait for a reader; more wait where they come from.
const READY: usize = 4;
/// Bytes of text in one piece of a log.
const LOG_PIECE_BYTES: usize = 64 << 10;
/// How often it is checked that the caller may still read, and that nothing was missed.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long the reader of the events may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// Events whose jobs are remembered for the feeds that come to them later.
const REMEMBERED: usize = 64;

/// What the jobs of an event are like: asked for once, however many feeds want to know.
#[derive(Default)]
pub(super) struct Digests(Mutex<VecDeque<(Arc<JobEvent>, Looked)>>);

type Looked = Arc<OnceCell<Vec<Option<JobDigest>>>>;

impl Digests {
    async fn of(&self, store: &Store, event: &Arc<JobEvent>) -> hero_store::Result<Looked> {
        let looked = {
            let mut known = self.0.lock();
            match known.iter().find(|(other, _)| other.id == event.id) {
                Some((_, looked)) => looked.clone(),
                None => {
                    known.truncate(REMEMBERED - 1);
                    let looked = Looked::default();
                    known.push_front((event.clone(), looked.clone()));
                    looked
                }
            }
        };
        looked.get_or_try_init(|| store.digests(&event.jobs)).await?;
        Ok(looked)
    }
}

/// The feeds of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feeds(Arc<Inner>);

struct Inner {
    store: Store,
    waits: Waits,
    waiters: Waiters,
    access: Access,
    digests: Digests,
    /// Ends every feed, when the process is told to stop.
    over: CancellationToken,
}

impl Feeds {
    pub(crate) fn new(
        store: Store,
        waits: Waits,
        waiters: Waiters,
        access: Access,
        over: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner { store, waits, waiters, access, digests: Digests::default(), over }))
    }

    /// What happens to jobs that the caller may see; none: to no job.
    pub(super) async fn watch(
        &self,
        caller: &Caller,
        watched: Option<Watched>,
        from: Option<String>,
    ) -> Result<Feed<JobChange>> {
        let from = from.as_deref().map(Place::parse).transpose()?;
        let waiter = self.0.waiters.enter()?;
        let events = self.0.waits.events();
        if !self.0.waits.reading(BEGIN_WITHIN).await {
            let words = "the job store does not answer; subscribe again in a moment";
            return Err(ApiError::new(Reason::StoreUnavailable, words).with_retry_after_ms(1_000));
        }
        let is_new = from.is_none();
        let place = match from {
            Some(place) => {
                self.0.store.check_kept(&place.event).await?;
                place
            }
            None => Place { event: self.0.store.last_event().await?, job: None },
        };
        if let Some(Watched::Job(id)) = watched {
            // Whether it is there, and the caller's.
            self.0.store.status(id, confine(caller)).await?;
        }
        let (sender, feed) = mpsc::channel(READY);
        let (feeds, caller) = (self.0.clone(), caller.clone());
        let watching = Watching { feeds, caller, watched, sender, place, seen_ended: false, _waiter: waiter };
        tokio::spawn(watching.run(events, is_new));
        Ok(Box::pin(ReceiverStream::new(feed)))
    }

    /// The log of a job.
    pub(super) async fn follow(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
    ) -> Result<Feed<LogNews>> {
        let waiter = self.0.waiters.enter()?;
        // A place that is none is refused now.
        let first = self.0.store.log_news(id, confine(caller), from.as_deref(), LOG_PIECE_BYTES).await?;
        let (sender, feed) = mpsc::channel(READY);
        let following =
            Following { feeds: self.0.clone(), caller: caller.clone(), id, sender, _waiter: waiter };
        tokio::spawn(following.run(from, first));
        Ok(Box::pin(ReceiverStream::new(feed)))
    }
}

/// Where a feed of changes is: after an event, or after this job of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    event: String,
    job: Option<usize>,
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let malformed = || {
            let words = "not the event_id of a change; begin again without it";
            ApiError::new(Reason::CursorUnknown, words).with_field("from")
        };
        let (event, job) = match text.split_once('.') {
            Some((event, job)) => (event, Some(job.parse().map_err(|_| malformed())?)),
            None => (text, None),
        };
        let is_number = |text: &str| text.parse::<u64>().is_ok() && text.bytes().all(|b| b.is_ascii_digit());
        let is_event = event.split_once('-').is_some_and(|(ms, seq)| is_number(ms) && is_number(seq));
        if is_event { Ok(Self { event: event.to_owned(), job }) } else { Err(malformed()) }
    }

    fn numbers(id: &str) -> (u64, u64) {
        let (ms, seq) = id.split_once('-').unwrap_or((id, "0"));
        (ms.parse().unwrap_or(0), seq.parse().unwrap_or(0))
    }

    /// The first job of an event that comes after this place; none: all of it has been.
    fn first_after(&self, event: &str) -> Option<usize> {
        match Self::numbers(event).cmp(&Self::numbers(&self.event)) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => self.job.map(|job| job + 1),
            std::cmp::Ordering::Greater => Some(0),
        }
    }
}

/// Why a feed is over: a failure that the reader is told, or nothing more to say.
type Over<T> = Result<T, Option<ApiError>>;

/// One feed of changes.
struct Watching {
    feeds: Arc<Inner>,
    caller: Caller,
    watched: Option<Watched>,
    sender: mpsc::Sender<Result<JobChange>>,
    place: Place,
    /// The job that is watched had ended at the last check.
    seen_ended: bool,
    _waiter: Waiter,
}

impl Watching {
    async fn run(mut self, events: broadcast::Receiver<Arc<JobEvent>>, is_new: bool) {
        let (sender, over) = (self.sender.clone(), self.feeds.over.clone());
        let ended = tokio::select! {
            ended = self.pass_all_on(events, is_new) => ended,
            () = sender.closed() => return,
            () = over.cancelled() => Err(Some(shutting_down())),
        };
        if let Err(Some(error)) = ended {
            // Whoever has gone meanwhile needs no words.
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn pass_all_on(
        &mut self,
        mut events: broadcast::Receiver<Arc<JobEvent>>,
        is_new: bool,
    ) -> Over<()> {
        if let (true, Some(Watched::Job(id))) = (is_new, &self.watched) {
            self.say_where_it_is(*id).await?;
        }
        self.catch_up().await?;
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            match tokio::time::timeout_at(check_at, events.recv()).await {
                Ok(Ok(event)) => self.pass_on(&event).await?,
                Ok(Err(RecvError::Lagged(_))) => self.make_good().await?,
                Ok(Err(RecvError::Closed)) => return Err(Some(shutting_down())),
                Err(_) => {}
            }
            if Instant::now() >= check_at {
                self.check().await?;
                check_at = Instant::now() + CHECK_EVERY;
            }
        }
    }

    /// More went by than waits for a feed: what is kept makes it good.
    async fn make_good(&mut self) -> Over<()> {
        match self.feeds.store.check_kept(&self.place.event).await {
            Ok(()) => self.catch_up().await,
            Err(hero_store::Error::EventGone(_)) => Err(Some(lagged())),
            Err(error) => Err(told(error)),
        }
    }

    /// Everything that is kept after the place where the feed is.
    async fn catch_up(&mut self) -> Over<()> {
        loop {
            let begin = self.place.event.clone();
            let (events, has_more) = self.feeds.store.events_from(&begin).await.map_err(told)?;
            for event in events {
                self.pass_on(&Arc::new(event)).await?;
            }
            if !has_more || self.place.event == begin {
                return Ok(());
            }
        }
    }

    async fn pass_on(&mut self, event: &Arc<JobEvent>) -> Over<()> {
        let Some(first) = self.place.first_after(&event.id) else { return Ok(()) };
        let store = &self.feeds.store;
        match &self.watched {
            None => {}
            Some(Watched::Job(id)) => {
                let index = event.jobs.iter().position(|job| job == id).filter(|index| *index >= first);
                if let Some(index) = index {
                    let digest = store.digests(&[*id]).await.map_err(told)?.pop().flatten();
                    self.send(change(event, index, digest)).await?;
                }
            }
            Some(Watched::Jobs(filter)) => {
                let looked = self.feeds.digests.of(store, event).await.map_err(told)?;
                for (index, digest) in looked.get().into_iter().flatten().enumerate().skip(first) {
                    let change = change(event, index, digest.clone());
                    if is_meant(&change, filter) {
                        self.send(change).await?;
                    }
                }
            }
        }
        self.place = Place { event: event.id.clone(), job: None };
        Ok(())
    }

    async fn send(&self, change: JobChange) -> Over<()> {
        let is_last = matches!(self.watched, Some(Watched::Job(_))) && change.is_last();
        self.sender.send(Ok(change)).await.map_err(|_| None)?;
        if is_last { Err(None) } else { Ok(()) }
    }

    async fn say_where_it_is(&self, id: JobId) -> Over<()> {
        let job = self.feeds.store.digests(&[id]).await.map_err(told)?.pop().flatten();
        self.send(JobChange { event_id: self.place.event.clone(), kind: None, job_id: id, job }).await
    }

    /// That the caller may still read; and that the job has not ended unannounced, as outside actors end jobs.
    async fn check(&mut self) -> Over<()> {
        self.feeds.access.enter(&self.caller).await.map_err(Some)?;
        let Some(Watched::Job(id)) = self.watched else { return Ok(()) };
        let job = self.feeds.store.digests(&[id]).await.map_err(told)?.pop().flatten();
        if job.is_some_and(|job| !job.status.is_ended()) {
            self.seen_ended = false;
        } else if std::mem::replace(&mut self.seen_ended, true) {
            self.say_where_it_is(id).await?;
        }
        Ok(())
    }
}

/// What an event did to one of its jobs. The status follows from the event; the rest was read a moment later.
fn change(event: &JobEvent, index: usize, digest: Option<JobDigest>) -> JobChange {
    let job = digest.zip(event.kind.status()).map(|(job, status)| JobDigest { status, ..job });
    JobChange {
        event_id: format!("{}.{index}", event.id),
        kind: Some(event.kind),
        job_id: event.jobs[index],
        job,
    }
}

fn is_meant(change: &JobChange, filter: &JobFilter) -> bool {
    match &change.job {
        Some(job) => job.fits(filter),
        // Of a job that is gone nobody knows whose it was.
        None => *filter == JobFilter { limit: filter.limit, ..JobFilter::default() },
    }
}

fn lagged() -> ApiError {
    let words = "more happened while this subscriber was busy than is kept, so the subscription is over; subscribe \
                 again, with a narrower filter, or read faster";
    ApiError::new(Reason::SubscriptionLagged, words)
}

/// One feed of a log.
struct Following {
    feeds: Arc<Inner>,
    caller: Caller,
    id: JobId,
    sender: mpsc::Sender<Result<LogNews>>,
    _waiter: Waiter,
}

impl Following {
    async fn run(self, from: Option<String>, first: Option<LogNews>) {
        let ended = tokio::select! {
            ended = self.pass_all_on(from, first) => ended,
            () = self.sender.closed() => return,
            () = self.feeds.over.cancelled() => Err(Some(shutting_down())),
        };
        if let Err(Some(error)) = ended {
            let _ = self.sender.send(Err(error)).await;
        }
    }

    async fn pass_all_on(&self, mut place: Option<String>, first: Option<LogNews>) -> Over<()> {
        let Inner { store, waits, access, .. } = &*self.feeds;
        let mut log = waits.watch_log(self.id);
        let mut end = waits.watch(self.id);
        // What is written after this is announced, and what was written before is read below.
        store.announce_log(self.id).await.map_err(told)?;
        let mut check_at = Instant::now() + CHECK_EVERY;
        let mut news = first;
        loop {
            if let Some(news) = news.take() {
                place.clone_from(&news.place);
                self.send(news).await?;
            }
            let read = store.log_news(self.id, confine(&self.caller), place.as_deref(), LOG_PIECE_BYTES);
            news = read.await.map_err(told)?;
            if Instant::now() >= check_at {
                access.enter(&self.caller).await.map_err(Some)?;
                check_at = Instant::now() + CHECK_EVERY;
            }
            if news.is_some() {
                continue;
            }
            let rest = check_at.saturating_duration_since(Instant::now());
            let has_ended = tokio::select! {
                () = log.news(rest) => false,
                has_ended = end.ended(rest) => has_ended,
            };
            if has_ended {
                // Its lines come before its end; and somebody may have started it again.
                end = waits.watch(self.id);
            }
        }
    }

    async fn send(&self, news: LogNews) -> Over<()> {
        let is_last = news.ended.is_some();
        self.sender.send(Ok(news)).await.map_err(|_| None)?;
        if is_last { Err(None) } else { Ok(()) }
    }
}

fn told(error: hero_store::Error) -> Option<ApiError> {
    Some(error.into())
}

fn shutting_down() -> ApiError {
    let words = "this server is shutting down; subscribe again from the last event";
    ApiError::new(Reason::ShuttingDown, words).with_retry_after_ms(100)
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_after_an_event_or_after_a_job_of_it() {
        let whole = Place::parse("17-3").unwrap();
        assert_eq!((whole.first_after("17-2"), whole.first_after("17-3")), (None, None));
        assert_eq!((whole.first_after("17-4"), whole.first_after("18-0")), (Some(0), Some(0)));
        let part = Place::parse("17-3.5").unwrap();
        assert_eq!((part.first_after("17-3"), part.first_after("17-10")), (Some(6), Some(0)));
        for text in ["", "17", "17-", "-3", "a-b", "17-3.", "17-3.x", "17-3.-1", "+17-3"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
