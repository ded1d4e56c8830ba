//! The connection that all calls of a process share.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::Shared};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};

use crate::target::Target;

/// An attempt to connect, and the connection when it has come about.
type Attempt = Shared<Pin<Box<dyn Future<Output = RedisResult<MultiplexedConnection>> + Send>>>;

/// One connection, made when it is needed, and made anew once it has failed.
///
/// Calls that come while it is being made wait for the same attempt, and fail with it. A call that was not answered
/// in time ends the connection for those that come after it: behind a server that hangs, or a network that lost it,
/// there may be another one by now.
pub(crate) struct SharedConnection {
    target: Arc<Target>,
    bounds: AsyncConnectionConfig,
    connect_timeout: Duration,
    current: Mutex<Option<Attempt>>,
}

/// What a call was made on.
pub(crate) struct Lent {
    pub(crate) connection: MultiplexedConnection,
    attempt: Attempt,
}

impl SharedConnection {
    pub(crate) fn new(target: Arc<Target>, bounds: AsyncConnectionConfig, connect_timeout: Duration) -> Self {
        Self { target, bounds, connect_timeout, current: Mutex::new(None) }
    }

    /// The connection, made if it is not there.
    pub(crate) async fn get(&self) -> RedisResult<Lent> {
        let attempt = self.current.lock().get_or_insert_with(|| self.attempt()).clone();
        match attempt.clone().await {
            Ok(connection) => Ok(Lent { connection, attempt }),
            Err(error) => {
                self.forget(&attempt);
                Err(error)
            }
        }
    }

    /// Looks at how a call ended: the next one gets another connection when this one is of no use any more.
    pub(crate) fn look_at(&self, error: &RedisError, lent: &Lent) {
        if ends_connection(error) {
            self.forget(&lent.attempt);
        }
    }

    /// The next call gets another connection.
    pub(crate) fn start_over(&self) {
        *self.current.lock() = None;
    }

    fn attempt(&self) -> Attempt {
        let (target, bounds, limit) = (Arc::clone(&self.target), self.bounds.clone(), self.connect_timeout);
        // On its own, for a caller that goes away must not leave it half done.
        let connecting = tokio::spawn(async move { connect(&target, &bounds, limit).await });
        async move { connecting.await.unwrap_or_else(|_| Err(late())) }.boxed().shared()
    }

    fn forget(&self, attempt: &Attempt) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|it| it.ptr_eq(attempt)) {
            *current = None;
        }
    }
}

/// Connects within twice the limit: the Sentinels may need as long as the server.
pub(crate) async fn connect(
    target: &Target,
    bounds: &AsyncConnectionConfig,
    limit: Duration,
) -> RedisResult<MultiplexedConnection> {
    let client = tokio::time::timeout(limit, target.client()).await.unwrap_or_else(|_| Err(late()))?;
    let connecting = client.get_multiplexed_async_connection_with_config(bounds);
    tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| Err(late()))
}

/// Connects within twice the limit, and subscribes within the limit.
pub(crate) async fn subscribe(
    target: &Target,
    channel: &str,
    limit: Duration,
) -> RedisResult<(PubSubSink, PubSubStream)> {
    let client = tokio::time::timeout(limit, target.client()).await.unwrap_or_else(|_| Err(late()))?;
    let subscribing = async {
        let (mut sink, messages) = client.get_async_pubsub().await?.split();
        sink.subscribe(channel).await?;
        Ok((sink, messages))
    };
    tokio::time::timeout(limit, subscribing).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time").into()
}

fn ends_connection(error: &RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind as Server};
    // A server that is no primary any more will not become one again by waiting on this connection.
    let is_demoted = matches!(error.kind(), ErrorKind::Server(Server::ReadOnly | Server::MasterDown));
    is_demoted || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}
