//! How much each twin sends.

use std::{collections::HashMap, time::Instant};

use parking_lot::Mutex;

/// Messages of each twin in the current second.
#[derive(Debug)]
pub(crate) struct Rates {
    most: u32,
    window: Mutex<(Instant, HashMap<i64, u32>)>,
}

impl Rates {
    /// At most so many a second; 0: no bound.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, window: Mutex::new((Instant::now(), HashMap::new())) }
    }

    /// Whether a twin may send one more now.
    pub(crate) fn allow(&self, twin: i64) -> bool {
        if self.most == 0 {
            return true;
        }
        let mut window = self.window.lock();
        if window.0.elapsed().as_secs() >= 1 {
            *window = (Instant::now(), HashMap::new());
        }
        let sent = window.1.entry(twin).or_default();
        *sent = sent.saturating_add(1);
        *sent <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;

    #[test]
    fn each_twin_has_its_own_bound() {
        let rates = Rates::new(2);
        assert!(rates.allow(1) && rates.allow(1) && !rates.allow(1));
        assert!(rates.allow(2));
        assert!((0..9).all(|_| Rates::new(0).allow(1)));
    }
}
