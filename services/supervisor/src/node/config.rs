//! The settings of the node.

use std::{collections::BTreeMap, path::PathBuf};

use hero_config::{Invalid, Secret, Validate, ensure};
use hero_domain::NodeId;
use hero_jsonrpc::WireConfig;
use hero_runtime::{
    Address,
    listen::{AcceptConfig, LinesConfig, TlsConfig},
};
use serde::{Deserialize, Serialize};

/// Names that are promised beside the regular ones.
pub(crate) const ENV_ALIASES: &[(&str, &str)] =
    &[("EXPLORER_ADDRESSES", "node.explorers"), ("NODE_TCP_ADDR", "node.tcp")];

/// The node that this supervisor is to others. Without explorers and sockets it is nobody's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeConfig {
    /// Its id; none: made from its key.
    pub id: Option<NodeId>,
    /// A name for people; empty: the host's.
    pub name: String,
    /// What its keeper calls it by.
    pub labels: BTreeMap<String, String>,
    /// Its twin in the grid.
    pub twin_id: Option<u64>,
    /// The key that the twin signs messages of the bus with, in hex; empty: the node's own.
    pub twin_key: String,
    /// Where the twin takes messages of the bus; empty: at the node's own address.
    pub twin_address: String,
    /// Where its key is kept; needed with explorers.
    pub folder: Option<PathBuf>,
    /// The unix socket that JSON-RPC is served on; none: not.
    pub socket: Option<Address>,
    /// Where JSON-RPC is served over the network, `tcp://` or `tls://`; none: nowhere.
    pub tcp: Option<Address>,
    /// Serve callers over the network without a secret, where others than this machine can reach it.
    pub insecure_no_auth: bool,
    /// What others are told to call it at; empty: the sockets above.
    pub advertise: Vec<Address>,
    /// The explorers that are told that it lives: `unix:///path`, `tcp://host:port`, `tls://host:port`.
    pub explorers: Vec<String>,
    /// The secret that the explorers want.
    pub secret: Option<Secret>,
    /// Where the mycelium-bridge of this machine serves gRPC: with it others are told to call this node over Mycelium
    /// too; none: they are not.
    pub mycelium_bridge: Option<Address>,
    /// The pause between two heartbeats.
    pub interval_ms: u64,
    /// Methods of other services on this machine: a call of `vm_list` goes to the service of prefix `vm_`.
    pub forward: BTreeMap<String, Address>,
    /// How long such a service may take.
    pub forward_timeout_ms: u64,
    /// The certificate, its key, and the authority that is believed: for `tls://`, both ways.
    pub tls: TlsConfig,
    /// The bounds of the connections that are made.
    pub lines: LinesConfig,
    /// The bounds of the connections that are taken.
    pub accept: AcceptConfig,
    /// The bounds of JSON-RPC.
    pub wire: WireConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            id: None,
            name: String::new(),
            labels: BTreeMap::new(),
            twin_id: None,
            twin_key: String::new(),
            twin_address: String::new(),
            folder: None,
            socket: None,
            tcp: None,
            insecure_no_auth: false,
            advertise: Vec::new(),
            explorers: Vec::new(),
            secret: None,
            mycelium_bridge: None,
            interval_ms: 10_000,
            forward: BTreeMap::new(),
            forward_timeout_ms: 60_000,
            tls: TlsConfig::default(),
            lines: LinesConfig::default(),
            accept: AcceptConfig { max_connections: 1_024, ..AcceptConfig::default() },
            wire: WireConfig::default(),
        }
    }
}

impl NodeConfig {
    /// The explorers whose addresses can be used; of the others it is said why not, and they are left out.
    pub(crate) fn explorers(&self) -> Vec<Address> {
        let mut explorers = Vec::new();
        for text in self.explorers.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            match text.parse::<Address>() {
                Ok(address) if !explorers.contains(&address) => explorers.push(address),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "an explorer is left out, the others are still told"),
            }
        }
        explorers
    }

    /// Whether callers over the network bring something that tells them from strangers.
    fn is_guarded(&self, has_secrets: bool, tcp: &Address) -> bool {
        let is_mutual = matches!(tcp, Address::Tls { .. }) && self.tls.ca.is_some();
        has_secrets || is_mutual || self.insecure_no_auth || tcp.is_local()
    }

    /// # Errors
    /// The setting that cannot be used.
    pub(crate) fn check(&self, has_secrets: bool) -> Result<(), Invalid> {
        if let Some(tcp) = &self.tcp {
            ensure(
                !matches!(tcp, Address::Unix(_)),
                "tcp",
                "it is tcp://host:port or tls://host:port; for a unix socket there is `socket`",
            )?;
            ensure(
                self.is_guarded(has_secrets, tcp),
                "tcp",
                "other machines could run scripts here without a secret; configure a secret, tls with `ca`, or say \
                 `insecure_no_auth` if that is wanted",
            )?;
        }
        ensure(
            self.socket.as_ref().is_none_or(|socket| matches!(socket, Address::Unix(_))),
            "socket",
            "it is a path, such as unix:///run/hero/node.sock; for the network there is `tcp`",
        )?;
        ensure(
            self.explorers.is_empty() || self.folder.is_some(),
            "folder",
            "explorers want signed heartbeats; name the folder that the node's key is kept in",
        )?;
        let is_hex = self.twin_key.len() == 64 && self.twin_key.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure(is_hex || self.twin_key.is_empty(), "twin_key", "it is a public key of 32 bytes in hex")?;
        ensure((100..=3_600_000).contains(&self.interval_ms), "interval_ms", "it must be 100 to 3600000")?;
        ensure(self.forward_timeout_ms > 0, "forward_timeout_ms", "it must be more than 0")?;
        self.lines.validate().map_err(|invalid| invalid.within("lines"))?;
        self.accept.validate().map_err(|invalid| invalid.within("accept"))?;
        match self.wire.out_of_range() {
            Some(key) => Err(Invalid::new(format!("wire.{key}"), "it must be 1 to 536870912")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NodeConfig;

    #[test]
    fn an_explorer_that_cannot_be_read_does_not_take_the_others_with_it() {
        let explorers = ["tcp://10.0.0.1:9002", "nowhere", " unix:///x ", "tls://e.example:1", ""];
        let config = NodeConfig { explorers: explorers.map(String::from).into(), ..NodeConfig::default() };
        let read: Vec<_> = config.explorers().iter().map(ToString::to_string).collect();
        assert_eq!(read, ["tcp://10.0.0.1:9002", "unix:///x", "tls://e.example:1"]);
    }

    #[test]
    fn strangers_are_not_let_in_by_accident() {
        let mut config =
            NodeConfig { tcp: Some("tcp://0.0.0.0:9003".parse().unwrap()), ..NodeConfig::default() };
        assert_eq!(config.check(false).unwrap_err().key, "tcp");
        config.check(true).unwrap();
        config.tcp = Some("tls://0.0.0.0:9003".parse().unwrap());
        assert_eq!(config.check(false).unwrap_err().key, "tcp");
        config.tls.ca = Some("/ca.pem".into());
        config.check(false).unwrap();
        config.explorers = vec!["tcp://10.0.0.1:1".into()];
        assert_eq!(config.check(false).unwrap_err().key, "folder");
    }
}
