//! Other nodes over Mycelium, by way of this node's bridge.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Client, Destination, MyceliumStatus, Result,
    client::{Repeat, params_of},
};

impl Client {
    /// Calls a method of another node over Mycelium; its answer as it is.
    ///
    /// # Errors
    /// See [`Error`](crate::Error); the other node's own error is an [`Error::Call`](crate::Error::Call) too.
    pub async fn mycelium_call<T: DeserializeOwned>(
        &self,
        to: &Destination,
        method: &str,
        params: impl Serialize,
    ) -> Result<T> {
        let params = json!({ "destination": to, "method": method, "params": params_of(method, params)? });
        self.repeat("mycelium_call", params, Repeat::Never, self.options().wait_timeout).await
    }

    /// The same without waiting; the id of the message, to ask for the answer with.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn mycelium_send(
        &self,
        to: &Destination,
        method: &str,
        params: impl Serialize,
    ) -> Result<String> {
        let params = json!({ "destination": to, "method": method, "params": params_of(method, params)? });
        self.tell("mycelium_send", params).await
    }

    /// The node in the overlay; with an id also where that message is, with its answer once that has come.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn mycelium_status(&self, id: Option<&str>) -> Result<MyceliumStatus> {
        self.ask("mycelium_status", json!({ "id": id })).await
    }

    /// What the node serves, as an OpenRPC document.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn discover(&self) -> Result<Value> {
        self.ask("rpc.discover", Value::Null).await
    }
}
