//! Nodes of the fleet.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Client, Node, NodeFilter, NodeId, NodePage, NodeTarget, Result,
    client::{Repeat, params_of},
};

impl Client {
    /// Says that a node lives; `signature` is over the text of the beat (`beat.to_string()`), by the node's ed25519 key.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn heartbeat(&self, beat: &Value, public_key: &str, signature: &str) -> Result<()> {
        let params = json!({ "beat": beat, "public_key": public_key, "signature": signature });
        self.tell("heartbeat", params).await
    }

    /// The node that is asked.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn node_info(&self) -> Result<Node> {
        self.ask("node_info", Value::Null).await
    }

    /// The nodes that are known, a page at a time.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_nodes(&self, filter: &NodeFilter) -> Result<NodePage> {
        self.ask("list_nodes", json!({ "filter": filter })).await
    }

    /// One node, with its changes of state.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn get_node(&self, id: &NodeId) -> Result<Node> {
        self.ask("get_node", json!({ "node_id": id })).await
    }

    /// Calls any method on another node, or on the least busy one that fits a selector; its answer as it is.
    ///
    /// # Errors
    /// See [`Error`](crate::Error); the other node's own error is an [`Error::Call`](crate::Error::Call) too.
    pub async fn call_node<T: DeserializeOwned>(
        &self,
        node: &NodeTarget,
        method: &str,
        params: impl Serialize,
    ) -> Result<T> {
        let params = json!({ "node_id": node, "method": method, "params": params_of(method, params)? });
        self.repeat("call_node", params, Repeat::Never, self.options().wait_timeout).await
    }

    /// Lets a node come back with another key, or after a ban.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn allow_node(&self, id: &NodeId) -> Result<()> {
        self.ask("allow_node", json!({ "node_id": id })).await
    }

    /// A node is heard and called no more.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn ban_node(&self, id: &NodeId) -> Result<()> {
        self.ask("ban_node", json!({ "node_id": id })).await
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn remove_node(&self, id: &NodeId) -> Result<()> {
        self.tell("remove_node", json!({ "node_id": id })).await
    }
}
