//! Feeds: what happens to jobs and what they log, as it comes. Over a WebSocket only.

use std::{marker::PhantomData, sync::Arc};

use jsonrpsee::{core::client::Subscription as Inner, ws_client::WsClient};
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};

use crate::{Client, Error, Filter, JobEvent, JobId, LogNews, Result};

/// A feed. It ends with what it is about, with its connection, or when this is dropped.
#[derive(Debug)]
pub struct Subscription<T> {
    method: &'static str,
    inner: Inner<Box<RawValue>>,
    /// Notifications come as long as somebody holds it.
    _connection: Arc<WsClient>,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Subscription<T> {
    pub(crate) fn new(method: &'static str, inner: Inner<Box<RawValue>>, connection: Arc<WsClient>) -> Self {
        Self { method, inner, _connection: connection, item: PhantomData }
    }

    /// Waits for what comes next; none: it is over. Whoever wants to go on subscribes again, from the last place.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is not understood; it may go on after that.
    pub async fn next(&mut self) -> Option<Result<T>> {
        let malformed = |error: serde_json::Error| Error::Malformed {
            method: self.method.to_owned(),
            why: error.to_string(),
        };
        let notification = self.inner.next().await?;
        Some(notification.and_then(|it| serde_json::from_str(it.get())).map_err(malformed))
    }
}

impl Client {
    /// Where a job is, then what happens to it, until it ends.
    ///
    /// # Errors
    /// See [`Error`]; over HTTP and Mycelium [`Error::Refused`], since nothing can be pushed there.
    pub async fn subscribe_job(&self, id: JobId, from: Option<&str>) -> Result<Subscription<JobEvent>> {
        let params = json!({ "job_id": id, "from": from });
        self.subscribe("subscribe_job", "unsubscribe_job", params).await
    }

    /// What happens to jobs, from now on or after the `event_id` that is given; the page of the filter does not count.
    ///
    /// # Errors
    /// See [`Error`]; over HTTP and Mycelium [`Error::Refused`], since nothing can be pushed there.
    pub async fn subscribe_jobs(
        &self,
        filter: &Filter,
        from: Option<&str>,
    ) -> Result<Subscription<JobEvent>> {
        let filter = Filter { limit: None, cursor: None, ..filter.clone() };
        let params = json!({ "filter": filter, "from": from });
        self.subscribe("subscribe_jobs", "unsubscribe_jobs", params).await
    }

    /// A job's log from its beginning, or after a `place`, then line by line until it ends.
    ///
    /// # Errors
    /// See [`Error`]; over HTTP and Mycelium [`Error::Refused`], since nothing can be pushed there.
    pub async fn subscribe_logs(&self, id: JobId, from: Option<&str>) -> Result<Subscription<LogNews>> {
        let params = json!({ "job_id": id, "from": from });
        self.subscribe("subscribe_logs", "unsubscribe_logs", params).await
    }

    async fn subscribe<T: DeserializeOwned>(
        &self,
        method: &'static str,
        unsubscribe: &'static str,
        params: Value,
    ) -> Result<Subscription<T>> {
        let (inner, connection) = self.open_feed(method, unsubscribe, &params).await?;
        Ok(Subscription::new(method, inner, connection))
    }
}
