//! Where a node is, as a person writes it.

use std::{fmt, path::PathBuf, str::FromStr};

/// An address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `http://host:port`, `https://...`: each call is a request.
    Http(String),
    /// `ws://host:port`, `wss://...`: one connection.
    WebSocket(String),
    /// A socket, and what is spoken on it.
    Socket {
        /// Which.
        place: Place,
        /// What is spoken on it.
        speech: Speech,
    },
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host:port`
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// What is spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// A WebSocket: what a gateway and an explorer serve.
    WebSocket,
    /// `unix+lines://`, `tcp+lines://`: JSON-RPC, a message a line; what `nc -U` and old nodes speak.
    Lines,
}

/// The text is not the address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the address of a node; write http://host:port, ws://host:port, unix:///path or tcp://host:port"
)]
pub struct AddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError { text: text.chars().take(200).collect() };
        let (scheme, rest) = text.split_once("://").ok_or_else(refused)?;
        if rest.is_empty() {
            return Err(refused());
        }
        let speech = if scheme.ends_with("+lines") { Speech::Lines } else { Speech::WebSocket };
        match scheme {
            "http" | "https" | "ws" | "wss" => {
                let uri = text.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
                uri.ok_or_else(refused)?;
                let text = text.to_owned();
                Ok(if scheme.starts_with("http") { Self::Http(text) } else { Self::WebSocket(text) })
            }
            "unix" | "unix+lines" => Ok(Self::Socket { place: Place::Unix(rest.into()), speech }),
            "tcp" | "tcp+lines" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(refused)?;
                let port = port.parse().map_err(|_| refused())?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                if host.is_empty() {
                    return Err(refused());
                }
                Ok(Self::Socket { place: Place::Tcp { host, port }, speech })
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) | Self::WebSocket(url) => f.write_str(url),
            Self::Socket { place, speech: Speech::WebSocket } => place.fmt(f),
            Self::Socket { place, speech: Speech::Lines } => {
                f.write_str(&place.to_string().replacen("://", "+lines://", 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in [
            "http://127.0.0.1:8080",
            "https://hero.example.org/02ab",
            "ws://[::1]:8080",
            "unix:///run/hero.sock",
            "unix+lines:///run/explorer.sock",
            "tcp://10.0.0.7:9002",
            "tcp+lines://[::1]:9002",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms() {
        for text in ["", "127.0.0.1:8080", "http://", "tcp://host", "tcp://:1", "ftp://h", "unix://"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("http://host:port"), "{error}");
        }
    }
}
