//! What every call carries beside its message: the caller, a deadline, and the trace that it belongs to.

use std::{fmt, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use hero_domain::{ApiError, Caller, Feed, Result};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
};

use crate::{caller, error};

const TRACEPARENT: &str = "traceparent";
/// The same name as `hero_runtime::grpc::TOKEN`, which asks for it.
const TOKEN: &str = "hero-internal-token";

/// How long a client waits for an answer. No call is without a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// A call that waits for nothing but the store.
    pub call: Duration,
    /// A call that works through every job of a caller (clear).
    pub long_call: Duration,
    /// What a waiting call gets on top of its wait, so that the answer "the wait is over" still arrives.
    pub margin: Duration,
    /// The wait of a call that names none: the server ends it sooner by its own settings.
    pub max_wait: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(10),
            long_call: Duration::from_secs(600),
            margin: Duration::from_secs(5),
            max_wait: Duration::from_secs(25 * 3_600),
        }
    }
}

impl Deadlines {
    pub(crate) fn of_wait(&self, wait: Option<Duration>) -> Duration {
        wait.unwrap_or(self.max_wait).min(self.max_wait).saturating_add(self.margin)
    }
}

/// The settings of a client's calls.
#[derive(Clone)]
pub struct Calls {
    /// How long it waits.
    pub deadlines: Deadlines,
    /// The trace context of the running task, where one is to be passed on.
    pub traceparent: fn() -> Option<String>,
    /// What proves to the other service that this is one of its node.
    pub token: Option<MetadataValue<Ascii>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { deadlines: Deadlines::default(), traceparent: || None, token: None }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

impl Calls {
    /// The same with the token that the other service wants; empty: none.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        // A token is visible ASCII; one that were not would prove nothing, which is what the other service says then.
        let mut token = (!token.is_empty()).then(|| token.parse().ok()).flatten();
        token.iter_mut().for_each(|token: &mut MetadataValue<Ascii>| token.set_sensitive(true));
        Self { token, ..self }
    }

    pub(crate) fn request<T>(&self, caller: &Caller, deadline: Duration, message: T) -> Result<Request<T>> {
        let mut request = self.anonymous(deadline, message);
        caller::write(caller, request.metadata_mut())?;
        Ok(request)
    }

    /// A request that names no caller.
    pub(crate) fn anonymous<T>(&self, deadline: Duration, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        if let Some(Ok(value)) = (self.traceparent)().map(MetadataValue::try_from) {
            request.metadata_mut().insert(TRACEPARENT, value);
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert(TOKEN, token.clone());
        }
        request
    }
}

/// The message of an answer, or the failure that it carries.
pub(crate) fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T> {
    answer.map(Response::into_inner).map_err(error::from_status)
}

/// An answer that does not convert is the other end's fault, so it is no mistake of the caller.
pub(crate) fn malformed(error: ApiError) -> ApiError {
    ApiError::internal(error)
}

/// The items of an answer that goes on.
pub(crate) fn feed<T, U>(items: Streaming<U>, convert: fn(U) -> Result<T>) -> Feed<T>
where
    T: 'static,
    U: Send + 'static,
{
    let item = move |item: Result<U, Status>| match item {
        Ok(item) => convert(item).map_err(malformed),
        Err(status) => Err(error::from_status(status)),
    };
    Box::pin(items.map(item))
}

/// Serves one call of a port whose answer goes on.
pub(crate) async fn serve_feed<T, I, U, F>(
    request: Request<T>,
    open: impl FnOnce(Caller, T) -> F,
    convert: fn(I) -> U,
) -> Result<Response<BoxStream<'static, Result<U, Status>>>, Status>
where
    I: 'static,
    U: 'static,
    F: Future<Output = Result<Feed<I>>>,
{
    serve(request, |caller, message| async move {
        let item = move |item: Result<I>| item.map(convert).map_err(error::to_status);
        Ok(open(caller, message).await?.map(item).boxed())
    })
    .await
}

/// Serves one call of a port: reads the caller, turns a failure into a status.
pub(crate) async fn serve<T, U, F>(
    request: Request<T>,
    handle: impl FnOnce(Caller, T) -> F,
) -> Result<Response<U>, Status>
where
    F: Future<Output = Result<U>>,
{
    let caller = caller::read(request.metadata()).map_err(error::to_status)?;
    handle(caller, request.into_inner()).await.map(Response::new).map_err(error::to_status)
}
