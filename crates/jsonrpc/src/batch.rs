//! Batches whose members run side by side.
//!
//! jsonrpsee runs the members of a batch one after the other, so a hundred members would pay a hundred round
//! trips in a row. This layer goes outermost: it runs the members at once (a bounded number of them), and
//! answers in their order.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesOrdered};
use hero_domain::{ApiError, Reason};
use jsonrpsee::{
    BatchResponseBuilder, MethodResponse,
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT},
    types::{ErrorObject, Id},
};
use tower::Layer;

use crate::{
    error::{error_object, method_not_found},
    method::method,
};

/// Makes [`Batched`] services.
#[derive(Debug, Clone)]
pub struct BatchedLayer {
    /// The most members that a batch may have.
    pub max_members: usize,
    /// How many members run at a time.
    pub max_concurrent: usize,
    /// The most bytes that the response to a batch may have.
    pub max_response_bytes: usize,
}

impl<S> Layer<S> for BatchedLayer {
    type Service = Batched<S>;

    fn layer(&self, inner: S) -> Batched<S> {
        Batched { inner: Arc::new(inner), limits: self.clone() }
    }
}

/// A service that runs the members of a batch side by side, and names a method that does not exist.
#[derive(Debug)]
pub struct Batched<S> {
    inner: Arc<S>,
    limits: BatchedLayer,
}

type Answer = Option<MethodResponse>;

impl<S> RpcServiceT for Batched<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = Arc::clone(&self.inner);
        async move { call(&*inner, request).await }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (inner, limits) = (Arc::clone(&self.inner), self.limits.clone());
        async move {
            if batch.len() > limits.max_members {
                return refuse(Reason::BatchTooLarge, batch.len(), "members; at most", limits.max_members);
            }
            let mut response = BatchResponseBuilder::new_with_limit(limits.max_response_bytes);
            let mut notified = false;
            let mut entries = batch.into_iter();
            let mut running = FuturesOrdered::new();
            loop {
                while running.len() < limits.max_concurrent.max(1) {
                    let Some(entry) = entries.next() else { break };
                    running.push_back(member(Arc::clone(&inner), entry));
                }
                let Some(answer) = running.next().await else { break };
                let Some(answer) = answer else {
                    notified = true;
                    continue;
                };
                if response.append(answer).is_err() {
                    let max = limits.max_response_bytes;
                    return refuse(
                        Reason::ResponseTooLarge,
                        max,
                        "bytes are not enough for this batch; at most",
                        max,
                    );
                }
            }
            if response.is_empty() && notified {
                return MethodResponse::notification();
            }
            MethodResponse::from_batch(response.finish())
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = Arc::clone(&self.inner);
        async move { inner.notification(notification).await }
    }
}

async fn call<S>(inner: &S, request: Request<'_>) -> MethodResponse
where
    S: RpcServiceT<MethodResponse = MethodResponse>,
{
    if method(&request.method).is_none() {
        return MethodResponse::error(request.id.clone(), method_not_found(&request.method));
    }
    inner.call(request).await
}

/// The answer to one member; a notification has none.
async fn member<S>(inner: Arc<S>, entry: Result<BatchEntry<'_>, BatchEntryErr<'_>>) -> Answer
where
    S: RpcServiceT<MethodResponse = MethodResponse, NotificationResponse = MethodResponse>,
{
    match entry {
        Ok(BatchEntry::Call(request)) => Some(call(&*inner, request).await),
        Ok(BatchEntry::Notification(notification)) => {
            inner.notification(notification).await;
            None
        }
        Err(error) => {
            let (error, id): (ErrorObject<'_>, Id<'_>) = error.into_parts();
            Some(MethodResponse::error(id, error))
        }
    }
}

fn refuse(reason: Reason, given: usize, what: &str, max: usize) -> MethodResponse {
    let error = ApiError::new(reason, format!("{given} {what} {max} are taken; split the batch"));
    MethodResponse::error(Id::Null, error_object(&error, None))
}
