//! From the inbox of the daemon into the table of methods, and the answer back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hero_client::mycelium::{Daemon, Received};
use hero_domain::{ApiError, Reason};
use hero_proto::GrpcKeys;
use hero_runtime::{Condition, Shutdown};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    config::{BridgeConfig, PollingConfig},
    dispatch::{Dispatch, parse_error, refusal, refusal_to, too_large},
    memory::{Known, Memory, Ticket},
    peers::Peers,
    replies::{self, Reply},
    request,
    senders::{Full, Place, Senders},
    stats::Incoming,
};

/// The pause after the daemon or Redis did not answer.
const AWAY: Duration = Duration::from_millis(250);
/// How often late replies are cleared out of the inbox.
const STRAYS: Duration = Duration::from_secs(1);
/// How long a refused sender is asked to stay away.
const RETRY_AFTER_MS: u64 = 250;

/// All that a request meets.
pub(crate) struct Receiver {
    pub(crate) config: Arc<BridgeConfig>,
    pub(crate) daemon: Daemon,
    pub(crate) memory: Memory,
    pub(crate) dispatch: Dispatch,
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
    let mut strays = Instant::now();
    while !shutdown.is_draining() {
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { break };
        if strays.elapsed() > STRAYS {
            strays = Instant::now();
            clear_strays(&receiver.daemon).await;
        }
        let wait = match receiver.daemon.pop(&receiver.config.topic).await {
            Ok(Some(message)) => {
                pace.found();
                take(&receiver, message, permit);
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

/// Replies that came after nobody waited for them any more: the daemon keeps them for ever.
async fn clear_strays(daemon: &Daemon) {
    while let Ok(Some(_)) = daemon.pop("").await {
        Incoming::Stray.count();
    }
}

fn take(receiver: &Arc<Receiver>, message: Received, permit: OwnedSemaphorePermit) {
    let Received { id, from, payload } = message;
    let ticket = Ticket { from, id };
    let place = match receiver.senders.enter(&ticket.from, Instant::now()) {
        Ok(place) => place,
        Err(Full::Rate) => return Incoming::Dropped.count(),
        Err(Full::InFlight) => {
            Incoming::Refused.count();
            let words = "too many of your requests are worked on; wait for some to end, then repeat";
            let error = ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(RETRY_AFTER_MS);
            let id = payload.and_then(|payload| request::read(&payload, "").ok()).map(|it| it.id);
            let text = refusal_to(&id.unwrap_or_default(), &error);
            let daemon = receiver.daemon.clone();
            tokio::spawn(async move { replies::send(&daemon, &ticket, &text).await });
            return;
        }
    };
    let receiver = Arc::clone(receiver);
    tokio::spawn(async move {
        receiver.handle(&ticket, payload, place).await;
        drop(permit);
    });
}

impl Receiver {
    async fn handle(&self, ticket: &Ticket, payload: Option<Vec<u8>>, _place: Place) {
        let payload = payload.unwrap_or_default();
        let most = self.config.limits.max_request_bytes;
        if payload.len() > most {
            Incoming::Refused.count();
            let words = format!("the request has {} bytes; at most {most} are taken", payload.len());
            let refused = refusal(&ApiError::new(Reason::ResponseTooLarge, words));
            return self.reply(ticket, refused).await;
        }
        match self.note(ticket, &payload).await {
            Known::New => {
                Incoming::Taken.count();
                self.work(ticket, &payload).await;
            }
            Known::Asked(_) => Incoming::Running.count(),
            Known::Answered(answer) => {
                Incoming::Repeated.count();
                self.reply(ticket, answer).await;
            }
        }
    }

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
