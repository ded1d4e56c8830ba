//! A token bucket: so many calls a second, and so many at once after a rest.

use std::time::{Duration, Instant};

use hero_domain::{ApiError, Reason, Result};
use parking_lot::Mutex;

/// The bucket of one caller. Each call takes a token; they come back at a steady pace.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    left: Mutex<(f64, Instant)>,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_second: f64::from(per_second.max(1)), burst, left: Mutex::new((burst, Instant::now())) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// TooManyRequests when there is none, with the time until there is one.
    pub fn take(&self) -> Result<()> {
        let mut left = self.left.lock();
        let now = Instant::now();
        let tokens = (left.0 + now.duration_since(left.1).as_secs_f64() * self.per_second).min(self.burst);
        *left = (tokens, now);
        if tokens >= 1.0 {
            left.0 -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - tokens) / self.per_second);
        let words = format!("more than {} calls a second come from this caller; slow down", self.per_second);
        let pause = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Err(ApiError::new(Reason::TooManyRequests, words).with_retry_after_ms(pause))
    }

    /// Whether nobody has called for so long that a new bucket would be the same.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let left = self.left.lock();
        left.0 + left.1.elapsed().as_secs_f64() * self.per_second >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::Reason;

    use super::Pace;

    #[test]
    fn a_burst_is_taken_and_then_there_is_a_pace() {
        // One token in many hours: no machine is so slow that one comes back in between.
        let pace = Pace { per_second: 1e-5, ..Pace::new(1, 3) };
        for _ in 0..3 {
            pace.take().unwrap();
        }
        let refused = pace.take().unwrap_err();
        assert_eq!(refused.reason(), Reason::TooManyRequests);
        assert!(refused.retry_after_ms().unwrap() > 1_000 && !pace.is_full());
        let quick = Pace::new(u32::MAX, 1);
        for _ in 0..3 {
            while quick.take().is_err() {}
        }
    }
}
