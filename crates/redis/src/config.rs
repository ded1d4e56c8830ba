//! Where Redis is, and how long it may take to answer.

use std::{fmt, str::FromStr, time::Duration};

use hero_config::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// How to reach Redis. A part of the configuration of every service that keeps something there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[[user]:password@]host[:port][/database]`, or `unix:///path/to/redis.sock`; or `file:/path` of a file
    /// that holds it.
    pub url: RedisUrl,
    /// How long an attempt to connect may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a call may take, in milliseconds.
    pub response_timeout_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: RedisUrl::default(), connect_timeout_ms: 1_000, response_timeout_ms: 5_000 }
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
}

/// The address of a Redis, checked when it is read. It prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
    /// What may be printed.
    shown: String,
}

impl RedisUrl {
    /// The whole address, password included. For a connection only, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub(crate) fn connection_info(&self) -> Result<ConnectionInfo, Error> {
        parse(&self.text)
    }
}

impl Default for RedisUrl {
    fn default() -> Self {
        let text = "redis://127.0.0.1:6379";
        Self { text: text.to_owned(), shown: format!("{text}/0") }
    }
}

impl FromStr for RedisUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let info = parse(text)?;
        let shown = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                format!("redis://{host}:{port}/{}", info.redis_settings().db())
            }
            ConnectionAddr::Unix(path) => format!("unix://{}", path.display()),
            _ => "redis".to_owned(),
        };
        Ok(Self { text: text.to_owned(), shown })
    }
}

fn parse(text: &str) -> Result<ConnectionInfo, Error> {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let rule = match scheme {
        "redis" | "unix" | "redis+unix" => None,
        "rediss" | "valkeys" => {
            Some("TLS to Redis is not built in; use redis:// over a private network, or a local TLS tunnel")
        }
        _ => Some("use redis://host:port or unix:///path/to/redis.sock"),
    };
    if let Some(rule) = rule {
        return Err(Error::Address { rule: rule.to_owned() });
    }
    text.into_connection_info().map_err(|error| Error::Address { rule: error.to_string() })
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // It may hold a password, so like any secret it may be written as `file:/run/secrets/name`.
        Secret::deserialize(deserializer)?.expose().parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error as ValueError, StringDeserializer};

    use super::RedisUrl;

    #[test]
    fn an_address_prints_without_its_password() {
        let url: RedisUrl = "redis://hero:hunter2@10.0.0.7:6380/3".parse().unwrap();
        assert_eq!(url.to_string(), "redis://10.0.0.7:6380/3");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.expose().contains("hunter2"));
        assert_eq!(RedisUrl::default(), "redis://127.0.0.1:6379".parse().unwrap());
    }

    #[test]
    fn a_socket_path_is_an_address() {
        for text in ["unix:///run/redis.sock", "redis+unix:///run/redis.sock"] {
            assert_eq!(text.parse::<RedisUrl>().unwrap().to_string(), "unix:///run/redis.sock");
        }
    }

    #[test]
    fn an_address_with_a_password_may_stand_in_a_file() {
        let file = std::env::temp_dir().join(format!("hero-redis-url-{}", std::process::id()));
        std::fs::write(&file, "redis://:hunter2@10.0.0.7:6380\n").unwrap();
        let read =
            |text: String| serde::Deserialize::deserialize(StringDeserializer::<ValueError>::new(text));
        let url: RedisUrl = read(format!("file:{}", file.display())).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(url.expose(), "redis://:hunter2@10.0.0.7:6380");
        let gone: Result<RedisUrl, _> = read(format!("file:{}", file.display()));
        assert!(gone.unwrap_err().to_string().contains("cannot read the secret's file"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_way_out() {
        for (text, word) in [
            ("rediss://10.0.0.7", "tunnel"),
            ("http://10.0.0.7", "redis://host:port"),
            ("10.0.0.7:6379", "redis://host:port"),
            ("", "redis://host:port"),
            ("redis://10.0.0.7/not-a-number", "database"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
