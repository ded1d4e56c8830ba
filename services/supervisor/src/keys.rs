//! The port of keys over the configured secrets.

use hero_auth::Secrets;
use hero_domain::{Caller, Result, ports::Keys};

/// Who a configured secret belongs to.
pub(crate) struct ConfiguredKeys(pub(crate) Secrets);

impl Keys for ConfiguredKeys {
    async fn identify(&self, secret: Option<&str>) -> Result<Caller> {
        self.0.caller(secret)
    }
}
