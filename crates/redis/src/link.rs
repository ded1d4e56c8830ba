//! The connections: one for calls, shared; one for each blocking read.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};

use crate::{Error, RedisConfig, Result, Script};

/// Calls that may wait for the socket at once before the next caller waits.
const CALLS_QUEUED: usize = 1_024;

/// The shared connection of a process: cheap to clone, multiplexed, reconnecting by itself.
///
/// While Redis is away a call makes one attempt to connect and fails within the connect timeout.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    calls: ConnectionManager,
    address: String,
    config: RedisConfig,
}

impl Link {
    /// Prepares the connection; nothing is sent before the first call. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`] only: a Redis that is away is no error yet.
    pub fn open(config: &RedisConfig) -> Result<Self> {
        let address = config.url.to_string();
        let as_address_error = |error: redis::RedisError| Error::Address { rule: error.to_string() };
        let client = Client::open(config.url.connection_info()?).map_err(as_address_error)?;
        let bounds = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(config.connect_timeout()))
            .set_response_timeout(Some(config.response_timeout()))
            .set_pipeline_buffer_size(CALLS_QUEUED);
        let calls =
            ConnectionManager::new_lazy_with_config(client.clone(), bounds).map_err(as_address_error)?;
        Ok(Self(Arc::new(Inner { client, calls, address, config: config.clone() })))
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
        cmd.query_async(&mut self.0.calls.clone()).await.map_err(|error| self.error(error))
    }

    /// Sends several commands in one round trip.
    ///
    /// # Errors
    /// What Redis said, or [`Error::Away`].
    pub async fn call_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        pipeline.query_async(&mut self.0.calls.clone()).await.map_err(|error| self.error(error))
    }

    /// Runs a script: `fill` adds the keys and arguments. A script that Redis does not know (it was
    /// restarted, its cache flushed) is loaded, and called again.
    ///
    /// # Errors
    /// What the script or Redis said, or [`Error::Away`].
    pub async fn run<T: FromRedisValue>(&self, script: &Script, cmd: &Cmd) -> Result<T> {
        let mut calls = self.0.calls.clone();
        match cmd.query_async(&mut calls).await {
            Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                let load = script.load_cmd();
                load.exec_async(&mut calls).await.map_err(|error| self.error(error))?;
                cmd.query_async(&mut calls).await.map_err(|error| self.error(error))
            }
            answer => answer.map_err(|error| self.error(error)),
        }
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
        let connection = self
            .0
            .client
            .get_multiplexed_async_connection_with_config(&bounds)
            .await
            .map_err(|error| self.error(error))?;
        Ok(Blocking { connection, address: self.0.address.clone(), grace: self.0.config.response_timeout() })
    }

    fn error(&self, error: redis::RedisError) -> Error {
        Error::of(&self.0.address, error)
    }
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
        match tokio::time::timeout(longest + self.grace, cmd.query_async(&mut self.connection)).await {
            Ok(answer) => answer.map_err(|error| Error::of(&self.address, error)),
            Err(_) => Err(Error::of(
                &self.address,
                std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into(),
            )),
        }
    }
}
