//! What can go wrong between us and Redis.

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("not a usable Redis address: {rule}")]
    Address {
        /// What is wrong with it, and what to write instead.
        rule: String,
    },
    /// Redis does not answer, is still loading, or is no primary any more. Worth a repeat.
    #[error("Redis at {address} does not answer")]
    Away {
        /// Where it should be.
        address: String,
        /// How that was noticed.
        #[source]
        source: redis::RedisError,
    },
    /// Redis has reached its memory limit.
    #[error("Redis at {address} is full: its maxmemory is used up")]
    Full {
        /// Where it is.
        address: String,
    },
    /// A script refused, in its own words.
    #[error("{code} {detail}")]
    Refused {
        /// The first word: an upper-case name.
        code: String,
        /// The rest.
        detail: String,
    },
    /// Redis answered something else than was asked for.
    #[error("Redis at {address} failed a call")]
    Failed {
        /// Where it is.
        address: String,
        /// What it said.
        #[source]
        source: redis::RedisError,
    },
}

impl Error {
    /// Whether Redis cannot be reached now, so that a repeat makes sense.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    pub(crate) fn of(address: &str, source: redis::RedisError) -> Self {
        let address = address.to_owned();
        // Of several commands, the first that failed: a transaction is given up because of it.
        let said = source.clone().into_server_errors();
        let said = said.as_deref().and_then(|errors| errors.first()).map(|(_, error)| error);
        match said.map_or("", |error| error.code()) {
            "OOM" => Self::Full { address },
            "LOADING" | "TRYAGAIN" | "MASTERDOWN" | "READONLY" | "BUSY" | "MISCONF" | "NOREPLICAS"
            | "NOAUTH" | "WRONGPASS" => Self::Away { address, source },
            code if code.starts_with("HERO_") => Self::Refused {
                code: code.to_owned(),
                detail: said.and_then(|error| error.details()).unwrap_or_default().to_owned(),
            },
            _ if matches!(source.kind(), redis::ErrorKind::Io | redis::ErrorKind::AuthenticationFailed)
                || source.is_connection_dropped()
                || source.is_timeout() =>
            {
                Self::Away { address, source }
            }
            _ => Self::Failed { address, source },
        }
    }
}
