//! Heartbeats: made once for all explorers, sent to each at its own pace.

use std::{
    net::{IpAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hero_domain::{
    Caller, Heartbeat, Machine, Node, NodeId, NodeState, RunnerState, Standing, Timestamp,
    ports::Overlay as _,
};
use hero_proto::GrpcOverlay;
use hero_runtime::{Address, Shutdown, VERSION, listen::Peers};
use hero_store::{JobStore as _, Store};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{
    config::NodeConfig,
    identity::{Identity, now_ms},
    machine::Look,
};

/// The longest pause before an explorer that does not answer is told again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How long the bridge may take to say where this node is in the overlay.
const BRIDGE_TIMEOUT: Duration = Duration::from_millis(500);

/// What the node has said last, as a line for explorers.
pub(crate) type Pulse = watch::Receiver<Option<Arc<Beat>>>;

/// A heartbeat in both its forms.
pub(crate) struct Beat {
    pub(crate) node: Node,
    line: String,
}

/// Makes heartbeats.
pub(crate) struct Heart {
    identity: Identity,
    id: NodeId,
    config: NodeConfig,
    addresses: Vec<Address>,
    explorers: Vec<Address>,
    store: Store,
    folder: PathBuf,
    look: Mutex<Look>,
    /// None: this node has no bridge.
    overlay: Option<GrpcOverlay>,
    told: watch::Sender<Option<Arc<Beat>>>,
}

#[derive(serde::Serialize)]
struct Params<'a> {
    beat: &'a RawValue,
    public_key: &'a str,
    signature: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl Heart {
    /// The heart of the node whose key is in `folder`; `addresses` are those that it serves.
    pub(crate) fn new(
        config: &NodeConfig,
        folder: PathBuf,
        addresses: Vec<Address>,
        store: Store,
        overlay: Option<GrpcOverlay>,
    ) -> anyhow::Result<(Self, Pulse)> {
        let identity = Identity::in_folder(&folder)?;
        let id = config.id.clone().map_or_else(|| identity.id(), Ok)?;
        let addresses = if config.advertise.is_empty() { addresses } else { config.advertise.clone() };
        let (told, pulse) = watch::channel(None);
        let (config, look) = (config.clone(), Mutex::default());
        let explorers = config.explorers();
        Ok((Self { identity, id, config, addresses, explorers, store, folder, look, overlay, told }, pulse))
    }

    /// Beats until the shutdown.
    pub(crate) async fn beat(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut counter = 0;
        let mut pause = tokio::time::interval(Duration::from_millis(self.config.interval_ms));
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = pause.tick() => {}
                () = shutdown.draining() => return Ok(()),
            }
            counter += 1;
            let beat = self.next(counter).await;
            let text = serde_json::to_string(&beat)?;
            let raw: &RawValue = serde_json::from_str(&text)?;
            let signature = self.identity.sign(&text);
            let secret = self.config.secret.as_ref().map(hero_config::Secret::expose);
            let public_key = &self.identity.public_key;
            let params = Params { beat: raw, public_key, signature: &signature, secret };
            let params = serde_json::to_string(&params)?;
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"heartbeat","params":{params}}}"#);
            let now = Timestamp::from_millis(i64::try_from(beat.sent_at_ms).unwrap_or(i64::MAX));
            let node = Node {
                beat,
                state: NodeState::Alive,
                standing: Standing::Known,
                public_key: Some(public_key.clone()),
                first_seen: now,
                last_seen: now,
                twin_since: None,
                history: Vec::new(),
            };
            self.told.send_replace(Some(Arc::new(Beat { node, line })));
        }
    }

    /// What there is to say. What Redis does not tell now is left empty, so that explorers keep what they know.
    async fn next(&self, counter: u64) -> Heartbeat {
        let runners = self.store.runners().await.unwrap_or_default();
        let alive = || runners.iter().filter(|runner| runner.state == RunnerState::Alive);
        let mut script_types: Vec<_> = alive().flat_map(|runner| runner.script_types.clone()).collect();
        script_types.sort_unstable_by_key(|it| it.as_str());
        script_types.dedup();
        let mut circles: Vec<_> = alive().flat_map(|runner| runner.circles.clone()).collect();
        circles.sort_unstable();
        circles.dedup();
        let mut queues = std::collections::BTreeMap::new();
        for depth in self.store.queue_depths().await.unwrap_or_default() {
            if depth.waiting > 0 {
                *queues.entry(depth.script_type.as_str().to_owned()).or_insert(0) += depth.waiting;
            }
        }
        let (overlay_ip, overlay_key) = self.in_overlay().await;
        let mut addresses = self.addresses();
        if !overlay_key.is_empty() {
            // The last that is tried: it is the slowest way.
            addresses.push(format!("mycelium://{overlay_key}"));
        }
        let host = || gethostname::gethostname().to_string_lossy().into_owned();
        Heartbeat {
            node_id: self.id.clone(),
            name: if self.config.name.is_empty() { host() } else { self.config.name.clone() },
            addresses,
            labels: self.config.labels.clone(),
            runners: u32::try_from(alive().count()).unwrap_or(u32::MAX),
            slots: alive().map(|runner| runner.slots).sum(),
            busy: alive().map(|runner| runner.busy).sum(),
            script_types,
            circles,
            queues,
            machine: self.machine(),
            version: VERSION.to_owned(),
            overlay_ip,
            overlay_key,
            twin_id: self.config.twin_id,
            twin_key: self.config.twin_key.clone(),
            twin_address: self.config.twin_address.clone(),
            started_at_ms: self.identity.started_at_ms,
            counter,
            sent_at_ms: now_ms().max(self.identity.started_at_ms),
            interval_ms: self.config.interval_ms,
        }
    }

    /// Its address and its key in the overlay, empty while nobody knows: no heartbeat waits for the bridge.
    async fn in_overlay(&self) -> (String, String) {
        let Some(overlay) = &self.overlay else { return Default::default() };
        let caller = Caller::local();
        let asked = tokio::time::timeout(BRIDGE_TIMEOUT, overlay.status(&caller, None));
        match asked.await {
            Ok(Ok(own)) => (own.ip.map(|ip| ip.to_string()).unwrap_or_default(), own.public_key.to_string()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the place in the overlay is not known now");
                Default::default()
            }
            Err(_) => Default::default(),
        }
    }

    fn machine(&self) -> Machine {
        self.look.lock().take(&self.folder)
    }

    /// Where it can be called. A socket on every address is told by the one that leads to the first explorer.
    fn addresses(&self) -> Vec<String> {
        let towards = || self.explorers.iter().find_map(own_ip_towards);
        let told = |address: &Address| match address {
            Address::Tcp { host, port } if is_every(host) => {
                towards().map(|ip| Address::Tcp { host: ip.to_string(), port: *port })
            }
            Address::Tls { host, port } if is_every(host) => {
                towards().map(|ip| Address::Tls { host: ip.to_string(), port: *port })
            }
            address => Some(address.clone()),
        };
        self.addresses.iter().filter_map(told).map(|address| address.to_string()).collect()
    }
}

fn is_every(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// The address of this machine by which it reaches another; nothing is sent.
fn own_ip_towards(explorer: &Address) -> Option<IpAddr> {
    let (Address::Tcp { host, port } | Address::Tls { host, port }) = explorer else { return None };
    let every = if host.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(every).ok()?;
    socket.connect((host.as_str(), *port)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Tells one explorer what the node says, until the shutdown. One that is away is told again with growing pauses.
pub(crate) async fn tell(
    explorer: Address,
    peers: Peers,
    mut pulse: Pulse,
    interval: Duration,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut backoff = Duration::ZERO;
    loop {
        tokio::select! {
            changed = pulse.changed() => if changed.is_err() { return Ok(()) },
            () = shutdown.draining() => return Ok(()),
        }
        let Some(beat) = pulse.borrow_and_update().clone() else { continue };
        let answered = peers.ask(&explorer, &beat.line, interval.max(Duration::from_secs(5))).await;
        let refusal = match &answered {
            Ok(answer) => refusal(answer),
            Err(error) => Some(error.to_string()),
        };
        match refusal {
            None if backoff.is_zero() => {}
            None => {
                tracing::info!(%explorer, "an explorer hears this node again");
                backoff = Duration::ZERO;
            }
            Some(why) => {
                if backoff.is_zero() {
                    tracing::warn!(%explorer, why, "an explorer does not hear this node");
                }
                backoff = (backoff * 2).clamp(interval, LONGEST_BACKOFF.max(interval));
                tokio::select! {
                    () = tokio::time::sleep(backoff.saturating_sub(interval)) => {}
                    () = shutdown.draining() => return Ok(()),
                }
            }
        }
    }
}

/// Why a heartbeat was not taken. One that came to an explorer by way of another was.
fn refusal(answer: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let error = answer.get("error")?;
    let is_known = error["data"]["reason"] == "HEARTBEAT_REPLAYED";
    (!is_known).then(|| error["message"].as_str().unwrap_or("it gives no reason").to_owned())
}
