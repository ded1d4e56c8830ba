//! The connections: one for calls, shared; one for each blocking read.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::time::error::Elapsed;

use crate::{
    Error, RedisConfig, Result, Script,
    shared::{Lent, SharedConnection, connect, subscribe},
    subscription::Subscription,
    target::Target,
};

/// Calls that may wait for the socket at once before the next caller waits.
const CALLS_QUEUED: usize = 1_024;

/// The shared connection of a process: cheap to clone, multiplexed, reconnecting by itself.
///
/// While Redis is away a call makes one attempt to connect and fails within the connect timeout.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    target: Arc<Target>,
    calls: SharedConnection,
    address: String,
    config: RedisConfig,
}

impl Link {
    /// Prepares the connection; nothing is sent before the first call.
    ///
    /// # Errors
    /// [`Error::Address`] only: a Redis that is away is no error yet.
    pub fn open(config: &RedisConfig) -> Result<Self> {
        let address = config.url.to_string();
        let target = Arc::new(Target::of(config)?);
        let bounds = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout()))
            .set_response_timeout(Some(config.response_timeout()))
            .set_pipeline_buffer_size(CALLS_QUEUED);
        let calls = SharedConnection::new(Arc::clone(&target), bounds, config.connect_timeout());
        Ok(Self(Arc::new(Inner { target, calls, address, config: config.clone() })))
    }

    /// Where Redis is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Sends one command.
    ///
    /// # Errors
    /// What Redis said, or [`Error::Away`].
    pub async fn call<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T> {
        let mut lent = self.connection().await?;
        let answer = cmd.query_async(&mut lent.connection).await;
        answer.map_err(|error| self.failed(error, &lent))
    }

    /// Sends several commands in one round trip.
    ///
    /// # Errors
    /// What Redis said, or [`Error::Away`].
    pub async fn call_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        let mut lent = self.connection().await?;
        let answer = pipeline.query_async(&mut lent.connection).await;
        answer.map_err(|error| self.failed(error, &lent))
    }

    /// Runs a call that [`Script::command`] has begun. A script that Redis does not know (it was restarted, its cache
    /// flushed) is loaded, and called again.
    ///
    /// # Errors
    /// What the script or Redis said, or [`Error::Away`].
    pub async fn run<T: FromRedisValue>(&self, script: &Script, cmd: &Cmd) -> Result<T> {
        let mut lent = self.connection().await?;
        let calls = &mut lent.connection;
        let answer = match run(script, cmd, calls).await {
            Err((error, is_load)) => match script.by_hash(cmd, &error, is_load) {
                Some(again) => run(script, &again, calls).await.map_err(|(error, _)| error),
                None => Err(error),
            },
            Ok(answer) => Ok(answer),
        };
        answer.map_err(|error| self.failed(error, &lent))
    }

    /// A connection of one's own, for calls that block. It does not reconnect: on an error, drop it.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn blocking(&self) -> Result<Blocking> {
        let bounds = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.0.config.connect_timeout()))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1);
        let connection = connect(&self.0.target, &bounds, self.0.config.connect_timeout()).await;
        let connection = connection.map_err(|error| self.away(error))?;
        Ok(Blocking { connection, address: self.0.address.clone(), grace: self.0.config.response_timeout() })
    }

    /// Subscribes to a channel, on a connection of one's own.
    ///
    /// # Errors
    /// [`Error::Away`]; [`Error`] too when the account may not read the channel.
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription> {
        let parts = subscribe(&self.0.target, channel, self.0.config.connect_timeout()).await;
        let parts = parts.map_err(|error| self.away(error))?;
        Ok(Subscription::new(parts, self.0.address.clone(), self.0.config.response_timeout()))
    }

    /// Makes the next call connect anew: what answers is not the server that it should be.
    pub fn start_over(&self) {
        self.0.calls.start_over();
    }

    async fn connection(&self) -> Result<Lent> {
        self.0.calls.get().await.map_err(|error| self.away(error))
    }

    fn failed(&self, error: redis::RedisError, lent: &Lent) -> Error {
        self.0.calls.look_at(&error, lent);
        self.error(error)
    }

    /// Whatever keeps a connection from being made (Sentinels have their own words for it), there is none.
    fn away(&self, source: redis::RedisError) -> Error {
        Error::Away { address: self.0.address.clone(), source }
    }

    fn error(&self, error: redis::RedisError) -> Error {
        Error::of(&self.0.address, error)
    }
}

/// Calls a script, and once more after it was loaded. A failure, and whether it is one of loading.
async fn run<T: FromRedisValue>(
    script: &Script,
    cmd: &Cmd,
    calls: &mut MultiplexedConnection,
) -> std::result::Result<T, (redis::RedisError, bool)> {
    let error = match cmd.query_async(calls).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let Some(load) = script.load_after(&error) else { return Err((error, false)) };
    load.exec_async(calls).await.map_err(|error| (error, true))?;
    cmd.query_async(calls).await.map_err(|error| (error, false))
}

/// A dedicated connection for calls that block.
pub struct Blocking {
    connection: MultiplexedConnection,
    address: String,
    grace: Duration,
}

impl Blocking {
    /// Sends a command that may block for `longest`; when not even the response timeout on top of it brings
    /// an answer, the connection is taken for dead.
    ///
    /// # Errors
    /// What Redis said, or [`Error::Away`].
    pub async fn call<T: FromRedisValue>(&mut self, cmd: &Cmd, longest: Duration) -> Result<T> {
        let answer = tokio::time::timeout(longest + self.grace, cmd.query_async(&mut self.connection)).await;
        self.told(answer)
    }

    /// Sends several commands at once, of which one may block: those after it are done when it is.
    ///
    /// # Errors
    /// What Redis said, or [`Error::Away`].
    pub async fn call_all<T: FromRedisValue>(&mut self, pipeline: &Pipeline, longest: Duration) -> Result<T> {
        let answer = pipeline.query_async(&mut self.connection);
        let answer = tokio::time::timeout(longest + self.grace, answer).await;
        self.told(answer)
    }

    fn told<T>(&self, answer: std::result::Result<RedisResult<T>, Elapsed>) -> Result<T> {
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into();
        let answer = answer.unwrap_or_else(|_| Err(late()));
        answer.map_err(|error| Error::of(&self.address, error))
    }
}
