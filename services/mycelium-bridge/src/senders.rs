//! How much each sender may ask for.

use std::{collections::HashMap, sync::Arc, time::Instant};

use hero_domain::OverlayKey;
use parking_lot::Mutex;

/// Senders that are remembered before those at rest are forgotten.
const MAX_SENDERS: usize = 10_000;

/// The bounds of each sender.
#[derive(Clone)]
pub(crate) struct Senders(Arc<Inner>);

struct Inner {
    max_in_flight: usize,
    max_rate: f64,
    senders: Mutex<HashMap<OverlayKey, Sender>>,
}

struct Sender {
    in_flight: usize,
    tokens: f64,
    at: Instant,
}

/// A request's place; it is free again when this is dropped.
pub(crate) struct Place {
    senders: Senders,
    from: OverlayKey,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too many requests of this sender are worked on.
    InFlight,
    /// It sends faster than is taken.
    Rate,
}

impl Senders {
    pub(crate) fn new(max_in_flight: usize, max_rate: u32) -> Self {
        let senders = Mutex::default();
        Self(Arc::new(Inner { max_in_flight, max_rate: f64::from(max_rate), senders }))
    }

    pub(crate) fn enter(&self, from: &OverlayKey, now: Instant) -> Result<Place, Full> {
        let Inner { max_in_flight, max_rate, .. } = *self.0;
        let mut senders = self.0.senders.lock();
        if senders.len() >= MAX_SENDERS && !senders.contains_key(from) {
            senders.retain(|_, sender| sender.in_flight > 0);
        }
        let sender =
            senders.entry(from.clone()).or_insert(Sender { in_flight: 0, tokens: max_rate, at: now });
        let gained = now.saturating_duration_since(sender.at).as_secs_f64() * max_rate;
        sender.tokens = (sender.tokens + gained).min(max_rate);
        sender.at = now;
        if sender.tokens < 1.0 {
            return Err(Full::Rate);
        }
        sender.tokens -= 1.0;
        if sender.in_flight >= max_in_flight {
            return Err(Full::InFlight);
        }
        sender.in_flight += 1;
        Ok(Place { senders: self.clone(), from: from.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(sender) = self.senders.0.senders.lock().get_mut(&self.from) {
            sender.in_flight -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Full, Senders};

    #[test]
    fn a_sender_is_held_to_its_share_and_another_is_not() {
        let key = |digit: &str| digit.repeat(64).parse().unwrap();
        let now = Instant::now();
        let senders = Senders::new(2, 4);
        let first = senders.enter(&key("a"), now).ok();
        let _second = senders.enter(&key("a"), now).ok().unwrap();
        assert_eq!(senders.enter(&key("a"), now).err(), Some(Full::InFlight));
        drop(first);
        let _third = senders.enter(&key("a"), now).ok().unwrap();
        assert_eq!(senders.enter(&key("a"), now).err(), Some(Full::Rate), "four in one second");
        assert!(senders.enter(&key("b"), now).is_ok());
        assert_eq!(senders.enter(&key("a"), now + Duration::from_secs(1)).err(), Some(Full::InFlight));
    }
}
