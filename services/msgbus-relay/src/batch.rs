//! Several messages in one delivery, between relays that both know how: an addition of ours to the contract.
//!
//! A relay says in its answers how many messages it takes at once (`Msgbus-Batch: 64`). Whoever has that many short ones
//! for it may send them to `/zbus-remote-batch` (requests) or `/zbus-reply-batch` (replies): a message on each line, each
//! signed and checked as if it had come alone. The answer is a list with an entry for each, in their order: null, or
//! why it was refused. Old daemons say nothing of the kind, and get one message at a time.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{admission::Refusal, ledger::Kind, message::Message};

/// In the answers of a relay: how many messages it takes at once.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("msgbus-batch");
pub(crate) const REQUESTS: &str = "/zbus-remote-batch";
pub(crate) const REPLIES: &str = "/zbus-reply-batch";
/// The most messages of one delivery.
const MOST: usize = 64;
/// Bytes of a short message's texts: longer ones go alone, so that none waits for another one's bytes.
const SHORT: usize = 4 << 10;
/// Letters of the words of a refusal.
const WORDS: usize = 200;
/// Bytes that a message may have in a delivery of several: its texts twice, for escapes, and its names.
const BYTES_EACH: usize = 2 * SHORT + 1_024;

/// Whether a message may go with others.
pub(crate) const fn is_short(message: &Message) -> bool {
    message.dat.len() + message.ret.len() + message.err.len() + message.shm.len() <= SHORT
}

/// How many messages a relay takes at once whose bodies have at most so many bytes.
pub(crate) fn most(max_body_bytes: usize) -> usize {
    MOST.min(max_body_bytes / BYTES_EACH)
}

/// What a relay tells of that in its answers.
pub(crate) fn offer(max_body_bytes: usize) -> HeaderValue {
    most(max_body_bytes).into()
}

/// How many messages the relay takes at once that gave this answer; 0: it does not say.
pub(crate) fn offered(headers: &HeaderMap) -> usize {
    let text = headers.get(HEADER).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).map_or(0, |most: usize| most.min(MOST))
}

pub(crate) const fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Request => REQUESTS,
        Kind::Reply => REPLIES,
    }
}

/// Messages as one body: no line end is in any, for their encoder escapes it.
pub(crate) fn body(messages: &[String]) -> String {
    messages.join("\n")
}

/// The messages of a body.
pub(crate) fn messages(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// What became of one message of several.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome(Option<Refused>);

#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    status: u16,
    message: String,
}

impl Outcome {
    pub(crate) fn of(refusal: Option<&Refusal>) -> Self {
        let told = |refusal: &Refusal| Refused {
            status: refusal.status.as_u16(),
            message: refusal.words.chars().take(WORDS).collect(),
        };
        Self(refusal.map(told))
    }

    /// Why it was not taken; none: it was.
    pub(crate) fn refusal(&self) -> Option<(StatusCode, &str)> {
        let Refused { status, message } = self.0.as_ref()?;
        Some((StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY), message))
    }
}

/// What became of so many messages; none: this is no answer to them.
pub(crate) fn outcomes(body: &[u8], count: usize) -> Option<Vec<Outcome>> {
    serde_json::from_slice(body).ok().filter(|outcomes: &Vec<Outcome>| outcomes.len() == count)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::{HEADER, MOST, Outcome, body, is_short, messages, most, offer, offered, outcomes};
    use crate::{admission::Refusal, message::Message};

    #[test]
    fn what_is_offered_fits_into_a_body() {
        assert_eq!((most(4 << 20), most(20_000), most(2_000)), (MOST, 2, 0));
        let headers = HeaderMap::from_iter([(HEADER, offer(4 << 20))]);
        assert_eq!((offered(&headers), offered(&HeaderMap::new())), (MOST, 0));
        for (said, meant) in [("1000000", MOST), ("-1", 0), ("many", 0), ("3", 3)] {
            assert_eq!(offered(&HeaderMap::from_iter([(HEADER, said.parse().unwrap())])), meant, "{said}");
        }
    }

    #[test]
    fn each_message_is_a_line() {
        let texts =
            ["a\nb", "", "c\r\n\u{2028}"].map(|dat| Message { dat: dat.into(), ..Message::default() });
        let body = body(&texts.clone().map(|it| it.to_json()));
        let read: Vec<Message> =
            messages(body.as_bytes()).map(|it| Message::from_json(it).unwrap()).collect();
        assert_eq!(read, texts);
        assert!(is_short(&texts[0]) && !is_short(&Message { err: "x".repeat(5_000), ..Message::default() }));
    }

    #[test]
    fn each_has_its_outcome() {
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "the queue of the command is full");
        let text = serde_json::to_vec(&[Outcome::of(None), Outcome::of(Some(&refusal))]).unwrap();
        assert_eq!(text, br#"[null,{"status":429,"message":"the queue of the command is full"}]"#);
        let read = outcomes(&text, 2).unwrap();
        assert!(read[0].refusal().is_none());
        assert_eq!(read[1].refusal(), Some((StatusCode::TOO_MANY_REQUESTS, &*refusal.words)));
        for (text, count) in [("[null]", 2), ("{}", 0), (r#"{"status": "accepted"}"#, 1), ("", 0)] {
            assert!(outcomes(text.as_bytes(), count).is_none(), "{text}");
        }
    }
}
