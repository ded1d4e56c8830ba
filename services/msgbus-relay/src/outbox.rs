//! What is on its way to other twins. Each twin has lanes of its own with a bound on what runs at once, so one
//! that hangs takes nothing from the others.
//!
//! Redis has the truth (what is to be sent, and when again); a lane only orders what this process does about it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use hero_telemetry::{Attributes, metrics, names, spans};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use tracing::Instrument as _;

use crate::{
    batch::{self, Outcome},
    keys,
    ledger::{Attempts, Delivery, Held, Kind, Memory, Next, Parcel, now_ms},
    message::Message,
    relay::{Relay, Shared, expiration_s, now_s},
    stats::{self, Event},
    twins::{Twin, Unknown},
};

/// Bytes of a lane's payloads that are kept in memory; the messages behind them are read again when their turn comes.
const KEPT_BYTES: usize = 4 << 20;

/// Short messages wait for the delivery before them for no longer than this: to a twin that is far away they go side by
/// side.
const YOUNG: Duration = Duration::from_millis(20);

/// So many that wait make a second delivery begin beside a young one: while the twin looks at the one, the other is made.
const CROWD: usize = 3;

/// How long a letter that has been sent waits for others, to be settled with them in one call.
const SETTLED_TOGETHER: Duration = Duration::from_millis(5);

/// What is being sent, by destination.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    lanes: HashMap<Place, Lane>,
    /// Everything that is in a lane or being sent; whether another reply of the same id has come meanwhile.
    owned: HashMap<(Kind, String), bool>,
    /// What has been sent and is still to be settled.
    sent: Vec<(i64, Letter)>,
}

/// Which lane: what is in it can go together, if it is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    dst: i64,
    kind: Kind,
    is_short: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Letter>,
    /// Bytes of the payloads in memory.
    kept: usize,
    running: usize,
    /// Of those that run, the ones whose delivery has begun less than [`YOUNG`] ago or is about to.
    young: usize,
}

struct Letter {
    kind: Kind,
    id: String,
    record: Option<Arc<Message>>,
}

/// What a lane may do.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Deliveries at a time.
    most: usize,
    /// Messages that the destination takes in one delivery.
    batch: usize,
}

/// Why a delivery failed.
struct Failure {
    words: String,
    /// Another attempt would fail too.
    is_final: bool,
}

impl Failure {
    fn passing(words: impl Into<String>) -> Self {
        Self { words: words.into(), is_final: false }
    }

    fn last(words: impl Into<String>) -> Self {
        Self { words: words.into(), is_final: true }
    }

    /// What another relay has answered.
    fn refused(status: StatusCode, reason: &str) -> Self {
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        let words = format!("failed to send remote: {} ({reason})", status_line(status));
        Self { words, is_final: status.is_client_error() && !passing.contains(&status) }
    }
}

impl Letter {
    /// Its payload in memory.
    fn kept(&self) -> usize {
        self.record.as_ref().map_or(0, |it| it.dat.len())
    }

    fn place(&self, dst: i64) -> Place {
        let is_short = self.record.as_ref().is_some_and(|it| batch::is_short(it));
        Place { dst, kind: self.kind, is_short }
    }
}

impl Outbox {
    /// Whether nothing is being sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().owned.is_empty()
    }

    /// Puts a letter into its lane; the lane, if it may run one more.
    fn put(&self, dst: i64, letter: Letter, bounds: Bounds) -> Option<Place> {
        let mut state = self.0.lock();
        match state.owned.entry((letter.kind, letter.id.clone())) {
            Entry::Vacant(free) => {
                free.insert(false);
            }
            Entry::Occupied(mut owned) => {
                *owned.get_mut() = letter.kind == Kind::Reply;
                return None;
            }
        }
        state.add(dst, letter, bounds)
    }

    /// The next letters of a lane, as many as go together; none: its worker has ended.
    fn next(&self, place: Place, batch: usize) -> Vec<Letter> {
        let mut state = self.0.lock();
        let Some(lane) = state.lanes.get_mut(&place) else { return Vec::new() };
        let together = if place.is_short { batch.min(lane.waiting.len()) } else { 1 };
        let letters: Vec<Letter> = lane.waiting.drain(..together.min(lane.waiting.len())).collect();
        lane.kept -= letters.iter().map(Letter::kept).sum::<usize>();
        if letters.is_empty() {
            lane.running -= 1;
            lane.young -= 1;
            if lane.running == 0 {
                state.lanes.remove(&place);
            }
        }
        letters
    }

    /// A delivery of a lane takes long; true: the lane may run one more, for those that have waited for it.
    fn is_late(&self, place: Place, most: usize) -> bool {
        let mut state = self.0.lock();
        let Some(lane) = state.lanes.get_mut(&place) else { return false };
        lane.young -= 1;
        let may_run = lane.young == 0 && !lane.waiting.is_empty() && lane.running < most;
        lane.running += usize::from(may_run);
        lane.young += usize::from(may_run);
        may_run
    }

    /// One that was late has come back and goes on.
    fn is_back(&self, place: Place) {
        if let Some(lane) = self.0.lock().lanes.get_mut(&place) {
            lane.young += 1;
        }
    }

    /// A letter is to be settled; true: it is the first of those that are settled together.
    fn sent(&self, dst: i64, letter: Letter) -> bool {
        let sent = &mut self.0.lock().sent;
        sent.push((dst, letter));
        sent.len() == 1
    }

    fn take_sent(&self) -> Vec<(i64, Letter)> {
        std::mem::take(&mut self.0.lock().sent)
    }

    /// A letter has been seen to. Another reply of its id may have been taken in after that, and before this: it is
    /// looked for, or it would lie there until its lease is over; its lane, if that may run one more.
    fn done(&self, dst: i64, letter: Letter, bounds: Bounds) -> Option<Place> {
        let mut state = self.0.lock();
        match state.owned.entry((letter.kind, letter.id.clone())) {
            Entry::Occupied(mut owned) if *owned.get() => {
                *owned.get_mut() = false;
                state.add(dst, Letter { record: None, ..letter }, bounds)
            }
            Entry::Occupied(owned) => {
                owned.remove();
                None
            }
            Entry::Vacant(_) => None,
        }
    }
}

impl State {
    fn add(&mut self, dst: i64, mut letter: Letter, bounds: Bounds) -> Option<Place> {
        let place = letter.place(dst);
        let lane = self.lanes.entry(place).or_default();
        if lane.kept + letter.kept() > KEPT_BYTES {
            letter.record = None;
        }
        lane.kept += letter.kept();
        lane.waiting.push_back(letter);
        // The next delivery takes along what comes while others are on their way.
        let together = match lane.young {
            0 => 0,
            1 => CROWD.min(bounds.batch),
            _ => bounds.batch,
        };
        let goes_along = place.is_short && lane.waiting.len() < together;
        let may_run = lane.running < bounds.most && !goes_along;
        lane.running += usize::from(may_run);
        lane.young += usize::from(may_run);
        may_run.then_some(place)
    }
}

/// Sends a message when its lane has a place.
pub(crate) fn dispatch(relay: &Shared, dst: i64, kind: Kind, id: &str, record: Option<Arc<Message>>) {
    let letter = Letter { kind, id: id.to_owned(), record };
    if let Some(place) = relay.outbox.put(dst, letter, relay.bounds(dst)) {
        start(relay, place);
    }
}

fn start(relay: &Shared, place: Place) {
    tokio::spawn(work(Arc::clone(relay), place));
}

fn done(relay: &Shared, dst: i64, letter: Letter) {
    if let Some(place) = relay.outbox.done(dst, letter, relay.bounds(dst)) {
        start(relay, place);
    }
}

async fn work(relay: Shared, place: Place) {
    let dst = place.dst;
    let label = Attributes::new(&[(names::DESTINATION, &dst.to_string())]);
    loop {
        let mut letters = relay.outbox.next(place, relay.twins.batch(dst));
        let count = letters.len();
        if count == 0 {
            return;
        }
        // What has not begun when the relay stops goes on at its next start.
        if relay.shutdown.is_requested() {
            letters.into_iter().for_each(|letter| done(&relay, dst, letter));
            continue;
        }
        metrics().bus_in_flight.add(count as i64, &label);
        let sending = async {
            match &mut letters[..] {
                [Letter { kind, id, record }] => vec![relay.send(dst, *kind, id, record.take()).await],
                _ => relay.send_together(place, &letters).await,
            }
        };
        let are_sent = in_time(&relay, place, sending).await;
        metrics().bus_in_flight.add(-(count as i64), &label);
        for (letter, is_sent) in letters.into_iter().zip(are_sent) {
            if !is_sent {
                done(&relay, dst, letter);
            } else if relay.outbox.sent(dst, letter) {
                tokio::spawn(settle(Arc::clone(&relay)));
            }
        }
    }
}

/// Waits for a delivery, and lets others begin when it takes long.
async fn in_time<T>(relay: &Shared, place: Place, sending: impl Future<Output = T>) -> T {
    tokio::pin!(sending);
    if let Ok(sent) = tokio::time::timeout(YOUNG, &mut sending).await {
        return sent;
    }
    if relay.outbox.is_late(place, relay.config.send.max_in_flight) {
        start(relay, place);
    }
    let sent = sending.await;
    relay.outbox.is_back(place);
    sent
}

/// Notes in Redis that there is nothing more to be sent of these. Killed before that, they are sent once more, and their
/// destination knows them.
async fn settle(relay: Shared) {
    tokio::time::sleep(SETTLED_TOGETHER).await;
    let sent = relay.outbox.take_sent();
    for kind in [Kind::Request, Kind::Reply] {
        let ids: Vec<&str> =
            sent.iter().filter(|(_, it)| it.kind == kind).map(|(_, it)| it.id.as_str()).collect();
        if !ids.is_empty() {
            relay.insist("settle", || relay.ledger.settle(kind, &ids)).await;
        }
    }
    for (dst, letter) in sent {
        done(&relay, dst, letter);
    }
}

impl Relay {
    /// Sends a message, or sees to it that it is sent again; true: nothing more of it is to be sent.
    async fn send(&self, dst: i64, kind: Kind, id: &str, record: Option<Arc<Message>>) -> bool {
        let record = match record {
            Some(record) => Some(record),
            None => self.insist("record", || self.ledger.record(kind, id)).await.flatten().map(Arc::new),
        };
        let is_over = |record: &Message| kind == Kind::Request && has_expired(record);
        let Some(record) = record.filter(|record| !is_over(record)) else {
            // It has its answer, or is about to get a timeout.
            return true;
        };
        let span = self.span(kind, id, &record);
        // Its payload may be large, and goes out as it is.
        let message = self.signed(dst, kind, id, Arc::unwrap_or_clone(record));
        let Err(failure) = self.attempt(dst, kind, message).instrument(span).await else {
            return sent(kind);
        };
        match self.insist("record", || self.ledger.record(kind, id)).await {
            Some(Some(record)) => self.failed(kind, id, &record, failure).await,
            // It has its answer all the same.
            Some(None) => return true,
            // Redis was away until the end: it goes on at the next start.
            None => {}
        }
        false
    }

    /// Sends short letters in one delivery, to a relay that takes several; which of them need no more.
    async fn send_together(&self, place: Place, letters: &[Letter]) -> Vec<bool> {
        let Place { dst, kind, .. } = place;
        // One without a record is read by [`Self::send`], one that is over is settled by it.
        let is_ready = |it: &Message| kind == Kind::Reply || !has_expired(it);
        let ready = |it: &Letter| it.record.clone().filter(|record| is_ready(record));
        let records: Vec<Option<Arc<Message>>> = letters.iter().map(ready).collect();
        let going = || letters.iter().zip(&records).filter_map(|(it, record)| Some((it, record.as_ref()?)));
        let spans: Vec<_> = going().map(|(it, record)| self.span(kind, &it.id, record)).collect();
        let bodies: Vec<String> = going()
            .map(|(it, record)| self.signed(dst, kind, &it.id, Message::clone(record)).to_json())
            .collect();
        let outcomes = match self.deliver_together(dst, kind, &bodies).await {
            Ok(outcomes) => outcomes,
            // It takes them one by one.
            Err(None) => {
                let alone = letters.iter().map(|it| self.send(dst, kind, &it.id, it.record.clone()));
                return join_all(alone).await;
            }
            Err(Some(words)) => bodies.iter().map(|_| Err(Failure::passing(&words))).collect(),
        };
        drop(spans);
        let mut outcomes = outcomes.into_iter();
        let each = letters.iter().zip(&records).map(|(it, record)| {
            let outcome = record.as_ref().and_then(|_| outcomes.next());
            async move {
                match (record, outcome) {
                    (Some(record), Some(outcome)) => self.ended(kind, &it.id, record, outcome).await,
                    _ => self.send(dst, kind, &it.id, it.record.clone()).await,
                }
            }
        });
        join_all(each).await
    }

    /// One delivery of several messages: what became of each; or why nothing is known of any, in words, unless they are
    /// to be sent one by one.
    async fn deliver_together(
        &self,
        dst: i64,
        kind: Kind,
        bodies: &[String],
    ) -> Result<Vec<Result<(), Failure>>, Option<String>> {
        let twin = self.twins.get(dst).await.map_err(|_| None)?;
        let url = twin.url(batch::path(kind));
        let posted = self.client.post(&url, batch::body(bodies), self.config.send.timeout()).await;
        let answer = posted.map_err(|words| {
            self.twins.doubt(dst);
            Some(words)
        })?;
        let outcomes = Some(&answer).filter(|it| it.status().is_success());
        let outcomes = outcomes.and_then(|it| batch::outcomes(it.body(), bodies.len()));
        let Some(outcomes) = outcomes else {
            // It is another relay than the one that offered this.
            self.twins.takes(dst, 0);
            return Err(None);
        };
        let one = |outcome: Outcome| match outcome.refusal() {
            None => Ok(()),
            Some((status, words)) => {
                self.twins.doubt(dst);
                Err(Failure::refused(status, words))
            }
        };
        Ok(outcomes.into_iter().map(one).collect())
    }

    fn span(&self, kind: Kind, id: &str, record: &Message) -> tracing::Span {
        spans::bus("send", &record.cmd, id, || stats::trace_of(kind, self.me, id, record))
    }

    /// An attempt has ended; true: nothing more of it is to be sent.
    async fn ended(&self, kind: Kind, id: &str, record: &Message, outcome: Result<(), Failure>) -> bool {
        let Err(failure) = outcome else { return sent(kind) };
        self.failed(kind, id, record, failure).await;
        false
    }

    fn bounds(&self, dst: i64) -> Bounds {
        Bounds { most: self.config.send.max_in_flight, batch: self.twins.batch(dst) }
    }

    /// A message as it goes out: addressed, dated and signed anew.
    fn signed(&self, dst: i64, kind: Kind, id: &str, mut message: Message) -> Message {
        if kind == Kind::Request {
            message.uid = id.to_owned();
            message.src = self.me;
            message.dst = vec![dst];
            message.ret = keys::REPLY.to_owned();
        }
        message.now = now_s();
        self.key.sign(&mut message);
        message
    }

    /// One attempt to deliver.
    async fn attempt(&self, dst: i64, kind: Kind, message: Message) -> Result<(), Failure> {
        if kind == Kind::Request && dst == self.me {
            return self.deliver_here(&message).await;
        }
        let twin = self.twins.get(dst).await.map_err(|unknown| match unknown {
            Unknown::Missing => Failure::last(unknown.to_string()),
            Unknown::Away(_) => Failure::passing(unknown.to_string()),
        })?;
        let sent = self.post(&twin, kind, message.to_json()).await;
        if sent.is_err() {
            // It may be another's relay by now, or know another key of ours.
            self.twins.doubt(dst);
        }
        sent
    }

    async fn post(&self, twin: &Twin, kind: Kind, message: String) -> Result<(), Failure> {
        let url = twin.url(if kind == Kind::Request { "/zbus-remote" } else { "/zbus-reply" });
        let answer: Response<Bytes> =
            self.client.post(&url, message, self.config.send.timeout()).await.map_err(Failure::passing)?;
        if !answer.status().is_success() {
            return Err(Failure::refused(answer.status(), &reason_of(answer.body())));
        }
        self.twins.takes(twin.id.into(), batch::offered(answer.headers()));
        Ok(())
    }

    /// A request to this very twin.
    async fn deliver_here(&self, message: &Message) -> Result<(), Failure> {
        if !self.config.allows(&message.cmd, self.me) {
            return Err(Failure::last(format!("twin {} may not use this command", self.me)));
        }
        let memory = Memory {
            of: format!("{}.{}", message.src, message.uid),
            what: "",
            seconds: self.config.accept.memory_s,
        };
        let text = message.to_json();
        let parcel = Parcel {
            cmd: &message.cmd,
            message: &text,
            memory: Some(memory),
            proxy: None,
            max_queued: self.config.accept.max_queued,
            newest_first: self.config.accept.newest_first,
        };
        match self.ledger.deliver(Held::default(), &parcel).await {
            Ok(Delivery::Done | Delivery::Repeated(_)) => Ok(()),
            Ok(Delivery::Full) => Err(Failure::passing("the queue of the command is full")),
            Err(error) => Err(Failure::passing(format!("couldn't queue message for processing: {error}"))),
        }
    }

    async fn failed(&self, kind: Kind, id: &str, record: &Message, failure: Failure) {
        let next = if failure.is_final {
            Some(Next::Last)
        } else {
            let attempts = self.attempts(kind, record);
            self.insist("retry", || self.ledger.retry(kind, id, attempts)).await
        };
        match next {
            // Redis was away until the end: it goes on at the next start.
            None | Some(Next::Over) => {}
            Some(Next::After(pause)) => {
                stats::count(Event::Retried);
                tracing::debug!(
                    id,
                    why = failure.words,
                    pause_ms = pause.as_millis() as u64,
                    "sent again later"
                );
            }
            Some(Next::Last) if kind == Kind::Request => {
                self.fail(id, record, format!("all retries done: {}", failure.words), Event::Failed).await;
            }
            Some(Next::Last) => {
                let item = record.to_json();
                self.bury(Held::default(), keys::REPLY, failure.words, item.as_bytes(), id).await;
            }
        }
    }

    /// A request is tried as often as it says; a reply, whose asker waits, until the request's time is over.
    fn attempts(&self, kind: Kind, record: &Message) -> Attempts {
        let send = &self.config.send;
        let (more, until_ms) = match kind {
            Kind::Request => (record.retries, i64::MAX),
            Kind::Reply => (i64::MAX, (record.now + expiration_s(record)) * 1_000),
        };
        let first_pause = Duration::from_millis(send.first_pause_ms);
        Attempts { more, first_pause, longest_pause: Duration::from_millis(send.longest_pause_ms), until_ms }
    }
}

/// Counts one that was sent: nothing more of it is to be.
fn sent(kind: Kind) -> bool {
    stats::count(if kind == Kind::Request { Event::Sent } else { Event::Replied });
    true
}

fn has_expired(record: &Message) -> bool {
    (record.now + expiration_s(record)) * 1_000 < now_ms()
}

/// `400 Bad Request`.
fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default())
}

/// The message of an error's body; both cases of its name are known.
fn reason_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "message", rename = "Message")]
        message: String,
    }
    const LONGEST: usize = 500;
    let words = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    words.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Bounds, KEPT_BYTES, Kind, Letter, Outbox};
    use crate::message::Message;

    #[test]
    fn a_second_reply_that_comes_while_the_first_is_on_its_way_is_seen_to_after_it() {
        for (kind, is_seen_to) in [(Kind::Reply, true), (Kind::Request, false)] {
            let outbox = Outbox::default();
            let bounds = Bounds { most: 4, batch: 1 };
            let letter = || Letter { kind, id: "2.1".into(), record: None };
            let place = outbox.put(2, letter(), bounds).unwrap();
            let first = outbox.next(place, 1).pop().unwrap();
            assert!(outbox.put(2, letter(), bounds).is_none());
            // Its lane has come to an end before it is settled.
            assert!(outbox.sent(2, first) && outbox.next(place, 1).is_empty() && !outbox.is_idle());
            for (dst, letter) in outbox.take_sent() {
                assert_eq!(outbox.done(dst, letter, bounds), is_seen_to.then_some(place));
            }
            if is_seen_to {
                let again = outbox.next(place, 1).pop().unwrap();
                assert!(again.record.is_none(), "it is read anew");
                assert!(outbox.done(2, again, bounds).is_none());
            }
            assert!(outbox.next(place, 1).is_empty() && outbox.is_idle());
        }
    }

    #[test]
    fn short_letters_go_along_and_long_ones_alone() {
        let outbox = Outbox::default();
        let letter = |id: usize, bytes: usize| {
            let record = Some(Arc::new(Message { dat: "x".repeat(bytes), ..Message::default() }));
            Letter { kind: Kind::Request, id: id.to_string(), record }
        };
        // One that takes one at a time has as many deliveries as it may.
        let alone = Bounds { most: 2, batch: 1 };
        let places: Vec<_> = (0..3).map(|id| outbox.put(1, letter(id, 9), alone)).collect();
        assert!(places[1].is_some() && places[1] == places[0] && places[2].is_none());
        assert_eq!(outbox.next(places[0].unwrap(), 1).len(), 1);
        // One that takes several has one, and a second when so many wait.
        let bounds = Bounds { most: 2, batch: 4 };
        let places: Vec<_> = (10..16).map(|id| outbox.put(2, letter(id, 9), bounds)).collect();
        let runs: Vec<bool> = places.iter().map(Option::is_some).collect();
        assert_eq!(runs, [true, false, true, false, false, false]);
        let short = places[0].unwrap();
        // A long one waits for none of them.
        let long = outbox.put(2, letter(20, 5_000), bounds).unwrap();
        assert!(long != short && outbox.next(long, 4).len() == 1);
        let counts = [4, 4, 4].map(|batch| outbox.next(short, batch).len());
        assert_eq!(counts, [4, 2, 0]);
    }

    #[test]
    fn short_letters_do_not_wait_for_a_delivery_that_takes_long() {
        let (outbox, bounds) = (Outbox::default(), Bounds { most: 2, batch: 4 });
        let letter = |id: usize| {
            let record = Some(Arc::new(Message::default()));
            Letter { kind: Kind::Request, id: id.to_string(), record }
        };
        let place = outbox.put(1, letter(1), bounds).unwrap();
        assert_eq!(outbox.next(place, 4).len(), 1);
        // Nobody waits yet when it takes long, so whoever comes then may begin.
        assert!(!outbox.is_late(place, bounds.most));
        assert!(outbox.put(1, letter(2), bounds).is_some());
        assert_eq!(outbox.next(place, 4).len(), 1);
        assert!(outbox.put(1, letter(3), bounds).is_none());
        // There are two deliveries already, and more there may not be.
        assert!(!outbox.is_late(place, bounds.most));
        outbox.is_back(place);
        assert_eq!(outbox.next(place, 4).len(), 1);
        // One that waits begins when the one before it is late.
        outbox.is_back(place);
        assert!(outbox.next(place, 4).is_empty());
        assert!(outbox.put(1, letter(4), bounds).is_none());
        assert!(outbox.is_late(place, bounds.most) && outbox.next(place, 4).len() == 1);
        // Whatever was late or not, the lane ends with those that run in it.
        outbox.is_back(place);
        assert!(outbox.next(place, 4).is_empty() && outbox.next(place, 4).is_empty());
        assert!(outbox.0.lock().lanes.is_empty());
    }

    #[test]
    fn a_lane_keeps_so_many_bytes_in_memory() {
        let outbox = Outbox::default();
        let bounds = Bounds { most: 1, batch: 1 };
        let record = Arc::new(Message { dat: "x".repeat(KEPT_BYTES / 2), ..Message::default() });
        let letter =
            |id: usize| Letter { kind: Kind::Reply, id: id.to_string(), record: Some(Arc::clone(&record)) };
        let place = outbox.put(1, letter(0), bounds).unwrap();
        outbox.put(1, letter(1), bounds);
        outbox.put(1, letter(2), bounds);
        let kept = [(); 3].map(|()| outbox.next(place, 1)[0].record.is_some());
        assert_eq!(kept, [true, true, false]);
    }
}
