//! The address of a Redis: one server, or the Sentinels that know which server is the primary.

use std::{fmt, str::FromStr};

use hero_config::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

const SENTINEL_PORT: u16 = 26_379;
const SENTINEL_PASSWORD: &str = "sentinel_password=";
const FORMS: &str = "use redis://host:port, rediss://host:port (TLS), unix:///path/to/redis.sock, or \
                     redis+sentinel://host:port,host:port/name-of-the-primary (rediss+sentinel:// with TLS)";

/// The address of a Redis, checked when it is read. It prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
    /// What may be printed.
    shown: String,
}

/// What an address names.
pub(crate) enum Place {
    /// This server.
    Server(ConnectionInfo),
    /// Whichever server these Sentinels call the primary of that name.
    Sentinels(Sentinels),
}

pub(crate) struct Sentinels {
    pub(crate) addresses: Vec<ConnectionAddr>,
    pub(crate) primary: String,
    pub(crate) is_tls: bool,
    /// How to sign in to the server; its address is that of a Sentinel.
    pub(crate) server: ConnectionInfo,
    /// How to sign in to the Sentinels.
    pub(crate) password: Option<String>,
}

impl RedisUrl {
    /// The whole address, password included. For a connection only, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub(crate) fn place(&self) -> Result<Place, Error> {
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
        Ok(Self { text: text.to_owned(), shown: parse(text)?.to_string() })
    }
}

fn parse(text: &str) -> Result<Place, Error> {
    let refusal = |rule: String| Error::Address { rule };
    let server = |text: &str| text.into_connection_info().map_err(|error| refusal(error.to_string()));
    match text.split_once("://") {
        Some(("redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix", _)) => {
            server(text).map(Place::Server)
        }
        Some(("redis+sentinel", rest)) => sentinels("redis", rest, server).map(Place::Sentinels),
        Some(("rediss+sentinel", rest)) => sentinels("rediss", rest, server).map(Place::Sentinels),
        _ => Err(refusal(FORMS.to_owned())),
    }
}

/// `[[user]:password@]host[:port],…/primary[/database][?sentinel_password=…]`
fn sentinels(
    scheme: &str,
    rest: &str,
    parse: impl Fn(&str) -> Result<ConnectionInfo, Error>,
) -> Result<Sentinels, Error> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (sign_in, hosts) = match authority.rsplit_once('@') {
        Some((sign_in, hosts)) => (format!("{sign_in}@"), hosts),
        None => (String::new(), authority),
    };
    let (primary, database) = path.split_once('/').unwrap_or((path, "0"));
    let is_known = query.is_empty() || query.starts_with(SENTINEL_PASSWORD);
    if primary.is_empty() || !is_known || query.contains('&') {
        return Err(Error::Address { rule: FORMS.to_owned() });
    }
    let at = |host: &str| {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        parse(&format!("{scheme}://{sign_in}{host}{port}/{database}"))
    };
    let servers = hosts.split(',').map(at).collect::<Result<Vec<_>, _>>()?;
    let password = match query.strip_prefix(SENTINEL_PASSWORD) {
        Some(password) => {
            parse(&format!("redis://:{password}@host"))?.redis_settings().password().map(str::to_owned)
        }
        None => None,
    };
    let addresses = servers.iter().map(|server| server.addr().clone()).collect();
    let server = servers.into_iter().next().ok_or_else(|| Error::Address { rule: FORMS.to_owned() })?;
    Ok(Sentinels { addresses, primary: primary.to_owned(), is_tls: scheme == "rediss", server, password })
}

impl fmt::Display for Place {
    /// Without any password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => {
                let database = server.redis_settings().db();
                match server.addr() {
                    ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}/{database}"),
                    ConnectionAddr::TcpTls { host, port, .. } => {
                        write!(f, "rediss://{host}:{port}/{database}")
                    }
                    ConnectionAddr::Unix(path) => write!(f, "unix://{}", path.display()),
                    _ => f.write_str("redis"),
                }
            }
            Self::Sentinels(them) => {
                let scheme = if them.is_tls { "rediss" } else { "redis" };
                let hosts: Vec<String> = them.addresses.iter().map(ToString::to_string).collect();
                let database = them.server.redis_settings().db();
                write!(f, "{scheme}+sentinel://{}/{}/{database}", hosts.join(","), them.primary)
            }
        }
    }
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

    use super::{Place, RedisUrl};

    #[test]
    fn an_address_prints_without_its_password() {
        for (text, shown) in [
            ("redis://hero:hunter2@10.0.0.7:6380/3", "redis://10.0.0.7:6380/3"),
            ("rediss://:hunter2@cache.example", "rediss://cache.example:6379/0"),
            (
                "redis+sentinel://:hunter2@a,b:5000,[::1]/hero/2?sentinel_password=hunter2",
                "redis+sentinel://a:26379,b:5000,::1:26379/hero/2",
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"));
            assert!(url.expose().contains("hunter2"));
        }
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
    fn sentinels_have_passwords_of_their_own() {
        let url: RedisUrl =
            "rediss+sentinel://hero:of%20redis@a,b/main?sentinel_password=of%40them".parse().unwrap();
        let Ok(Place::Sentinels(them)) = url.place() else { panic!("Sentinels") };
        assert_eq!((them.primary.as_str(), them.is_tls, them.addresses.len()), ("main", true, 2));
        let sign_in = them.server.redis_settings();
        assert_eq!((sign_in.username(), sign_in.password()), (Some("hero"), Some("of redis")));
        assert_eq!(them.password.as_deref(), Some("of@them"));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_a_way_out() {
        for (text, word) in [
            ("http://10.0.0.7", "redis://host:port"),
            ("10.0.0.7:6379", "redis://host:port"),
            ("", "redis://host:port"),
            ("redis://10.0.0.7/not-a-number", "database"),
            ("redis+sentinel://10.0.0.7", "name-of-the-primary"),
            ("redis+sentinel://10.0.0.7/main/not-a-number", "database"),
            ("redis+sentinel://10.0.0.7/main?password=x", "name-of-the-primary"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
