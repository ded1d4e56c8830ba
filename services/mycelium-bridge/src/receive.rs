//! From the inbox of the daemon into the table of methods, and the answer back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hero_client::{
    Error,
    mycelium::{Daemon, Received},
};
use hero_domain::{ApiError, Reason};
use hero_proto::GrpcKeys;
use hero_runtime::{Condition, Shutdown};
use jsonrpsee::types::error::OVERSIZED_RESPONSE_CODE;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    config::{BridgeConfig, PollingConfig},
    dispatch::{Dispatch, parse_error, refusal_to, request_too_large, too_large},
    memory::{Known, Memory, Ticket},
    peers::Peers,
    replies::{self, Reply},
    request,
    senders::{Full, Senders},
    stats::Incoming,
};

/// The pause after the daemon or Redis did not answer.
const AWAY: Duration = Duration::from_millis(250);
/// How long a refused sender is asked to stay away.
const RETRY_AFTER_MS: u64 = 250;

/// All that a request meets.
pub(crate) struct Receiver {
    pub(crate) config: Arc<BridgeConfig>,
    pub(crate) daemon: Daemon,
    pub(crate) memory: Memory,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) peers: Peers<GrpcKeys>,
    pub(crate) senders: Senders,
    pub(crate) replies: mpsc::UnboundedSender<Reply>,
    pub(crate) redis: Condition,
}

/// How long to wait before the next look.
struct Pace {
    config: PollingConfig,
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    fn new(config: PollingConfig) -> Self {
        Self { config, last: None, pause: Duration::from_millis(config.busy_ms) }
    }

    fn found(&mut self) {
        self.last = Some(Instant::now());
        self.pause = Duration::from_millis(self.config.busy_ms);
    }

    fn next(&mut self) -> Duration {
        let quiet = self.last.map_or(Duration::MAX, |last| last.elapsed());
        if quiet < Duration::from_millis(self.config.eager_ms) {
            return Duration::ZERO;
        }
        let pause = self.pause;
        if quiet >= Duration::from_millis(self.config.alert_ms) {
            self.pause = (self.pause * 2).min(Duration::from_millis(self.config.idle_ms));
        }
        pause
    }
}

/// Takes messages until the drain, and lets those in flight finish.
///
/// A message is taken away from the daemon only after it was noted in Redis: a bridge that is killed in between finds it
/// in both at the next start, and knows it.
pub(crate) async fn run(
    receiver: Arc<Receiver>,
    bell: Arc<Notify>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let most = receiver.config.limits.max_in_flight;
    let in_flight = Arc::new(Semaphore::new(most));
    tokio::select! {
        () = recover(&receiver, &in_flight) => {}
        () = shutdown.draining() => return Ok(()),
    }
    let mut pace = Pace::new(receiver.config.polling);
    let mut head = None;
    while !shutdown.is_draining() {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { break };
        let found = match head.take() {
            Some(message) => Ok(Some(message)),
            None => receiver.peek().await,
        };
        let wait = match found {
            Ok(Some(message)) => {
                pace.found();
                head = receiver.take_away(message, permit).await;
                continue;
            }
            Ok(None) => pace.next(),
            Err(error) => {
                tracing::debug!(%error, "the daemon does not hand out messages");
                AWAY
            }
        };
        drop(permit);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = bell.notified() => pace.found(),
            () = shutdown.draining() => break,
        }
    }
    // What is not finished within the grace is taken up at the next start.
    let _ = in_flight.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
    Ok(())
}

impl Receiver {
    /// The oldest message. One that nobody can look at is thrown away: it would hold up all others.
    async fn peek(&self) -> Result<Option<Received>, Error> {
        let topic = &self.config.topic;
        match self.daemon.peek(topic).await {
            Err(error) if is_unreadable(&error) => {
                Incoming::Refused.count();
                tracing::warn!(%error, "a message that cannot be read was thrown away");
                let _thrown_away = self.daemon.pop(topic).await;
                Err(error)
            }
            found => found,
        }
    }

    /// Notes a message, has it worked on, and takes it out of the inbox; what stands behind it there.
    async fn take_away(
        self: &Arc<Self>,
        message: Received,
        permit: OwnedSemaphorePermit,
    ) -> Option<Received> {
        let id = message.id.clone();
        self.take(message, Some(permit)).await;
        let popped = self.daemon.pop_and_peek(&self.config.topic).await;
        let (popped, head) = popped.unwrap_or_else(|error| {
            // It is looked at again, and known.
            tracing::debug!(%error, id, "a message was not taken away");
            (None, None)
        });
        // Another process takes messages of the topic too: what was taken away for it has to be worked on here.
        if let Some(other) = popped.filter(|popped| popped.id != id) {
            tracing::warn!(topic = self.config.topic, "another process takes messages of this topic too");
            self.take(other, None).await;
        }
        head
    }

    async fn take(self: &Arc<Self>, message: Received, permit: Option<OwnedSemaphorePermit>) {
        let Received { id, from, payload, .. } = message;
        let ticket = Ticket { from, id };
        let place = match self.senders.enter(&ticket.from, Instant::now()) {
            Ok(place) => place,
            Err(Full::Rate) => return Incoming::Dropped.count(),
            Err(Full::InFlight) => return self.refuse(ticket, payload),
        };
        let payload = payload.unwrap_or_default();
        let most = self.config.limits.max_request_bytes;
        let known = if payload.len() > most { None } else { Some(self.note(&ticket, &payload).await) };
        let receiver = Arc::clone(self);
        tokio::spawn(async move {
            match known {
                None => {
                    Incoming::Refused.count();
                    receiver.reply(&ticket, request_too_large(payload.len(), most)).await;
                }
                Some(known) => receiver.handle(&ticket, &payload, known).await,
            }
            drop((place, permit));
        });
    }

    /// Answers a sender that has too many requests worked on already.
    fn refuse(&self, ticket: Ticket, payload: Option<Vec<u8>>) {
        Incoming::Refused.count();
        let words = "too many of your requests are worked on; wait for some to end, then repeat";
        let error = ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(RETRY_AFTER_MS);
        let id = payload.and_then(|payload| request::read(&payload, "").ok()).map(|it| it.id);
        let text = refusal_to(&id.unwrap_or_default(), &error);
        let daemon = self.daemon.clone();
        tokio::spawn(async move { replies::send(&daemon, &ticket, &text).await });
    }

    async fn handle(&self, ticket: &Ticket, payload: &[u8], known: Known) {
        match known {
            Known::New => {
                Incoming::Taken.count();
                self.work(ticket, payload).await;
            }
            Known::Asked(_) => Incoming::Running.count(),
            Known::Answered(answer) => {
                Incoming::Repeated.count();
                self.reply(ticket, answer).await;
            }
        }
    }
}

/// Whether there is a message that can never be handed out: it is too large for an answer of the daemon.
fn is_unreadable(error: &Error) -> bool {
    error.call().is_some_and(|error| error.code == OVERSIZED_RESPONSE_CODE)
}

impl Receiver {
    /// Notes a request. While Redis is away it waits here, and the messages behind it in the daemon.
    async fn note(&self, ticket: &Ticket, payload: &[u8]) -> Known {
        loop {
            match self.memory.note(ticket, payload).await {
                Ok(known) => {
                    self.redis.ready();
                    return known;
                }
                Err(error) => {
                    self.redis.unready(error.to_string());
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    async fn work(&self, ticket: &Ticket, payload: &[u8]) {
        let answer = self.answer(ticket, payload).await;
        while let Err(error) = self.memory.answer(ticket, &answer).await {
            self.redis.unready(error.to_string());
            tokio::time::sleep(AWAY).await;
        }
        self.reply(ticket, answer).await;
    }

    async fn answer(&self, ticket: &Ticket, payload: &[u8]) -> Vec<u8> {
        let request = match request::read(payload, &format!("mycelium:{}", ticket.name())) {
            Ok(request) => request,
            Err(why) => return parse_error(&why),
        };
        let caller = self.peers.caller(&ticket.from, request.secret.as_deref(), request.circle).await;
        let answer = match caller {
            Ok(caller) => self.dispatch.answer(caller, request.body).await,
            Err(error) => refusal_to(&request.id, &error),
        };
        let most = self.config.limits.max_response_bytes;
        if answer.len() > most { too_large(&request.id, answer.len(), most) } else { answer }
    }

    async fn reply(&self, ticket: &Ticket, answer: Vec<u8>) {
        if answer.is_empty() {
            // A notification: nothing is wanted. Were this not noted, it would be looked at again at the next start.
            let _ = self.memory.finish(std::slice::from_ref(ticket)).await;
            return;
        }
        let is_sent = replies::send(&self.daemon, ticket, &answer).await;
        // It fails when the process ends; the answer is in Redis.
        let _ = self.replies.send(Reply { ticket: ticket.clone(), text: answer.into(), is_sent });
    }
}

/// Takes up what a bridge before this one has left.
async fn recover(receiver: &Arc<Receiver>, in_flight: &Arc<Semaphore>) {
    let left = loop {
        match receiver.memory.unfinished().await {
            Ok(left) => break left,
            Err(error) => receiver.redis.unready(error.to_string()),
        }
        tokio::time::sleep(AWAY).await;
    };
    receiver.redis.ready();
    if !left.is_empty() {
        tracing::info!(requests = left.len(), "taking up what was left unfinished");
    }
    for (ticket, known) in left {
        Incoming::Recovered.count();
        match known {
            Known::New => {
                // It has expired meanwhile.
                let _ = receiver.memory.finish(&[ticket]).await;
            }
            Known::Answered(answer) => receiver.reply(&ticket, answer).await,
            Known::Asked(payload) => {
                let Ok(permit) = Arc::clone(in_flight).acquire_owned().await else { return };
                let receiver = Arc::clone(receiver);
                tokio::spawn(async move {
                    receiver.resume(&ticket, &payload).await;
                    drop(permit);
                });
            }
        }
    }
}

impl Receiver {
    /// A request that was begun, nobody knows how far.
    async fn resume(&self, ticket: &Ticket, payload: &[u8]) {
        let request = request::read(payload, "");
        if request.as_ref().is_ok_and(|request| !request.is_safe) {
            let words = "the bridge was restarted while this ran, and it may not run twice; whether it took \
                         effect has to be looked up";
            let id = request.map(|request| request.id).unwrap_or_default();
            let answer = refusal_to(&id, &ApiError::new(Reason::DeadlineExceeded, words));
            let _ = self.memory.answer(ticket, &answer).await;
            return self.reply(ticket, answer).await;
        }
        self.work(ticket, payload).await;
    }
}
