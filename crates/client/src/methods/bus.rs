//! Services of other twins, over the message bus.

use std::time::Duration;

use serde_json::json;

use crate::{BusReply, BusRequest, Client, Result, client::Repeat};

impl Client {
    /// Asks services of twins and waits for one answer of each; none: as long as the request is good for.
    ///
    /// # Errors
    /// See [`Error`](crate::Error); a wait that is over first is an [`Error::Call`](crate::Error::Call) with WAIT_TIMEOUT.
    pub async fn bus_call(&self, request: &BusRequest, timeout: Option<Duration>) -> Result<Vec<BusReply>> {
        let mut params = json!(request);
        if let Some(timeout) = timeout {
            params["timeout"] = timeout.as_secs().into();
        }
        self.repeat("bus_call", params, Repeat::Never, self.options().wait_timeout).await
    }

    /// Asks services of twins; the id to ask for the answers with.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn bus_send(&self, request: &BusRequest) -> Result<String> {
        self.tell("bus_send", request).await
    }

    /// The answers to a [`Client::bus_send`] that have come.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn bus_result(&self, id: &str) -> Result<Vec<BusReply>> {
        self.ask("bus_result", json!({ "id": id })).await
    }
}
