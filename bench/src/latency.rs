//! Latencies of one measurement, all kept: a percentile of a summary would be an estimate.

use std::time::Duration;

/// What a load run saw.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    nanos: Vec<u64>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Answers that were errors; the first one's text.
    pub(crate) failures: u64,
    /// The first failure.
    pub(crate) first_failure: Option<String>,
}

impl Latencies {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { nanos: Vec::with_capacity(count), ..Self::default() }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        self.nanos.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add_failure(&mut self, text: &str) {
        self.failures += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(text.chars().take(400).collect());
        }
    }

    /// Joins what another connection saw in the same run.
    pub(crate) fn merge(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    pub(crate) fn count(&self) -> usize {
        self.nanos.len()
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.nanos.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The smallest latency that at least `share` of all answers did not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&mut self, share: f64) -> f64 {
        if self.nanos.is_empty() {
            return f64::NAN;
        }
        self.nanos.sort_unstable();
        let rank = (share * self.nanos.len() as f64).ceil() as usize;
        self.nanos[rank.clamp(1, self.nanos.len()) - 1] as f64 / 1e6
    }

    /// Fails when any answer was an error: a rate of refusals is no throughput.
    pub(crate) fn checked(self, what: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.failures == 0,
            "{what}: {} of {} calls failed, the first with: {}",
            self.failures,
            self.count(),
            self.first_failure.as_deref().unwrap_or("")
        );
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn a_percentile_is_a_latency_that_was_seen() {
        let mut seen = Latencies::default();
        for ms in (1..=1000).rev() {
            seen.add(Duration::from_millis(ms));
        }
        assert_eq!(seen.percentile_ms(0.5), 500.0);
        assert_eq!(seen.percentile_ms(0.99), 990.0);
        assert_eq!(seen.percentile_ms(0.999), 999.0);
        assert_eq!(seen.percentile_ms(1.0), 1000.0);
    }

    #[test]
    fn a_failed_call_fails_the_measurement() {
        let mut seen = Latencies::default();
        seen.add(Duration::from_millis(1));
        seen.add_failure("no");
        assert!(seen.checked("x").unwrap_err().to_string().contains("1 of 1 calls failed"));
    }
}
