//! Runners.

use serde_json::{Value, json};

use crate::{Client, Result, Runner, RunnerId};

impl Client {
    /// The runners of the node.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_runners(&self) -> Result<Vec<Runner>> {
        self.ask("list_runners", Value::Null).await
    }

    /// One of them.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn get_runner(&self, id: &RunnerId) -> Result<Runner> {
        self.ask("get_runner", json!({ "runner_id": id })).await
    }

    /// Tells a runner to take no new jobs (true), or to take them again (false).
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn drain_runner(&self, id: &RunnerId, draining: bool) -> Result<()> {
        self.ask("drain_runner", json!({ "runner_id": id, "draining": draining })).await
    }

    /// Forgets a runner whose lease is over.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn remove_runner(&self, id: &RunnerId) -> Result<()> {
        self.tell("remove_runner", json!({ "runner_id": id })).await
    }
}
