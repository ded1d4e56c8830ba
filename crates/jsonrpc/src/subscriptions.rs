//! Subscriptions: feeds of the port of jobs, passed on over a WebSocket.
//!
//! A call opens one (after the same checks as every call), notifications carry what comes, and it ends with the job,
//! with `unsubscribe_*`, with the connection, or with a notification that has `error` instead of `result`. When the
//! supervisor goes away, the feed goes on at its place once one is back; the subscriber notices nothing. Little waits
//! for a subscriber: one who does not take it is told so and dropped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use hero_domain::{
    ApiError, Caller, ErrorCode, Feed, JobChange, JobFilter, LogNews, Reason, Result, Watched,
    ports::{Jobs as _, Ports},
};
use jsonrpsee::{
    PendingSubscriptionSink, SubscriptionSink,
    core::{SubscriptionError, middleware::Request},
    server::SubscriptionCloseResponse,
    types::{ErrorObjectOwned, Params},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Session,
    error::error_object,
    handler::{Face, Table},
    method::{Method, method},
    params::{SubscribeJobParams, SubscribeJobsParams, SubscribeLogsParams, UnsubscribeParams, parse},
    view::{JobEventView, LogNewsView},
};

/// Messages that wait for a connection's client to read; a subscription with more to say waits, too.
const UNSENT: usize = 8;
/// The pause between two looks at a client that does not read.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a client may take nothing of what waits for it.
const SLOW_AT_MOST: Duration = Duration::from_secs(10);
/// How long a supervisor may be away before its subscriptions are over.
const AWAY_AT_MOST: Duration = Duration::from_secs(30);
/// The first pause before a feed is opened again, and the longest.
const OPEN_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The notifications of what happens to jobs, and those of logs.
pub(crate) const NOTIFICATIONS: [&str; 2] = ["job_event", "job_log"];

/// What can be subscribed to.
trait Source: Send + Sync + 'static {
    const SUBSCRIBE: &'static str;
    const UNSUBSCRIBE: &'static str;
    const NOTIFICATION: &'static str;
    type Params: DeserializeOwned + Clone + Send + Sync + 'static;
    type Item: Send + 'static;
    type View: Serialize + From<Self::Item> + Send;

    /// Opens the feed at `from`.
    fn open<P: Ports>(
        ports: &P,
        caller: &Caller,
        params: Self::Params,
        from: Option<String>,
    ) -> impl Future<Output = Result<Feed<Self::Item>>> + Send;

    /// Where the caller wants to begin.
    fn from(params: &Self::Params) -> Option<String>;

    /// The place after an item.
    fn place(item: &Self::Item) -> Option<String>;
}

struct OneJob;

impl Source for OneJob {
    const SUBSCRIBE: &'static str = "subscribe_job";
    const UNSUBSCRIBE: &'static str = "unsubscribe_job";
    const NOTIFICATION: &'static str = NOTIFICATIONS[0];
    type Params = SubscribeJobParams;
    type Item = JobChange;
    type View = JobEventView;

    async fn open<P: Ports>(
        ports: &P,
        caller: &Caller,
        params: SubscribeJobParams,
        from: Option<String>,
    ) -> Result<Feed<JobChange>> {
        ports.jobs().watch(caller, Watched::Job(params.job_id), from).await
    }

    fn from(params: &SubscribeJobParams) -> Option<String> {
        params.from.clone()
    }

    fn place(item: &JobChange) -> Option<String> {
        Some(item.event_id.clone())
    }
}

struct ManyJobs;

impl Source for ManyJobs {
    const SUBSCRIBE: &'static str = "subscribe_jobs";
    const UNSUBSCRIBE: &'static str = "unsubscribe_jobs";
    const NOTIFICATION: &'static str = NOTIFICATIONS[0];
    type Params = SubscribeJobsParams;
    type Item = JobChange;
    type View = JobEventView;

    async fn open<P: Ports>(
        ports: &P,
        caller: &Caller,
        params: SubscribeJobsParams,
        from: Option<String>,
    ) -> Result<Feed<JobChange>> {
        let filter = params.filter.map(JobFilter::from).unwrap_or_default();
        ports.jobs().watch(caller, Watched::Jobs(filter), from).await
    }

    fn from(params: &SubscribeJobsParams) -> Option<String> {
        params.from.clone()
    }

    fn place(item: &JobChange) -> Option<String> {
        Some(item.event_id.clone())
    }
}

struct Logs;

impl Source for Logs {
    const SUBSCRIBE: &'static str = "subscribe_logs";
    const UNSUBSCRIBE: &'static str = "unsubscribe_logs";
    const NOTIFICATION: &'static str = NOTIFICATIONS[1];
    type Params = SubscribeLogsParams;
    type Item = LogNews;
    type View = LogNewsView;

    async fn open<P: Ports>(
        ports: &P,
        caller: &Caller,
        params: SubscribeLogsParams,
        from: Option<String>,
    ) -> Result<Feed<LogNews>> {
        ports.jobs().follow_logs(caller, params.job_id, from).await
    }

    fn from(params: &SubscribeLogsParams) -> Option<String> {
        params.from.clone()
    }

    fn place(item: &LogNews) -> Option<String> {
        item.place.clone()
    }
}

impl<P: Ports> Table<Face<P>> {
    pub(crate) fn add_subscriptions(&mut self) {
        self.add_source::<OneJob>();
        self.add_source::<ManyJobs>();
        self.add_source::<Logs>();
    }

    fn add_source<S: Source>(&mut self) {
        let entry = method(S::SUBSCRIBE).expect("a subscription is registered under a name of the table");
        let face = Arc::clone(&self.face);
        let callback = move |params: Params<'static>,
                             pending: PendingSubscriptionSink,
                             _,
                             extensions: http::Extensions| {
            let (face, session) = (Arc::clone(&face), extensions.get::<Session>().cloned());
            async move { serve::<S, P>(&face, entry, session, &params, pending).await }
        };
        self.module
            .register_subscription(S::SUBSCRIBE, S::NOTIFICATION, S::UNSUBSCRIBE, callback)
            .expect("a subscription is registered once");
    }
}

/// Whether this is a call that opens a subscription.
pub(crate) fn opens(method: &Method) -> bool {
    [OneJob::SUBSCRIBE, ManyJobs::SUBSCRIBE, Logs::SUBSCRIBE].contains(&method.name)
}

/// Whether this is a call that ends one.
pub(crate) fn closes(method: &Method) -> bool {
    [OneJob::UNSUBSCRIBE, ManyJobs::UNSUBSCRIBE, Logs::UNSUBSCRIBE].contains(&method.name)
}

/// What must be so before jsonrpsee gets a call that opens or ends a subscription; it takes parameters by position only.
pub(crate) fn prepare<'a>(
    entry: &'static Method,
    mut request: Request<'a>,
) -> Result<Request<'a>, (Request<'a>, ApiError)> {
    if !opens(entry) && !closes(entry) {
        return Ok(request);
    }
    if let Err(error) = check(entry, request.extensions.get::<Session>()) {
        return Err((request, error));
    }
    if closes(entry) {
        let raw = request.params.as_ref().map(|params| params.get());
        match parse::<UnsubscribeParams>(entry, raw) {
            Ok(UnsubscribeParams { subscription }) => {
                request.params = to_raw_value(&[subscription]).ok().map(std::borrow::Cow::Owned);
            }
            Err(error) => return Err((request, error)),
        }
    }
    Ok(request)
}

/// Whether the caller may, and has something that notifications can be sent over.
fn check(entry: &'static Method, session: Option<&Session>) -> Result<()> {
    let session = session.ok_or_else(|| {
        ApiError::new(Reason::AuthenticationRequired, "the connection has no session; authenticate first")
    })?;
    entry.rule.check(session)?;
    if session.has_websocket() {
        return Ok(());
    }
    let words =
        "a subscription lives on a WebSocket; open one and subscribe there, or ask again and again here";
    Err(ApiError::new(Reason::WebSocketRequired, words))
}

async fn serve<S: Source, P: Ports>(
    face: &Face<P>,
    entry: &'static Method,
    session: Option<Session>,
    params: &Params<'static>,
    pending: PendingSubscriptionSink,
) -> SubscriptionCloseResponse {
    let opened = async {
        check(entry, session.as_ref())?;
        let params: S::Params = parse(entry, params.as_str())?;
        let caller = session.as_ref().map(|session| session.caller().clone()).unwrap_or_else(Caller::local);
        let from = S::from(&params);
        let feed = S::open(&**face, &caller, params.clone(), from.clone()).await?;
        Ok::<_, ApiError>((caller, params, from, feed))
    };
    let (caller, params, from, feed) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            pending.reject(told(entry, &error)).await;
            return SubscriptionCloseResponse::None;
        }
    };
    // The connection has gone meanwhile.
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    let open = |from: Option<String>| S::open(&**face, &caller, params.clone(), from);
    let ended = tokio::select! {
        ended = forward::<S, _, _>(open, from, feed, &sink) => ended,
        () = sink.closed() => Ok(()),
    };
    match ended {
        Ok(()) => SubscriptionCloseResponse::None,
        Err(error) => {
            let error = to_raw_value(&told(entry, &error)).unwrap_or_default();
            SubscriptionCloseResponse::NotifErr(SubscriptionError::from_json(error))
        }
    }
}

/// Passes a feed on, and opens it again where it was when the supervisor was away.
async fn forward<S, O, Fut>(
    open: O,
    mut from: Option<String>,
    mut feed: Feed<S::Item>,
    sink: &SubscriptionSink,
) -> Result<()>
where
    S: Source,
    O: Fn(Option<String>) -> Fut,
    Fut: Future<Output = Result<Feed<S::Item>>>,
{
    loop {
        match feed.next().await {
            None => return Ok(()),
            Some(Ok(item)) => {
                from = S::place(&item).or(from);
                let message = to_raw_value(&S::View::from(item)).map_err(ApiError::internal)?;
                if !send(sink, message).await? {
                    return Ok(());
                }
            }
            Some(Err(error)) if error.code() == ErrorCode::Unavailable => {
                feed = open_again(&open, from.as_ref(), error).await?;
            }
            Some(Err(error)) => return Err(error),
        }
    }
}

async fn open_again<T, O, Fut>(open: &O, from: Option<&String>, mut error: ApiError) -> Result<Feed<T>>
where
    O: Fn(Option<String>) -> Fut,
    Fut: Future<Output = Result<Feed<T>>>,
{
    let (mut pause, longest) = OPEN_AGAIN;
    let away_since = Instant::now();
    while away_since.elapsed() < AWAY_AT_MOST {
        tokio::time::sleep(pause).await;
        match open(from.cloned()).await {
            Ok(feed) => return Ok(feed),
            Err(again) if matches!(again.code(), ErrorCode::Unavailable | ErrorCode::Timeout) => {
                error = again
            }
            Err(other) => return Err(other),
        }
        pause = (pause * 2).min(longest);
    }
    Err(error)
}

/// Sends one notification, once its client has taken most of what came before; false: the client is gone.
async fn send(sink: &SubscriptionSink, message: Box<RawValue>) -> Result<bool> {
    let waiting_since = Instant::now();
    while sink.max_capacity() - sink.capacity() > UNSENT.min(sink.max_capacity() / 2) {
        if sink.is_closed() {
            return Ok(false);
        }
        if waiting_since.elapsed() > SLOW_AT_MOST {
            return Err(too_slow());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(sink.send(message).await.is_ok())
}

fn too_slow() -> ApiError {
    let words = format!(
        "nothing was taken for {} s, so the subscription is over; subscribe again from the last place, and read faster",
        SLOW_AT_MOST.as_secs()
    );
    ApiError::new(Reason::SubscriptionLagged, words)
}

/// A fault of ours is logged; its subscriber learns no more than that it was one.
fn told(entry: &'static Method, error: &ApiError) -> ErrorObjectOwned {
    if error.code() == ErrorCode::Internal {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(method = entry.name, %error, source, "a subscription failed");
    }
    error_object(error, None)
}
