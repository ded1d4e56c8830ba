//! Whose failure it is, and what it says.

use std::fmt;

use hero_domain::{ErrorCode, JobId, Reason};
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::Value;

use crate::AddressError;

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node answered, with an error.
    #[error(transparent)]
    Call(Box<CallError>),
    /// There is no way to the node now.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// How that was noticed.
        why: String,
    },
    /// No answer came in time. What was asked for may still happen.
    #[error("{method} had no answer within {after_ms} ms; it may still take effect")]
    Timeout {
        /// What was called.
        method: String,
        /// How long it was waited for.
        after_ms: u64,
    },
    /// The answer is not one to this call.
    #[error("the answer to {method} is not understood: {why}")]
    Malformed {
        /// What was called.
        method: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The call cannot be sent this way.
    #[error("{0}")]
    Refused(String),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// An error that the node answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The JSON-RPC code.
    pub code: i32,
    /// The words for people.
    pub message: String,
    /// What the node said beside them: reason, field, job_id, output and so on.
    pub data: Value,
}

impl CallError {
    /// What a node says to whoever brings no secret that it knows, where the transport keeps its words.
    pub(crate) fn unauthenticated() -> Self {
        Self {
            code: -32030,
            message: "the node does not know this secret; check it, or ask for a new one".to_owned(),
            data: serde_json::json!({ "reason": Reason::AuthenticationRequired.as_str() }),
        }
    }

    /// Why, by its stable name; none: a reason of JSON-RPC's own, or one that this version does not know.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_name(self.data.get("reason")?.as_str()?)
    }

    /// The parameter at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.data.get("field")?.as_str()
    }

    /// The job that it is about.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.data.get("job_id")?.as_str()?.parse().ok()
    }

    /// When a repeat makes sense, in milliseconds from now.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.data.get("retry_after_ms")?.as_u64()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for CallError {}

impl From<ErrorObjectOwned> for CallError {
    fn from(error: ErrorObjectOwned) -> Self {
        let data = error.data().and_then(|data| serde_json::from_str(data.get()).ok());
        Self { code: error.code(), message: error.message().to_owned(), data: data.unwrap_or_default() }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl Error {
    /// What the node answered, if it did.
    #[must_use]
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call(error) => Some(error),
            _ => None,
        }
    }

    /// Why the node refused, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.call()?.reason()
    }

    /// Whether a repeat may help, for a call that does no harm when it is made twice.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Call(error) => error.reason().is_some_and(|reason| {
                reason == Reason::TooManyRequests || reason.code() == ErrorCode::Unavailable
            }),
            _ => false,
        }
    }

    /// Whether the node says that it has not even begun.
    pub(crate) fn is_not_begun(&self) -> bool {
        matches!(self.reason(), Some(Reason::TooManyRequests | Reason::ShuttingDown))
    }
}
