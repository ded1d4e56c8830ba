//! What the parts of the relay share, and what they all do: answer a request, put an item away, wait for Redis.

use std::{sync::Arc, time::Duration};

use hero_domain::{ApiError, Reason};
use hero_redis::{Error, Result};
use hero_runtime::Shutdown;

use crate::{
    client::Client,
    config::RelayConfig,
    key::Key,
    keys,
    ledger::{DeadLetter, Held, Ledger, is_passing, now_ms},
    message::Message,
    outbox::Outbox,
    rates::Rates,
    rpc::Rpc,
    stats::{self, Event},
    twins::Twins,
    waiters::Waiters,
};

/// Seconds until a request expires that does not say.
const DEFAULT_EXPIRATION_S: i64 = 3_600;
/// The longest that a request is kept, whatever it says.
const LONGEST_EXPIRATION_S: i64 = 30 * 86_400;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A running relay.
pub(crate) struct Relay {
    pub(crate) config: RelayConfig,
    /// This twin.
    pub(crate) me: i64,
    pub(crate) key: Key,
    pub(crate) ledger: Ledger,
    pub(crate) twins: Twins,
    pub(crate) client: Client,
    pub(crate) outbox: Outbox,
    pub(crate) waiters: Waiters,
    pub(crate) rates: Rates,
    pub(crate) rpc: Rpc,
    pub(crate) shutdown: Shutdown,
}

impl Relay {
    /// Gives a request its answer, unless it has one. Whether it had none.
    pub(crate) async fn answer(
        &self,
        held: Held<'_>,
        uid: &str,
        answer: &Message,
        event: Event,
    ) -> Result<bool> {
        // One that got its reply was sent, and whoever sent it notes that.
        let ends_sending = event != Event::Answered;
        let taken = self.ledger.take(held, uid, answer, ends_sending).await?;
        if let Some(taken) = &taken {
            stats::count(event);
            stats::answered_after(now_ms() - taken.accepted_ms);
            self.waiters.wake(&taken.ret);
        }
        Ok(taken.is_some())
    }

    /// Answers a request with an error in place of its twin.
    pub(crate) async fn fail(&self, uid: &str, record: &Message, why: String, event: Event) {
        tracing::debug!(uid, why, "a request has failed");
        let answer = Message { uid: uid.to_owned(), now: now_s(), err: why, ..record.clone() };
        let answer = &answer;
        self.insist("answer", || self.answer(Held::default(), uid, answer, event)).await;
    }

    /// Puts away an item that nothing can be done with.
    pub(crate) async fn bury(&self, held: Held<'_>, queue: &str, why: String, item: &[u8], reply: &str) {
        tracing::warn!(queue, why, "a message was put away; the dead letters have it");
        let letter = &DeadLetter::new(queue, why, item);
        self.insist("bury", || self.ledger.bury(held, letter, reply)).await;
        stats::count(Event::Dead);
    }

    /// Does something on Redis until it is done; gives up at the end of the grace, or when a repeat makes no sense.
    pub(crate) async fn insist<T, F>(&self, what: &'static str, mut act: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match act().await {
                Ok(done) => return Some(done),
                Err(error) if is_passing(&error) => {
                    tracing::debug!(what, error = %error, "Redis is away, trying again");
                }
                Err(error) => {
                    tracing::error!(
                        what,
                        error = format!("{:#}", anyhow::Error::new(error)),
                        "Redis refused"
                    );
                    return None;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.shutdown.grace_over() => return None,
            }
        }
    }
}

/// When a request expires that was accepted now, ms. One that asks for a time before now has expired.
pub(crate) fn expires_ms(message: &Message) -> i64 {
    now_ms() + expiration_s(message) * 1_000
}

/// How long it may take, in seconds.
pub(crate) fn expiration_s(message: &Message) -> i64 {
    match message.exp {
        0 => DEFAULT_EXPIRATION_S,
        seconds => seconds.clamp(-1, LONGEST_EXPIRATION_S),
    }
}

pub(crate) fn now_s() -> i64 {
    now_ms() / 1_000
}

/// The destination of a request, which its uid begins with.
pub(crate) fn destination_of(uid: &str) -> Option<i64> {
    uid.split_once('.')?.0.parse().ok()
}

/// Why a request of a local program is not taken.
pub(crate) fn invalid_request(message: &Message) -> Option<String> {
    const MAX_DESTINATIONS: usize = 1_000;
    if let Err(invalid) = message.validate() {
        return Some(invalid.to_string());
    }
    if message.dst.len() > MAX_DESTINATIONS {
        return Some(format!("more than {MAX_DESTINATIONS} twin destinations"));
    }
    keys::refused_command(&message.cmd).map(str::to_owned)
}

/// How a failure of Redis is told to a caller of a port.
pub(crate) fn told(error: Error) -> ApiError {
    let reason = match error {
        Error::Full { .. } => Reason::StoreFull,
        Error::Away { .. } => Reason::StoreUnavailable,
        _ => Reason::Internal,
    };
    ApiError::new(reason, "the queues of the bus cannot be reached").with_source(error)
}

pub(crate) type Shared = Arc<Relay>;
