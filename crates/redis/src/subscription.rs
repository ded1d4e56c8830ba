//! What is published on a channel, on a connection of its own.

use std::time::Duration;

use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};

use crate::{Error, Result};

/// A subscription to one channel. It does not reconnect: when it is over, make another one; what was published in
/// between is lost.
pub struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
    address: String,
    grace: Duration,
}

impl Subscription {
    pub(crate) fn new(
        (sink, messages): (PubSubSink, PubSubStream),
        address: String,
        grace: Duration,
    ) -> Self {
        Self { sink, messages, address, grace }
    }

    /// The next message; none: the connection is lost.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        Some(self.messages.next().await?.get_payload_bytes().to_vec())
    }

    /// Asks whether Redis is still there: a silent connection looks like one on which nothing happens.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn check(&mut self) -> Result<()> {
        match tokio::time::timeout(self.grace, self.sink.ping::<redis::Value>()).await {
            Ok(answer) => answer.map(|_| ()).map_err(|error| Error::of(&self.address, error)),
            Err(_) => Err(Error::of(
                &self.address,
                std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into(),
            )),
        }
    }
}
