//! What the relay counts, and the trace that a message belongs to.

use std::{sync::LazyLock, time::Duration};

use hero_telemetry::{Attributes, metrics, names};
use md5::{Digest, Md5};

use crate::{ledger::Kind, message::Message};

/// What happens to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request of a local program was taken in.
    Accepted,
    /// A request was taken by its destination.
    Sent,
    /// A reply was taken by the twin that asked.
    Replied,
    /// A request of another twin was handed to its service.
    Received,
    /// It came before, and was not handed out again.
    Repeated,
    /// A request got its reply.
    Answered,
    /// A request got an error instead.
    Failed,
    /// A request got a timeout instead.
    Expired,
    /// Sending failed and is tried again.
    Retried,
    /// An item was put away.
    Dead,
    /// A message of another twin was refused.
    Refused,
}

const NAMES: [&str; 11] = [
    "accepted", "sent", "replied", "received", "repeated", "answered", "failed", "expired", "retried",
    "dead", "refused",
];

static LABELS: LazyLock<[Attributes; 11]> =
    LazyLock::new(|| NAMES.map(|name| Attributes::new(&[(names::KIND, name)])));
static DEPTHS: LazyLock<[Attributes; 3]> =
    LazyLock::new(|| ["waiting", "to_send", "dead"].map(|name| Attributes::new(&[(names::KIND, name)])));

pub(crate) fn count(event: Event) {
    metrics().bus_messages.add(1, &LABELS[event as usize]);
}

/// How long an asker has waited for the answer.
pub(crate) fn answered_after(ms: i64) {
    metrics().bus_answer_age.record(Duration::from_millis(ms.max(0).unsigned_abs()), &Attributes::none());
}

/// How much waits for an answer, is to be sent, is put away.
pub(crate) fn depths(depths: [u64; 3]) {
    for (depth, label) in depths.into_iter().zip(DEPTHS.iter()) {
        metrics().bus_depth.set(depth, label);
    }
}

/// The trace of a message: the same for every step on both sides, though no peer passes one on.
pub(crate) fn trace_of(kind: Kind, me: i64, id: &str, record: &Message) -> String {
    match kind {
        Kind::Request => trace(me, id),
        Kind::Reply => trace(record.dst.first().copied().unwrap_or_default(), &record.uid),
    }
}

/// The traceparent of the request that `asker` gave this uid.
pub(crate) fn trace(asker: i64, uid: &str) -> String {
    let hash: [u8; 16] = Md5::digest(format!("{asker}/{uid}")).into();
    format!("00-{}-{}-01", hex::encode(hash), hex::encode(&hash[8..]))
}

#[cfg(test)]
mod tests {
    use super::{LABELS, trace};

    #[test]
    fn both_sides_find_the_same_trace() {
        assert_eq!(trace(1, "2.7"), trace(1, "2.7"));
        assert_ne!(trace(1, "2.7"), trace(2, "2.7"));
        assert!(hero_telemetry::trace_context::is_traceparent(&trace(1, "2.7")));
        assert_eq!(LABELS.len(), super::Event::Refused as usize + 1);
    }
}
