//! How to reach Redis, and how long it may take to answer.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use redis::{ClientTlsConfig, TlsCertificates};
use serde::{Deserialize, Serialize};

use crate::{Error, RedisUrl};

/// How to reach Redis. A part of the configuration of every service that keeps something there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, `unix:///path/to/redis.sock`, or
    /// `redis+sentinel://[[user]:password@]host[:port],…/primary[/database][?sentinel_password=…]`; or `file:/path` of
    /// a file that holds it.
    pub url: RedisUrl,
    /// How long an attempt to connect may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a call may take, in milliseconds.
    pub response_timeout_ms: u64,
    /// The certificates that a server's must lead to, as PEM; empty: those of the system. For `rediss://`.
    pub ca_file: PathBuf,
    /// Our certificate and its key, as PEM, for a server that asks for one; empty: none.
    pub cert_file: PathBuf,
    /// See `cert_file`.
    pub key_file: PathBuf,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: RedisUrl::default(),
            connect_timeout_ms: 1_000,
            response_timeout_ms: 5_000,
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
        }
    }
}

impl RedisConfig {
    /// The default bounds for this address.
    #[must_use]
    pub fn at(url: RedisUrl) -> Self {
        Self { url, ..Self::default() }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    /// What TLS goes by; none when nothing is configured.
    pub(crate) fn certificates(&self) -> Result<Option<TlsCertificates>, Error> {
        let root_cert = read(&self.ca_file)?;
        let client_tls = match (read(&self.cert_file)?, read(&self.key_file)?) {
            (None, None) => None,
            (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
            _ => {
                let rule = "cert_file and key_file belong together: set both, or none".to_owned();
                return Err(Error::Address { rule });
            }
        };
        let is_set = root_cert.is_some() || client_tls.is_some();
        Ok(is_set.then_some(TlsCertificates { client_tls, root_cert }))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let unreadable = |error| Error::Address { rule: format!("{} cannot be read: {error}", path.display()) };
    std::fs::read(path).map(Some).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::RedisConfig;

    #[test]
    fn certificates_are_read_and_half_a_pair_is_refused() {
        assert!(RedisConfig::default().certificates().unwrap().is_none());
        let missing = RedisConfig { ca_file: "/nowhere/ca.pem".into(), ..RedisConfig::default() };
        assert!(missing.certificates().unwrap_err().to_string().contains("/nowhere/ca.pem"));
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let half = RedisConfig { cert_file: here.into(), ..RedisConfig::default() };
        assert!(half.certificates().unwrap_err().to_string().contains("belong together"));
    }
}
