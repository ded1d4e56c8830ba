//! Who is behind a call, as the transport found out.

use std::sync::Arc;

use hero_domain::Caller;

/// The extension that a transport puts beside every call. A call without one is refused.
///
/// Cheap to clone: jsonrpsee clones the extensions for each call of a connection and each member of a batch.
#[derive(Debug, Clone)]
pub struct Session {
    caller: Arc<Caller>,
    traceparent: Option<Arc<str>>,
}

impl Session {
    /// A session of `caller`; `traceparent` is the W3C trace context that the transport brought, if any.
    #[must_use]
    pub fn new(caller: impl Into<Arc<Caller>>, traceparent: Option<String>) -> Self {
        Self { caller: caller.into(), traceparent: traceparent.map(Arc::from) }
    }

    /// Who calls.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The trace that the call belongs to.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }
}
