//! Nodes of the Mycelium overlay: by key, or by address.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NodeAnswer;

/// A node's public key in the overlay: 64 lower-case hex characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverlayKey(String);

impl OverlayKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Any address of the node's /64.
    Ip(Ipv6Addr),
    /// The node's public key.
    Pk(OverlayKey),
}

/// A call to another node of the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayCall {
    /// Which node.
    pub to: Destination,
    /// The topic of its requests; none: the one that this node's own come in on.
    pub topic: Option<String>,
    /// The method.
    pub method: String,
    /// Its parameters as JSON text, an object or an array; none: without.
    pub params: Option<String>,
    /// What is brought to prove who calls; none: the params have it, or the node knows this one by its key.
    pub secret: Option<String>,
    /// How long the answer may take; none: the bridge's own bound.
    pub timeout_ms: Option<u64>,
}

/// This node in the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayStatus {
    /// Its public key.
    pub public_key: OverlayKey,
    /// Its address.
    pub ip: Option<Ipv6Addr>,
    /// The network that is all its own.
    pub subnet: String,
    /// The peers that it has a living connection to.
    pub peers: u32,
    /// The topic that requests come in on.
    pub topic: String,
    /// The message that was asked about.
    pub message: Option<OverlayMessage>,
}

/// A message that was sent without waiting for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayMessage {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: OverlayState,
    /// What the other node answered, if it has.
    pub answer: Option<NodeAnswer>,
}

/// Where a message of the overlay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayState {
    /// On its way.
    Pending,
    /// At the other node.
    Received,
    /// Given up: the other node was not reached in five minutes.
    Aborted,
    /// Nobody knows: no such message, or too long ago, or the daemon was restarted.
    Unknown,
}

/// The text is neither a key nor an address of the overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a Mycelium node; write its public key (64 hex characters) or its address, such as \
     mycelium://[56d:524:53e6:1e4b::1]"
)]
pub struct DestinationError {
    /// What was given.
    pub text: String,
}

impl Destination {
    /// Whether it is the node with this key, or the one that has this address in its network.
    #[must_use]
    pub fn is_of(&self, key: &OverlayKey, ip: Option<Ipv6Addr>) -> bool {
        match self {
            Self::Pk(named) => named == key,
            // Each node owns its /64.
            Self::Ip(named) => ip.is_some_and(|ip| ip.segments()[..4] == named.segments()[..4]),
        }
    }
}

fn refused(text: &str) -> DestinationError {
    DestinationError { text: text.chars().take(100).collect() }
}

impl FromStr for OverlayKey {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_key { Ok(Self(text.to_ascii_lowercase())) } else { Err(refused(text)) }
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    /// A key or an address, with or without `mycelium://` and brackets.
    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let bare = text.strip_prefix("mycelium://").unwrap_or(text).trim_end_matches('/');
        if let Ok(key) = bare.parse() {
            return Ok(Self::Pk(key));
        }
        let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
        let ip: Ipv6Addr = inner.parse().map_err(|_| refused(text))?;
        // The overlay is 400::/7; anything else gets an id from the daemon and never arrives.
        if ip.segments()[0] >> 9 == 0x0400 >> 9 { Ok(Self::Ip(ip)) } else { Err(refused(text)) }
    }
}

impl fmt::Display for OverlayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "mycelium://[{ip}]"),
            Self::Pk(key) => write!(f, "mycelium://{key}"),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(OverlayKey, Destination);

#[cfg(test)]
mod tests {
    use super::Destination;

    #[test]
    fn a_destination_is_the_node_that_owns_it() {
        let of = |text: &str| text.parse::<Destination>().unwrap();
        let key = |digit: &str| digit.repeat(64).parse().unwrap();
        let ip = "48f:9bef:c2c1:d0c5::1".parse().ok();
        assert!(of(&"a".repeat(64)).is_of(&key("a"), None) && !of(&"a".repeat(64)).is_of(&key("b"), ip));
        assert!(of("48f:9bef:c2c1:d0c5::77").is_of(&key("a"), ip));
        assert!(!of("48f:9bef:c2c1:d0c6::1").is_of(&key("a"), ip) && !of("400::1").is_of(&key("a"), None));
    }

    #[test]
    fn a_node_is_a_key_or_an_address_of_the_overlay() {
        let key = "2df0422dc5953205a663141a889de512ef89788d03402d80098f62bae7249579";
        for (text, shown) in [
            (key, format!("mycelium://{key}")),
            ("mycelium://[56d:524:53e6:1e4b::1]", "mycelium://[56d:524:53e6:1e4b::1]".to_owned()),
            ("48f:9bef:c2c1:d0c5::1", "mycelium://[48f:9bef:c2c1:d0c5::1]".to_owned()),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.to_string(), shown);
            assert_eq!(shown.parse::<Destination>().unwrap(), destination);
        }
        for text in ["", "10.0.0.7", "::1", "2001:db8::1", "[56d::1", &key[1..], "mycelium://"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
