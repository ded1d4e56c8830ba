//! What is asked of a message that comes over HTTP before anything is done with it, in the order of the old daemon
//! and with its words, then what it forgot to ask.

use http::StatusCode;

use crate::{
    key, keys,
    message::{Invalid, Message},
    relay::{Relay, now_s},
    stats::{self, Event},
    twins::{Twin, Unknown},
};

/// Why a message is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) words: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    fn bad(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }
}

impl Relay {
    /// Reads a message and checks its age and signature.
    pub(crate) async fn authentic(&self, body: &[u8]) -> Result<Message, Refusal> {
        let message = Message::from_json(body).map_err(|_| Refusal::bad("couldn't parse json"))?;
        let (now, accept) = (now_s(), &self.config.accept);
        let age = now.saturating_sub(message.now);
        if age > accept.max_age_s {
            return Err(Refusal::bad(format!(
                "message is too old, sent since {age}s, sent time: {}, now: {now}",
                message.now
            )));
        }
        if age < -accept.max_ahead_s {
            return Err(Refusal::bad(format!(
                "message is from the future, sent time: {}, now: {now}",
                message.now
            )));
        }
        let twin = self.source(message.src).await?;
        if let Err(error) = twin.account.verify(&message) {
            self.verify_again(&message, error).await?;
        }
        if !self.rates.allow(message.src) {
            let words = format!("twin {} sends too much; wait a second", message.src);
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, words));
        }
        Ok(message)
    }

    /// The twin may have another key since it was looked up.
    async fn verify_again(&self, message: &Message, error: key::Error) -> Result<(), Refusal> {
        let refusal = Refusal::bad(error.to_string());
        if error != key::Error::Mismatch || self.twins.is_fresh(message.src) {
            return Err(refusal);
        }
        self.twins.doubt(message.src);
        let twin = self.source(message.src).await?;
        twin.account.verify(message).map_err(|_| refusal)
    }

    async fn source(&self, src: i64) -> Result<std::sync::Arc<Twin>, Refusal> {
        self.twins.get(src).await.map_err(|unknown| match unknown {
            Unknown::Missing => Refusal::bad(format!("source twin {src} not found")),
            Unknown::Away(why) => {
                Refusal::new(StatusCode::BAD_GATEWAY, format!("couldn't get twin {src} public key: {why}"))
            }
        })
    }

    /// What a request must be beside authentic.
    pub(crate) fn check_request(&self, message: &Message, is_proxied: bool) -> Result<(), Refusal> {
        match message.validate() {
            // It gets one here.
            Err(Invalid::NoReturnQueue) if is_proxied => {}
            Err(invalid) => return Err(Refusal::bad(format!("received invalid message: {invalid}"))),
            Ok(()) => {}
        }
        self.check_destination(message)?;
        if let Some(why) = keys::refused_command(&message.cmd) {
            return Err(Refusal::bad(format!("received invalid message: {why}")));
        }
        if !message.err.is_empty() {
            return Err(Refusal::bad("received invalid message: a request has no error"));
        }
        if !self.config.allows(&message.cmd, message.src) {
            let words = format!("twin {} may not use this command", message.src);
            return Err(Refusal::new(StatusCode::FORBIDDEN, words));
        }
        Ok(())
    }

    /// What a reply must be beside authentic: from the twin that was asked.
    pub(crate) fn check_reply(&self, message: &Message) -> Result<(), Refusal> {
        match message.validate() {
            Ok(()) | Err(Invalid::NoReturnQueue) => {}
            Err(invalid) => return Err(Refusal::bad(format!("received invalid message: {invalid}"))),
        }
        self.check_destination(message)?;
        if crate::relay::destination_of(&message.uid) != Some(message.src) {
            return Err(Refusal::bad(format!(
                "twin {} was not asked under uid {}",
                message.src,
                message.uid.chars().take(80).collect::<String>()
            )));
        }
        Ok(())
    }

    fn check_destination(&self, message: &Message) -> Result<(), Refusal> {
        if message.dst.contains(&self.me) {
            return Ok(());
        }
        Err(Refusal::bad(format!("this is twin {}, which is no destination of the message", self.me)))
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        stats::count(Event::Refused);
        tracing::debug!(status = refusal.status.as_u16(), why = refusal.words, "a message was refused");
    }
}
