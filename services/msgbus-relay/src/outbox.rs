//! What is on its way to other twins. Each twin has a lane of its own with a bound on what runs at once, so one
//! that hangs takes nothing from the others.
//!
//! Redis has the truth (what is to be sent, and when again); a lane only orders what this process does about it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use hero_telemetry::{Attributes, metrics, names, spans};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use tracing::Instrument as _;

use crate::{
    keys,
    ledger::{Attempts, Delivery, Held, Kind, Memory, Next, Parcel, now_ms},
    message::Message,
    relay::{Relay, Shared, expiration_s, now_s},
    stats::{self, Event},
    twins::Unknown,
};

/// Messages of a lane whose text is kept in memory; those behind them are read again when their turn comes.
const KEPT: usize = 64;
/// Bytes of a text that is kept.
const KEPT_BYTES: usize = 256 << 10;

/// How long a letter that has been sent waits for others, to be settled with them in one call.
const SETTLED_TOGETHER: Duration = Duration::from_millis(5);

/// What is being sent, by destination.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    lanes: HashMap<i64, Lane>,
    /// Everything that is in a lane or being sent; whether another reply of the same id has come meanwhile.
    owned: HashMap<(Kind, String), bool>,
    /// What has been sent and is still to be settled.
    sent: Vec<(i64, Letter)>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Letter>,
    running: usize,
}

struct Letter {
    kind: Kind,
    id: String,
    record: Option<Arc<Message>>,
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
}

impl Outbox {
    /// Whether nothing is being sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.lock().owned.is_empty()
    }

    /// Puts a letter into its lane; true: the lane may run one more.
    fn put(&self, dst: i64, kind: Kind, id: &str, record: Option<Arc<Message>>, most: usize) -> bool {
        let mut state = self.0.lock();
        match state.owned.entry((kind, id.to_owned())) {
            Entry::Vacant(free) => {
                free.insert(false);
            }
            Entry::Occupied(mut owned) => {
                *owned.get_mut() = kind == Kind::Reply;
                return false;
            }
        }
        state.add(dst, Letter { kind, id: id.to_owned(), record }, most)
    }

    /// The next letter of a lane; none: its worker has ended.
    fn next(&self, dst: i64) -> Option<Letter> {
        let mut state = self.0.lock();
        let lane = state.lanes.get_mut(&dst)?;
        if let Some(letter) = lane.waiting.pop_front() {
            return Some(letter);
        }
        lane.running -= 1;
        if lane.running == 0 {
            state.lanes.remove(&dst);
        }
        None
    }

    /// A letter of a lane is to be settled; true: it is the first of those that are settled together.
    fn sent(&self, dst: i64, letter: Letter) -> bool {
        let sent = &mut self.0.lock().sent;
        sent.push((dst, letter));
        sent.len() == 1
    }

    fn take_sent(&self) -> Vec<(i64, Letter)> {
        std::mem::take(&mut self.0.lock().sent)
    }

    /// A letter of a lane has been seen to. Another reply of its id may have been taken in after that, and before this:
    /// it is looked for, or it would lie there until its lease is over; true: the lane may run one more.
    fn done(&self, dst: i64, letter: Letter, most: usize) -> bool {
        let mut state = self.0.lock();
        match state.owned.entry((letter.kind, letter.id.clone())) {
            Entry::Occupied(mut owned) if *owned.get() => {
                *owned.get_mut() = false;
                state.add(dst, Letter { record: None, ..letter }, most)
            }
            Entry::Occupied(owned) => {
                owned.remove();
                false
            }
            Entry::Vacant(_) => false,
        }
    }
}

impl State {
    fn add(&mut self, dst: i64, letter: Letter, most: usize) -> bool {
        let lane = self.lanes.entry(dst).or_default();
        let is_kept = |it: &Arc<Message>| lane.waiting.len() < KEPT && it.dat.len() <= KEPT_BYTES;
        let record = letter.record.filter(is_kept);
        lane.waiting.push_back(Letter { record, ..letter });
        let may_run = lane.running < most;
        lane.running += usize::from(may_run);
        may_run
    }
}

/// Sends a message when its lane has a place.
pub(crate) fn dispatch(relay: &Shared, dst: i64, kind: Kind, id: &str, record: Option<Arc<Message>>) {
    if relay.outbox.put(dst, kind, id, record, relay.config.send.max_in_flight) {
        tokio::spawn(work(Arc::clone(relay), dst));
    }
}

fn done(relay: &Shared, dst: i64, letter: Letter) {
    if relay.outbox.done(dst, letter, relay.config.send.max_in_flight) {
        tokio::spawn(work(Arc::clone(relay), dst));
    }
}

async fn work(relay: Shared, dst: i64) {
    let label = Attributes::new(&[(names::DESTINATION, &dst.to_string())]);
    while let Some(letter) = relay.outbox.next(dst) {
        // What has not begun when the relay stops goes on at its next start.
        if relay.shutdown.is_requested() {
            done(&relay, dst, letter);
            continue;
        }
        metrics().bus_in_flight.add(1, &label);
        let is_sent = relay.send(dst, &letter).await;
        metrics().bus_in_flight.add(-1, &label);
        if !is_sent {
            done(&relay, dst, letter);
        } else if relay.outbox.sent(dst, letter) {
            tokio::spawn(settle(Arc::clone(&relay)));
        }
    }
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
    /// Sends a letter, or sees to it that it is sent again; true: nothing more of it is to be sent.
    async fn send(&self, dst: i64, letter: &Letter) -> bool {
        let Letter { kind, id, record } = letter;
        let (kind, id) = (*kind, id.as_str());
        let record = match record {
            Some(record) => Some(Arc::clone(record)),
            None => self.insist("record", || self.ledger.record(kind, id)).await.flatten().map(Arc::new),
        };
        let is_over = |record: &Message| kind == Kind::Request && has_expired(record);
        let Some(record) = record.filter(|record| !is_over(record)) else {
            // It has its answer, or is about to get a timeout.
            return true;
        };
        let trace = stats::trace_of(kind, self.me, id, &record);
        let span = spans::bus("send", &record.cmd, id, &trace);
        match self.attempt(dst, kind, id, &record).instrument(span).await {
            Ok(()) => {
                stats::count(if kind == Kind::Request { Event::Sent } else { Event::Replied });
                true
            }
            Err(failure) => {
                self.failed(kind, id, &record, failure).await;
                false
            }
        }
    }

    /// One attempt to deliver: addressed, dated and signed anew.
    async fn attempt(&self, dst: i64, kind: Kind, id: &str, record: &Message) -> Result<(), Failure> {
        let mut message = record.clone();
        if kind == Kind::Request {
            message.uid = id.to_owned();
            message.src = self.me;
            message.dst = vec![dst];
            message.ret = keys::REPLY.to_owned();
        }
        message.now = now_s();
        self.key.sign(&mut message);
        if kind == Kind::Request && dst == self.me {
            return self.deliver_here(&message).await;
        }
        let twin = self.twins.get(dst).await.map_err(|unknown| match unknown {
            Unknown::Missing => Failure::last(unknown.to_string()),
            Unknown::Away(_) => Failure::passing(unknown.to_string()),
        })?;
        let url = twin.url(if kind == Kind::Request { "/zbus-remote" } else { "/zbus-reply" });
        match self.client.post(&url, message.to_json(), self.config.send.timeout()).await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, body)) => {
                let words = format!("failed to send remote: {} ({})", status_line(status), reason_of(&body));
                let passing =
                    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
                let is_final = status.is_client_error() && !passing.contains(&status);
                // It may be another's relay by now, or know another key of ours.
                self.twins.doubt(dst);
                Err(Failure { words, is_final })
            }
            Err(words) => {
                self.twins.doubt(dst);
                Err(Failure::passing(words))
            }
        }
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
    use super::{Kind, Outbox};

    #[test]
    fn a_second_reply_that_comes_while_the_first_is_on_its_way_is_seen_to_after_it() {
        for (kind, is_seen_to) in [(Kind::Reply, true), (Kind::Request, false)] {
            let outbox = Outbox::default();
            assert!(outbox.put(2, kind, "2.1", None, 4));
            let first = outbox.next(2).unwrap();
            assert!(!outbox.put(2, kind, "2.1", None, 4));
            // Its lane has come to an end before it is settled.
            assert!(outbox.sent(2, first) && outbox.next(2).is_none() && !outbox.is_idle());
            for (dst, letter) in outbox.take_sent() {
                assert_eq!(outbox.done(dst, letter, 4), is_seen_to);
            }
            if is_seen_to {
                let again = outbox.next(2).unwrap();
                assert!(again.record.is_none(), "it is read anew");
                assert!(!outbox.done(2, again, 4));
            }
            assert!(outbox.next(2).is_none() && outbox.is_idle());
        }
    }
}
