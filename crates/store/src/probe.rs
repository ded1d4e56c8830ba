//! For tests only: a store whose clock the test moves, and a look at where every job is.

use hero_domain::Timestamp;
use hero_redis::{RedisConfig, cmd};

use crate::{Result, Store, keys, scripts::Clock};

impl Store {
    /// A store whose scripts go by the clock that [`Store::set_test_clock`] sets.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn connect_with_test_clock(config: &RedisConfig) -> Result<Self> {
        Self::with_clock(config, Clock::Test)
    }

    /// Sets the clock of a store that was made with one.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn set_test_clock(&self, now: Timestamp) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(keys::TEST_CLOCK).arg(now.as_millis());
        self.link().call::<()>(&set).await?;
        Ok(())
    }
}
