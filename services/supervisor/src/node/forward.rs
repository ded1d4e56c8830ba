//! Methods of other services on this machine.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use hero_domain::{ApiError, NodeAnswer, Reason, Result, Scope};
use hero_jsonrpc::{Fallback, Session, answer, question};
use hero_runtime::{
    Address,
    listen::{LineError, Peers},
};

use super::config::NodeConfig;

/// Passes methods on by their prefix.
pub(crate) struct Forward {
    /// The longest prefix first.
    services: Vec<(String, Address)>,
    peers: Peers,
    timeout: Duration,
}

impl Forward {
    pub(crate) fn new(config: &NodeConfig, peers: Peers) -> Self {
        let mut services: Vec<_> = config.forward.clone().into_iter().collect();
        services.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { services, peers, timeout: Duration::from_millis(config.forward_timeout_ms) }
    }

    fn service(&self, method: &str) -> Option<&Address> {
        self.services.iter().find(|(prefix, _)| method.starts_with(prefix)).map(|(_, address)| address)
    }
}

impl Fallback for Forward {
    fn takes(&self, method: &str) -> bool {
        self.service(method).is_some()
    }

    fn call(
        &self,
        session: Session,
        method: String,
        params: Option<String>,
    ) -> BoxFuture<'static, Result<NodeAnswer>> {
        let address = self.service(&method).cloned();
        let (peers, timeout) = (self.peers.clone(), self.timeout);
        async move {
            // What the other service allows is not known here.
            session.caller().require(Scope::Admin)?;
            let address = address.ok_or_else(|| ApiError::internal("nobody serves this method any more"))?;
            let line = question(&method, params.as_deref(), None)?;
            let said = peers.ask(&address, &line, timeout).await.map_err(|error| away(&address, error))?;
            answer(&said).ok_or_else(|| {
                peers.distrust(&address);
                let words = format!("the service at {address} answered with something that is no JSON-RPC");
                ApiError::new(Reason::UpstreamUnavailable, words)
            })
        }
        .boxed()
    }
}

pub(crate) fn away(address: &Address, error: LineError) -> ApiError {
    let reason = match error {
        LineError::Late => Reason::DeadlineExceeded,
        LineError::TooLarge(_) => Reason::ResponseTooLarge,
        LineError::Busy(_) => Reason::TooManyRequests,
        _ => Reason::UpstreamUnavailable,
    };
    ApiError::new(reason, format!("{address}: {error}")).with_source(error)
}
