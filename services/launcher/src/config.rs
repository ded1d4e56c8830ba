//! The settings of a whole node.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use hero_auth::{PublicKey, Secrets};
use hero_config::{Invalid, Secret, Validate, ensure};
use hero_domain::ScriptType;
use hero_explorer::ExplorerConfig;
use hero_gateway::GatewayConfig;
use hero_msgbus_relay::{RelayConfig, key::Key};
use hero_mycelium_bridge::BridgeConfig;
use hero_redis::RedisUrl;
use hero_runner::RunnerConfig;
use hero_runtime::{Address, AdminConfig, Chassis, DrainConfig, TelemetryConfig};
use hero_supervisor::{NodeConfig, SupervisorConfig};
use serde::{Deserialize, Serialize};

use crate::Patience;

/// Names that are promised beside the regular ones.
pub(crate) const ENV_ALIASES: &[(&str, &str)] = &[
    ("EXPLORER_ADDRESSES", "supervisor.node.explorers"),
    ("NODE_TCP_ADDR", "supervisor.node.tcp"),
    ("EXPLORER_TCP_ADDR", "explorer.tcp"),
];

/// The settings of a whole node: those of the process at the top, those of each service in a section of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct LauncherConfig {
    /// The address to serve JSON-RPC on, over HTTP and WebSocket.
    pub host: String,
    /// The port of it; 0 takes any free one.
    pub port: u16,
    /// Public keys of circles to serve, beside those that were added with add_circle.
    pub public_keys: Vec<String>,
    /// Which scripts the runner of a circle executes. What is not sandboxed is no tenant's.
    pub circle_script_types: Vec<ScriptType>,
    /// Every call has to bring a secret, or a key that was proved to a circle.
    pub enable_auth: bool,
    /// Serve on other addresses than loopback although there is no secret.
    pub insecure_no_auth: bool,
    /// Secrets by scope; none at all: whoever reaches the port may do everything.
    pub secrets: Secrets,
    /// The Redis to keep jobs in. Absent: the one at redis://127.0.0.1:6379 if it answers, else a private one.
    pub redis_url: Option<RedisUrl>,
    /// Start a private Redis even if one answers at the default address.
    pub private_redis: bool,
    /// The folder of the private Redis. Absent: `hero` in the user's data folder.
    pub data_dir: Option<PathBuf>,
    /// How long the private Redis may take to load its data and answer, in milliseconds.
    pub redis_start_timeout_ms: u64,
    /// How long the private Redis may take to end, in milliseconds.
    pub redis_stop_timeout_ms: u64,
    /// Run an explorer too: other nodes are told to find this one, and each other, there.
    pub with_explorer: bool,
    /// The Mycelium daemon through which the node is called too, such as `http://127.0.0.1:8990`. Absent: it is not.
    pub mycelium_url: Option<String>,
    /// The topic that requests come in on there.
    pub topic: String,
    /// The admin port of the process.
    pub admin: AdminConfig,
    /// Logs, metrics and traces of the process.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
    /// The gateway's own settings; its addresses and what is set above are given to it.
    pub gateway: GatewayConfig,
    /// The supervisor's own settings; its addresses and what is set above are given to it.
    pub supervisor: SupervisorConfig,
    /// The runner's own settings; what is set above is given to it.
    pub runner: RunnerConfig,
    /// The explorer's own settings, where there is one; what is set above is given to it.
    pub explorer: ExplorerConfig,
    /// The Mycelium bridge's own settings; what is set above is given to it.
    pub mycelium_bridge: BridgeConfig,
    /// The message bus relay's own settings; there is one as soon as its `mnemonics` are set.
    pub msgbus_relay: RelayConfig,
}

impl Default for LauncherConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            public_keys: Vec::new(),
            circle_script_types: vec![ScriptType::Osis],
            enable_auth: false,
            insecure_no_auth: false,
            secrets: Secrets::default(),
            redis_url: None,
            private_redis: false,
            data_dir: None,
            redis_start_timeout_ms: 120_000,
            redis_stop_timeout_ms: 20_000,
            with_explorer: false,
            mycelium_url: None,
            topic: "supervisor.rpc".to_owned(),
            admin: AdminConfig::at(9080),
            // On a terminal the table at the start says what is on; a log line is for what needs attention.
            telemetry: TelemetryConfig { log_level: "warn".to_owned(), ..TelemetryConfig::default() },
            drain: DrainConfig { grace_ms: 10_000, ..DrainConfig::default() },
            gateway: GatewayConfig::default(),
            supervisor: SupervisorConfig::default(),
            runner: RunnerConfig::default(),
            explorer: ExplorerConfig::default(),
            mycelium_bridge: BridgeConfig::default(),
            msgbus_relay: RelayConfig::default(),
        }
    }
}

impl LauncherConfig {
    /// The services of this process call each other with a token of their own, which nobody else on this machine knows.
    #[must_use]
    pub(crate) fn with_token(mut self, token: &Secret) -> Self {
        for place in [
            &mut self.supervisor.grpc.token,
            &mut self.explorer.grpc.token,
            &mut self.gateway.channel.token,
            &mut self.mycelium_bridge.channel.token,
            &mut self.mycelium_bridge.grpc.token,
            &mut self.msgbus_relay.grpc.token,
            &mut self.msgbus_relay.rpc.channel.token,
        ] {
            place.clone_from(token);
        }
        self
    }

    /// The public address.
    pub(crate) fn listen(&self) -> Address {
        Address::Tcp { host: self.host.clone(), port: self.port }
    }

    /// The folder of the private Redis.
    pub(crate) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        let default = || dirs::data_dir().map(|folder| folder.join("hero"));
        self.data_dir.clone().or_else(default).context(
            "there is no data folder: this user has no home folder; name one with --data-dir, or a Redis with --redis-url",
        )
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            start: Duration::from_millis(self.redis_start_timeout_ms),
            stop: Duration::from_millis(self.redis_stop_timeout_ms),
        }
    }

    /// The supervisor of this node, on any free port.
    pub(crate) fn supervisor(&self, redis: &RedisUrl) -> SupervisorConfig {
        let mut config = self.supervisor.clone();
        config.listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config.secrets = self.secrets.clone();
        config.enable_auth |= self.enable_auth;
        config.circles.extend(self.public_keys.iter().cloned());
        config.node = self.node();
        // The bridge of this process is its own.
        config.mycelium_url = None;
        config
    }

    /// The node that this is to others, as soon as it is one: its key is in the data folder, and so is its socket.
    fn node(&self) -> NodeConfig {
        let mut node = self.supervisor.node.clone();
        if self.with_explorer {
            node.explorers.push(self.explorer.socket.to_string());
        }
        let is_node = !node.explorers.is_empty();
        if let (true, Ok(folder)) = (is_node, self.data_dir()) {
            node.socket = node.socket.or_else(|| Some(Address::Unix(folder.join("node.sock"))));
            node.folder = node.folder.or(Some(folder));
        }
        // The secrets of a fleet are the same: what opens this node opens its explorer.
        node.secret = node.secret.or_else(|| self.secrets.admin.first().cloned());
        self.name_twin(&mut node);
        node
    }

    /// What explorers are told of the twin whose relay runs here, unless the node's own settings say it.
    fn name_twin(&self, node: &mut NodeConfig) {
        let relay = &self.msgbus_relay;
        // A key that cannot be read is told by the relay itself.
        let Ok(key) = Key::from_secret(relay.key_type, relay.mnemonics.expose()) else { return };
        if node.twin_id.is_some() || relay.twin == 0 {
            return;
        }
        node.twin_id = Some(relay.twin.into());
        node.twin_key = hex::encode(key.public());
        // One that listens on every address is reached where the node is.
        if let Address::Tcp { host, port } = &relay.listen
            && let Ok(ip) = host.parse::<IpAddr>()
            && !ip.is_unspecified()
            && *port != 0
            && node.twin_address.is_empty()
        {
            node.twin_address = SocketAddr::new(ip, *port).to_string();
        }
    }

    /// The message bus relay of this node, if there is to be one.
    pub(crate) fn relay(&self, supervisor: &Address, redis: &RedisUrl) -> Option<RelayConfig> {
        let mut config = self.msgbus_relay.clone();
        if config.mnemonics.is_empty() {
            return None;
        }
        if config.substrate.is_empty() && self.with_explorer {
            config.substrate = format!("explorer:{}", self.explorer.socket);
        }
        config.grpc_listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config.rpc.supervisor = supervisor.clone();
        Some(config)
    }

    /// The explorer of this node.
    pub(crate) fn explorer(&self, redis: &RedisUrl, bridge: Option<&Address>) -> ExplorerConfig {
        let mut config = self.explorer.clone();
        config.mycelium_bridge = bridge.cloned().or(config.mycelium_bridge);
        config.listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config.secrets = self.secrets.clone();
        config.insecure_no_auth |= self.insecure_no_auth;
        config.calls.secret = config.calls.secret.or_else(|| self.secrets.admin.first().cloned());
        config
    }

    /// What is given to the supervisor counts when its settings are checked.
    fn supervisor_as_it_will_be(&self) -> SupervisorConfig {
        SupervisorConfig { secrets: self.secrets.clone(), node: self.node(), ..self.supervisor.clone() }
    }

    /// The gateway of this node, before the supervisor that has been bound, and the bridge and the relay if there are.
    pub(crate) fn gateway(
        &self,
        supervisor: &Address,
        bridge: Option<&Address>,
        relay: Option<&Address>,
    ) -> GatewayConfig {
        let mut config = self.gateway.clone();
        config.mycelium_bridge = bridge.cloned().or(config.mycelium_bridge);
        config.listen = self.listen();
        config.supervisor = supervisor.clone();
        config.msgbus_relay = relay.cloned().or(config.msgbus_relay);
        config.insecure_no_auth |= self.insecure_no_auth;
        config
    }

    /// The runner of this node.
    pub(crate) fn runner(&self, redis: &RedisUrl) -> RunnerConfig {
        let mut config = self.runner.clone();
        config.listen = Address::loopback(0);
        config.redis.url = redis.clone();
        config
    }

    /// The runner of a circle of this node, but for the circle.
    pub(crate) fn circle_runner(&self, redis: &RedisUrl) -> RunnerConfig {
        // Two runners must not share an id, so each gets one of its own.
        let script_types = self.circle_script_types.clone();
        RunnerConfig { id: String::new(), script_types, ..self.runner(redis) }
    }

    /// The Mycelium bridge of this node, if there is to be one.
    pub(crate) fn bridge(&self, supervisor: &Address, redis: &RedisUrl) -> Option<BridgeConfig> {
        let mut config = self.mycelium_bridge.clone();
        config.mycelium_url = self.mycelium_url.clone()?;
        config.topic = self.topic.clone();
        config.listen = Address::loopback(0);
        config.supervisor = supervisor.clone();
        config.redis.url = redis.clone();
        Some(config)
    }

    /// What the runner runs, for people.
    pub(crate) fn runner_in_words(&self, offered: &[ScriptType]) -> String {
        let words: Vec<String> = offered
            .iter()
            .map(|script_type| format!("{script_type} ({} at once)", self.runner.slots(*script_type)))
            .collect();
        words.join(", ")
    }

    /// A key that is none is named at the start, rather than missed at the first call.
    fn validate_circles(&self) -> Result<(), Invalid> {
        for key in &self.public_keys {
            PublicKey::parse(key).map_err(|error| Invalid::new("public_keys", error.message()))?;
        }
        ensure(
            !self.circle_script_types.is_empty(),
            "circle_script_types",
            "name at least one, for example [\"OSIS\"]",
        )
    }

    fn validate_auth(&self) -> Result<(), Invalid> {
        let has_secret = !self.secrets.is_empty();
        ensure(
            has_secret || !self.enable_auth || !self.public_keys.is_empty(),
            "enable_auth",
            "nobody could bring anything: add --admin-secret or --user-secret, or a circle (-k) to log in to",
        )?;
        ensure(
            has_secret || self.enable_auth || self.insecure_no_auth || self.listen().is_local(),
            "host",
            "other machines could run scripts here without a secret; add --admin-secret, or say \
             --insecure-no-auth if that is wanted",
        )
    }

    /// The process has one admin port, one telemetry and one way to stop: those at the top.
    fn validate_sections(&self) -> Result<(), Invalid> {
        let sections: [(&str, &dyn Chassis, &dyn Chassis); 6] = [
            ("gateway", &self.gateway, &GatewayConfig::default()),
            ("supervisor", &self.supervisor, &SupervisorConfig::default()),
            ("runner", &self.runner, &RunnerConfig::default()),
            ("explorer", &self.explorer, &ExplorerConfig::default()),
            ("mycelium_bridge", &self.mycelium_bridge, &BridgeConfig::default()),
            ("msgbus_relay", &self.msgbus_relay, &RelayConfig::default()),
        ];
        for (section, given, default) in sections {
            for (name, same) in [
                ("admin", given.admin() == default.admin()),
                ("telemetry", given.telemetry() == default.telemetry()),
                ("drain", given.drain() == default.drain()),
            ] {
                let words = format!("the launcher has one for the whole process; set [{name}] instead");
                ensure(same, &format!("{section}.{name}"), words)?;
            }
        }
        Ok(())
    }
}

impl Chassis for LauncherConfig {
    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn drain(&self) -> &DrainConfig {
        &self.drain
    }
}

impl Validate for LauncherConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_circles()?;
        self.validate_auth()?;
        ensure(self.redis_start_timeout_ms > 0, "redis_start_timeout_ms", "it must be more than 0")?;
        ensure(self.redis_stop_timeout_ms > 0, "redis_stop_timeout_ms", "it must be more than 0")?;
        self.validate_sections()?;
        self.gateway.validate().map_err(|invalid| invalid.within("gateway"))?;
        self.supervisor_as_it_will_be().validate().map_err(|invalid| invalid.within("supervisor"))?;
        self.explorer.validate().map_err(|invalid| invalid.within("explorer"))?;
        self.runner.validate().map_err(|invalid| invalid.within("runner"))?;
        self.msgbus_relay.validate().map_err(|invalid| invalid.within("msgbus_relay"))?;
        if let Some(bridge) = self.bridge(&self.listen(), &RedisUrl::default()) {
            // These two stand at the top here.
            let place = |invalid: Invalid| match invalid.key.as_str() {
                "mycelium_url" | "topic" => invalid,
                _ => invalid.within("mycelium_bridge"),
            };
            bridge.validate().map_err(place)?;
        }
        self.validate_chassis()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hero_config::{Overrides, Source, Validate, load_with};
    use hero_msgbus_relay::key::KeyType;

    use super::LauncherConfig;

    const EXAMPLE: &str = include_str!("../config.example.toml");
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn load(env: &[(&str, &str)], overrides: Overrides) -> Result<LauncherConfig, String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_with(Source { service: "launcher", file: Some(&file), env, aliases: &[], overrides })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_the_default_and_shows_every_setting_of_the_process() {
        let example = load(&[], Overrides::new()).unwrap();
        assert_eq!(
            hero_config::print(&example).unwrap(),
            hero_config::print(&LauncherConfig::default()).unwrap()
        );
        let text = hero_config::print(&LauncherConfig {
            redis_url: Some("unix:///x".parse().unwrap()),
            data_dir: Some("/x".into()),
            mycelium_url: Some("http://x".into()),
            ..LauncherConfig::default()
        });
        for line in text.unwrap().lines().take_while(|line| !line.starts_with("[gateway")) {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            let shown =
                EXAMPLE.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(shown, "{key} is not in the example");
        }
    }

    #[test]
    fn the_services_settings_are_reached_through_their_sections() {
        let env = [
            ("HERO_LAUNCHER__RUNNER__PYTHON__SLOTS", "7"),
            ("HERO_LAUNCHER__GATEWAY__LIMITS__MAX_CALLS", "9"),
        ];
        let config = load(&env, Overrides::new()).unwrap();
        assert_eq!((config.runner.python.slots, config.gateway.limits.max_calls), (7, 9));
        let error = load(&[("HERO_LAUNCHER__RUNNER__LEASE", "1")], Overrides::new()).unwrap_err();
        assert!(error.contains("runner.lease"), "{error}");
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let refused = |change: fn(&mut LauncherConfig)| {
            let mut config = LauncherConfig::default();
            change(&mut config);
            let invalid = config.validate().unwrap_err();
            (invalid.key, invalid.message)
        };
        let (key, message) = refused(|config| config.public_keys = vec![KEY.into(), "05".into()]);
        assert!(key == "public_keys" && message.contains("`05`"), "{message}");
        let not_on_curve = refused(|config| config.public_keys = vec![format!("02{}5", "0".repeat(63))]);
        assert!(not_on_curve.0 == "public_keys" && not_on_curve.1.contains("not on secp256k1"));
        assert_eq!(refused(|config| config.circle_script_types = vec![]).0, "circle_script_types");
        assert_eq!(refused(|config| config.enable_auth = true).0, "enable_auth");
        assert_eq!(refused(|config| config.host = "0.0.0.0".into()).0, "host");
        assert_eq!(refused(|config| config.redis_start_timeout_ms = 0).0, "redis_start_timeout_ms");
        assert_eq!(
            refused(|config| config.supervisor.admin.listen = "tcp://127.0.0.1:1".parse().unwrap()).0,
            "supervisor.admin"
        );
        assert_eq!(refused(|config| config.gateway.limits.max_calls = 0).0, "gateway.limits.max_calls");
    }

    #[test]
    fn circles_with_auth_need_no_secret() {
        let config =
            LauncherConfig { public_keys: vec![KEY.into()], enable_auth: true, ..LauncherConfig::default() };
        config.validate().unwrap();
        let supervisor = config.supervisor(&"unix:///x".parse().unwrap());
        assert!(supervisor.enable_auth && supervisor.circles == [KEY]);
    }

    #[test]
    fn a_relay_is_there_with_its_key_and_the_node_tells_of_its_twin() {
        let url = "unix:///x".parse().unwrap();
        let mut config = LauncherConfig { with_explorer: true, ..LauncherConfig::default() };
        assert!(config.relay(&config.listen(), &url).is_none());
        config.msgbus_relay.mnemonics = "01".repeat(32).as_str().into();
        config.msgbus_relay.key_type = KeyType::Ed25519;
        config.msgbus_relay.twin = 1001;
        config.validate().unwrap();
        let relay = config.relay(&config.listen(), &url).unwrap();
        assert_eq!(relay.substrate, format!("explorer:{}", config.explorer.socket));
        assert_eq!((relay.redis.url, relay.rpc.supervisor), (url.clone(), config.listen()));
        let node = config.supervisor(&url).node;
        let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
        assert_eq!((node.twin_id, node.twin_key.as_str(), node.twin_address.as_str()), (Some(1001), key, ""));
        config.msgbus_relay.listen = "tcp://[::1]:8052".parse().unwrap();
        assert_eq!(config.supervisor(&url).node.twin_address, "[::1]:8052");
        config.supervisor.node.twin_id = Some(7);
        assert_eq!(config.supervisor(&url).node.twin_key, "");
    }

    #[test]
    fn a_secret_opens_what_its_absence_closes() {
        let mut config =
            LauncherConfig { host: "0.0.0.0".into(), enable_auth: true, ..LauncherConfig::default() };
        config.secrets.user = vec!["s".into()];
        config.validate().unwrap();
        let url = "unix:///x".parse().unwrap();
        assert_eq!(config.supervisor(&url).secrets, config.secrets);
        let config =
            LauncherConfig { host: "::".into(), insecure_no_auth: true, ..LauncherConfig::default() };
        config.validate().unwrap();
        assert!(config.gateway(&config.listen(), None, None).insecure_no_auth);
    }
}
