//! For tests only: a store whose clock the test moves.

use hero_redis::RedisConfig;

use crate::{Result, Store, scripts::Clock};

impl Store {
    /// A store whose scripts go by the clock in `hero:meta:test_clock` (milliseconds), which a test sets.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn connect_with_test_clock(config: &RedisConfig) -> Result<Self> {
        Self::with_clock(config, Clock::Test)
    }
}
