//! An explorer, a client that speaks lines, and nodes that sign.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hero_explorer::{Explorer, ExplorerConfig};
use hero_redis::RedisConfig;
use hero_runtime::{
    Address, Context, DrainConfig, Service as _, Shutdown, ShutdownTrigger,
    listen::{Connector, LinesConfig, Peers},
    run_service,
};
use hero_testing::RedisServer;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The longest that a test waits for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running explorer.
pub(crate) struct World {
    pub(crate) unix: Address,
    pub(crate) tcp: Address,
    pub(crate) grpc: Address,
    peers: Peers,
    trigger: ShutdownTrigger,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(crate) async fn over(
        redis: &RedisServer,
        folder: &TempDir,
        set: impl FnOnce(&mut ExplorerConfig),
    ) -> Self {
        let mut config = ExplorerConfig {
            socket: Address::Unix(folder.path().join("explorer.sock")),
            tcp: Some(Address::loopback(0)),
            listen: Address::loopback(0),
            redis: RedisConfig::at(redis.url().parse().unwrap()),
            drain: DrainConfig { drain_delay_ms: 0, grace_ms: 5_000 },
            ..ExplorerConfig::default()
        };
        config.heartbeats.judge_interval_ms = 20;
        config.heartbeats.save_interval_ms = 20;
        set(&mut config);
        let peers = Peers::new(Connector::new(&config.calls.tls).unwrap(), LinesConfig::default());
        let (trigger, shutdown) = Shutdown::new(config.drain);
        let cx = Context::detached();
        let explorer = Explorer::bind(config, &cx).await.unwrap();
        let address = |name: &str| explorer.addresses().get(name).unwrap().clone();
        let (unix, tcp, grpc) = (address("unix"), address("tcp"), address("grpc"));
        let task = tokio::spawn(run_service(explorer, shutdown));
        tokio::time::timeout(PATIENCE, cx.health.ready()).await.expect("it is ready");
        Self { unix, tcp, grpc, peers, trigger, task }
    }

    pub(crate) async fn stop(self) {
        self.trigger.stop();
        self.task.await.unwrap().unwrap();
    }

    /// A call over raw lines.
    pub(crate) async fn call(&self, at: &Address, method: &str, params: Value) -> Value {
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        self.send(at, &line).await
    }

    pub(crate) async fn send(&self, at: &Address, line: &str) -> Value {
        let answer =
            self.peers.ask(at, line, PATIENCE).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) async fn ok(&self, at: &Address, method: &str, params: Value) -> Value {
        let mut answer = self.call(at, method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The reason of a failure.
    pub(crate) async fn fault(&self, at: &Address, method: &str, params: Value) -> String {
        let answer = self.call(at, method, params).await;
        answer["error"]["data"]["reason"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub(crate) async fn state_of(&self, node: &str) -> String {
        let node = self.call(&self.unix, "get_node", json!([node])).await;
        node["result"]["state"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A node that has a key.
pub(crate) struct Signer {
    key: Ed25519KeyPair,
    pub(crate) id: String,
    started_at: u64,
    counter: AtomicU64,
}

impl Signer {
    pub(crate) fn new(id: &str, seed: u8) -> Self {
        Self {
            key: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            id: id.to_owned(),
            started_at: now_ms(),
            counter: AtomicU64::new(0),
        }
    }

    /// What it says next; `more` is laid over it.
    pub(crate) fn beat(&self, more: Value) -> Value {
        let mut beat = json!({
            "node_id": self.id, "started_at_ms": self.started_at, "sent_at_ms": now_ms(), "interval_ms": 200,
            "counter": self.counter.fetch_add(1, Ordering::Relaxed) + 1, "slots": 2, "script_types": ["Python"],
        });
        beat.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        beat
    }

    /// The same, signed, as a line.
    pub(crate) fn line(&self, more: Value) -> String {
        self.sign(&self.beat(more).to_string())
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = hex(self.key.public_key().as_ref());
        let signature = hex(self.key.sign(text.as_bytes()).as_ref());
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"heartbeat","params":{{"beat":{text},"public_key":"{key}","signature":"{signature}"}}}}"#
        )
    }
}

pub(crate) fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap_or("none")
}
