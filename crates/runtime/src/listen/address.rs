//! Where something listens.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// `tcp://host:port`, `tls://host:port` or `unix:///path`. Port 0 asks for any free port; `host:port` alone means TCP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// A name or address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS over TCP; only what says so serves it, or connects by it.
    Tls {
        /// A name or address, IPv6 without brackets. It must be one that the certificate names.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: write tcp://host:port or unix:///path/to/socket")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// A TCP port of this machine that no other machine can reach.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self::Tcp { host: "127.0.0.1".to_owned(), port }
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } | Self::Tls { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// The port, if it is TCP, with TLS or without.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } | Self::Tls { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// The address by which this machine reaches what listens here: a wildcard becomes loopback.
    #[must_use]
    pub fn reachable(&self) -> Self {
        match self {
            Self::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) if address.is_unspecified() => Self::loopback(*port),
                Ok(IpAddr::V6(address)) if address.is_unspecified() => {
                    Self::Tcp { host: "::1".to_owned(), port: *port }
                }
                _ => self.clone(),
            },
            // The certificate names the host, so it stays as it was written.
            Self::Tls { .. } | Self::Unix(_) => self.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Tls { host, port } if host.contains(':') => write!(f, "tls://[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "tls://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || AddressError { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() { Err(refused()) } else { Ok(Self::Unix(path.into())) };
        }
        let tls = text.strip_prefix("tls://");
        let authority = tls.or_else(|| text.strip_prefix("tcp://")).unwrap_or(text);
        let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) if inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => inner,
            Some(_) => return Err(refused()),
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || (bracketed.is_none() && !host.chars().all(is_name)) {
            return Err(refused());
        }
        let host = host.to_owned();
        Ok(if tls.is_some() { Self::Tls { host, port } } else { Self::Tcp { host, port } })
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for (text, written) in [
            ("tcp://127.0.0.1:80", "tcp://127.0.0.1:80"),
            ("127.0.0.1:80", "tcp://127.0.0.1:80"),
            ("tcp://[::1]:80", "tcp://[::1]:80"),
            ("tcp://hero-supervisor.svc:8081", "tcp://hero-supervisor.svc:8081"),
            ("unix:///run/hero.sock", "unix:///run/hero.sock"),
            ("tls://explorer.example.org:9002", "tls://explorer.example.org:9002"),
            ("tls://[::1]:9002", "tls://[::1]:9002"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "8080",
            "tcp://",
            "tls://",
            "tls://host",
            "tcp://host",
            "tcp://:80",
            "tcp://a b:80",
            "unix://",
            "http://h:80",
            "::1:80",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("tcp://host:port"), "{error}");
        }
    }

    #[test]
    fn local_and_reachable() {
        let parse = |text: &str| text.parse::<Address>().unwrap();
        assert!(
            parse("localhost:1").is_local() && parse("[::1]:1").is_local() && parse("unix:///s").is_local()
        );
        assert!(!parse("0.0.0.0:1").is_local() && !parse("example.org:1").is_local());
        assert_eq!(parse("0.0.0.0:9081").reachable(), Address::loopback(9081));
        assert_eq!(parse("[::]:9081").reachable(), parse("[::1]:9081"));
        assert_eq!(parse("10.0.0.1:9081").reachable(), parse("10.0.0.1:9081"));
    }
}
