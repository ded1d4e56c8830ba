//! Messages on the bus between twins, as a port takes them.

use crate::{ApiError, Reason, Result};

/// A request to services of other twins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusRequest {
    /// The twins that are asked; each gives one answer.
    pub twins: Vec<u32>,
    /// The command, which names the service.
    pub command: String,
    /// What the service is given.
    pub data: Vec<u8>,
    /// Seconds until a twin's answer is a timeout; 0: an hour.
    pub expires_s: u32,
    /// How often sending is tried again where a twin cannot be reached.
    pub retries: u32,
}

impl BusRequest {
    /// Fails when the bus would not take it.
    ///
    /// # Errors
    /// [`Reason::InvalidParams`] with the field at fault.
    pub fn validate(&self) -> Result<()> {
        /// Twins of one request.
        const MAX_TWINS: usize = 1_000;
        let refuse = |field: &str, words: &str| {
            Err(ApiError::new(Reason::InvalidParams, words.to_owned()).with_field(field.to_owned()))
        };
        match () {
            () if self.twins.is_empty() => refuse("twins", "names no twin"),
            () if self.twins.len() > MAX_TWINS => refuse("twins", "names more than 1000 twins"),
            () if self.command.is_empty() => refuse("command", "is empty"),
            () => Ok(()),
        }
    }
}

/// The answer of one twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusReply {
    /// The twin that was asked.
    pub twin: u32,
    /// The id that the bus gave the request to this twin.
    pub uid: String,
    /// What the service said.
    pub data: Vec<u8>,
    /// Why there is no answer of the service: an error or a timeout.
    pub error: Option<String>,
}

/// A message that the bus could do nothing with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMessage {
    /// Its id among the dead letters.
    pub id: String,
    /// The queue that it came from.
    pub queue: String,
    /// Why nothing could be done.
    pub why: String,
    /// The message, as far as it is text.
    pub message: String,
}
