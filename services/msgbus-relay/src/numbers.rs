//! The numbers of requests: each destination counts its own, in Redis, and a part of them is taken ahead, so that
//! under load a request costs no call for its number.

use std::{collections::HashMap, ops::Range};

use hero_redis::{Link, Result, cmd};
use parking_lot::Mutex;

use crate::keys;

/// Numbers that are taken ahead at most; those that are left when the relay ends are not given out.
const MOST_AHEAD: i64 = 64;
/// Destinations whose numbers are kept ahead.
const DESTINATIONS: usize = 10_000;

/// Numbers ahead, by destination.
#[derive(Default)]
pub(crate) struct Numbers {
    ahead: Mutex<HashMap<i64, Ahead>>,
    /// Held by whoever takes more, so that those who need some at once take them once.
    more: tokio::sync::Mutex<()>,
}

struct Ahead {
    free: Range<i64>,
    /// How many are taken the next time: twice as many as before, so that a twin that is seldom asked has no gaps.
    next: i64,
}

impl Numbers {
    /// The uid of a new request to this twin: `<dst>.<number>`.
    pub(crate) async fn uid(&self, link: &Link, dst: i64) -> Result<String> {
        let number = match self.take(dst) {
            Ok(number) => number,
            Err(_) => self.take_more(link, dst).await?,
        };
        Ok(format!("{dst}.{number}"))
    }

    async fn take_more(&self, link: &Link, dst: i64) -> Result<i64> {
        let _one_at_a_time = self.more.lock().await;
        let wanted = match self.take(dst) {
            Ok(number) => return Ok(number),
            Err(wanted) => wanted,
        };
        let mut more = cmd("INCRBY");
        more.arg(format!("{}{dst}", keys::COUNTER)).arg(wanted);
        let last: i64 = link.call(&more).await?;
        let first = last - wanted + 1;
        self.put(dst, first + 1..last + 1, wanted);
        Ok(first)
    }

    /// A number; or how many are to be taken ahead.
    fn take(&self, dst: i64) -> std::result::Result<i64, i64> {
        let mut all = self.ahead.lock();
        let Some(ahead) = all.get_mut(&dst) else { return Err(1) };
        ahead.free.next().ok_or(ahead.next)
    }

    fn put(&self, dst: i64, free: Range<i64>, taken: i64) {
        let mut all = self.ahead.lock();
        if all.len() >= DESTINATIONS && !all.contains_key(&dst) {
            all.clear();
        }
        let next = (2 * taken).min(MOST_AHEAD);
        all.insert(dst, Ahead { free, next });
    }
}

#[cfg(test)]
mod tests {
    use super::{DESTINATIONS, MOST_AHEAD, Numbers};

    #[test]
    fn more_are_taken_ahead_the_more_are_needed() {
        let (numbers, mut last, mut calls) = (Numbers::default(), 0, Vec::new());
        for expected in 1..=200 {
            let number = numbers.take(7).or_else(|wanted| {
                numbers.put(7, last + 1..last + wanted + 1, wanted);
                last += wanted;
                calls.push(wanted);
                numbers.take(7)
            });
            assert_eq!(number, Ok(expected));
        }
        assert_eq!(calls[..8], [1, 2, 4, 8, 16, 32, MOST_AHEAD, MOST_AHEAD]);
    }

    #[test]
    fn destinations_are_bounded() {
        let numbers = Numbers::default();
        for dst in 0..=DESTINATIONS as i64 {
            numbers.put(dst, 1..2, 1);
        }
        assert_eq!(numbers.ahead.lock().len(), 1);
    }
}
