//! Methods that are not in the table, served by somebody else.

use futures::future::BoxFuture;
use hero_domain::{NodeAnswer, Result};

use crate::Session;

/// Serves methods that the table does not have, such as those of another service on this machine.
pub trait Fallback: Send + Sync + 'static {
    /// Whether this method is one of those.
    fn takes(&self, method: &str) -> bool;

    /// Calls it; `params` is JSON text.
    fn call(
        &self,
        session: Session,
        method: String,
        params: Option<String>,
    ) -> BoxFuture<'static, Result<NodeAnswer>>;
}
