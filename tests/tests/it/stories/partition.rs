//! An explorer and two nodes, each on a machine of its own: a cable is pulled and plugged in again, the explorer and a node
//! are restarted, a machine gets another address.

use std::{net::SocketAddr, path::Path};

use hero_client::{Client, NodeFilter, NodeState, NodeTarget, Options, Reason, RunJob, ScriptType};
use hero_testing::{RedisServer, eventually};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cluster::PATIENCE,
    network::{Cable, Spaces, loopback},
    process::{Process, Start},
};

/// Where a process runs, and what it is told.
struct Machine {
    space: Option<String>,
    /// Where it listens.
    tcp: String,
    /// What it tells others to call; none: it finds out itself.
    advertise: Option<String>,
    /// Where it finds the explorer.
    explorer: String,
}

/// The three machines, and the cable of the last one.
enum World {
    Spaces(Spaces),
    Cables([Cable; 2]),
}

const EXPLORER_PORT: u16 = 9002;

async fn machines() -> (World, [Machine; 3]) {
    match Spaces::new() {
        Some(mut spaces) => {
            let machines = ["10.77.0.1", "10.77.0.2", "10.77.0.3"].map(|address| Machine {
                space: Some(spaces.machine(address)),
                tcp: format!("0.0.0.0:{EXPLORER_PORT}"),
                advertise: None,
                explorer: format!("tcp://10.77.0.1:{EXPLORER_PORT}"),
            });
            (World::Spaces(spaces), machines)
        }
        None => {
            let [explorer, kitchen, cellar] = [2, 3, 4].map(loopback);
            let (to_explorer, to_cellar) = (Cable::to(explorer).await, Cable::to(cellar).await);
            let machine = |tcp: SocketAddr, advertise: SocketAddr, explorer: SocketAddr| Machine {
                space: None,
                tcp: tcp.to_string(),
                advertise: Some(format!("tcp://{advertise}")),
                explorer: format!("tcp://{explorer}"),
            };
            let machines = [
                machine(explorer, explorer, explorer),
                machine(kitchen, kitchen, explorer),
                machine(cellar, to_cellar.address, to_explorer.address),
            ];
            (World::Cables([to_explorer, to_cellar]), machines)
        }
    }
}

impl World {
    fn set_plugged(&self, machine: &Machine, is_plugged: bool) {
        match self {
            Self::Spaces(spaces) => {
                spaces.set_plugged(machine.space.as_deref().expect("a namespace"), is_plugged);
            }
            Self::Cables(cables) => cables.iter().for_each(|cable| cable.set_plugged(is_plugged)),
        }
    }

    /// Moves a machine elsewhere.
    fn move_away(&self, machine: &mut Machine) {
        match self {
            Self::Spaces(spaces) => {
                spaces.move_to(machine.space.as_deref().expect("a namespace"), "10.77.0.33");
            }
            Self::Cables(_) => {
                let tcp = loopback(5);
                (machine.tcp, machine.advertise) = (tcp.to_string(), Some(format!("tcp://{tcp}")));
            }
        }
    }
}

fn on(machine: &Machine, start: Start) -> Process {
    match &machine.space {
        Some(space) => start.inside(space).run(),
        None => start.run(),
    }
}

fn explorer(machine: &Machine, redis: &RedisServer, folder: &Path) -> Process {
    let socket = format!("unix://{}", folder.join("explorer.sock").display());
    let settings = [
        ("SOCKET", socket.as_str()),
        ("LISTEN", "tcp://127.0.0.1:0"),
        ("REDIS__URL", &redis.url()),
        ("SECRETS__ADMIN", "s3cret"),
        ("CALLS__SECRET", "s3cret"),
        ("CALLS__LINES__CONNECT_TIMEOUT_MS", "500"),
        ("CALLS__LINES__BREAKER_PAUSE_MS", "200"),
        ("HEARTBEATS__JUDGE_INTERVAL_MS", "50"),
        ("HEARTBEATS__SAVE_INTERVAL_MS", "50"),
    ];
    on(machine, Start::service("explorer", &settings).env("EXPLORER_TCP_ADDR", &machine.tcp))
}

/// A whole node. It is asked over its unix socket, which is a file and so reached from anywhere.
fn node(machine: &Machine, folder: &Path, id: &str) -> (Process, Client) {
    let data = folder.join(id);
    let advertise = machine.advertise.clone().unwrap_or_default();
    let mut settings = vec![
        ("PORT", "0"),
        ("SUPERVISOR__NODE__ID", id),
        ("SUPERVISOR__NODE__INTERVAL_MS", "200"),
        ("SUPERVISOR__NODE__LINES__CONNECT_TIMEOUT_MS", "500"),
        ("SUPERVISOR__NODE__LINES__BREAKER_PAUSE_MS", "200"),
    ];
    if !advertise.is_empty() {
        settings.push(("SUPERVISOR__NODE__ADVERTISE", &advertise));
    }
    let start = Start::service("launcher", &settings)
        .env("EXPLORER_ADDRESSES", &machine.explorer)
        .env("NODE_TCP_ADDR", &machine.tcp)
        .args(&["--private-redis", "--data-dir", data.to_str().expect("text"), "--admin-secret", "s3cret"]);
    let socket = format!("unix://{}", data.join("node.sock").display());
    let options = Options { retries: 0, ..Options::default() };
    let client = Client::builder(socket).options(options).build().expect("an address");
    (on(machine, start), client)
}

async fn is_in_state(client: &Client, id: &str, state: NodeState) {
    eventually(&format!("{id} is {}", state.as_str()), PATIENCE, async || {
        let page = client.list_nodes(&NodeFilter { state: Some(state), ..NodeFilter::default() }).await;
        page.is_ok_and(|page| page.nodes.iter().any(|node| node.beat.node_id.as_str() == id))
    })
    .await;
}

async fn who_is(client: &Client, id: &str) -> hero_client::Result<String> {
    let node = NodeTarget::Id(id.parse().expect("an id"));
    let info: Value = client.call_node(&node, "node_info", Value::Null).await?;
    Ok(info["node_id"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_cut_off_come_back_restart_and_move() {
    let (redis, folder) = (RedisServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (world, [at_explorer, at_kitchen, mut at_cellar]) = machines().await;
    let mut first = explorer(&at_explorer, &redis, folder.path());
    let (mut kitchen, here) = node(&at_kitchen, folder.path(), "kitchen");
    let (mut cellar, there) = node(&at_cellar, folder.path(), "cellar");
    for (process, id) in [(&mut kitchen, "kitchen"), (&mut cellar, "cellar")] {
        process.says("is ready").await;
        is_in_state(&here, id, NodeState::Alive).await;
    }
    assert_eq!(who_is(&here, "cellar").await.unwrap(), "cellar");
    assert_eq!(who_is(&there, "kitchen").await.unwrap(), "kitchen");

    // Cut off: told as such, and each goes on with its own work.
    world.set_plugged(&at_cellar, false);
    is_in_state(&here, "cellar", NodeState::Dead).await;
    let gone = who_is(&here, "cellar").await.unwrap_err();
    assert!(matches!(gone.reason(), Some(Reason::NodeUnavailable | Reason::NodeTimeout)), "{gone}");
    assert_eq!(there.run_job(&RunJob::new(ScriptType::Osis, "40 + 2")).await.unwrap(), "42");

    // Healed, by itself.
    world.set_plugged(&at_cellar, true);
    is_in_state(&here, "cellar", NodeState::Alive).await;
    eventually("calls get through", PATIENCE, async || who_is(&here, "cellar").await.is_ok()).await;
    eventually("that is on record", PATIENCE, async || {
        let known = here.get_node(&"cellar".parse().unwrap()).await;
        known.is_ok_and(|node| node.history.iter().any(|it| it.why.starts_with("heard of again")))
    })
    .await;

    // The explorer is restarted, and knows them.
    first.signal(Signal::KILL);
    first.exit().await;
    let second = explorer(&at_explorer, &redis, folder.path());
    for id in ["kitchen", "cellar"] {
        is_in_state(&here, id, NodeState::Alive).await;
    }
    eventually("calls get through", PATIENCE, async || who_is(&here, "cellar").await.is_ok()).await;

    // The node comes back elsewhere, with its key.
    cellar.signal(Signal::KILL);
    cellar.exit().await;
    world.move_away(&mut at_cellar);
    let (cellar, _) = node(&at_cellar, folder.path(), "cellar");
    eventually("it is called where it is now", PATIENCE, async || {
        let known = here.get_node(&"cellar".parse().unwrap()).await;
        let is_new = known.is_ok_and(|node| node.history.first().is_some_and(|it| it.why == "started again"));
        is_new && who_is(&here, "cellar").await.is_ok()
    })
    .await;
    for mut process in [kitchen, cellar, second] {
        process.signal(Signal::INT);
        assert_eq!(process.exit().await.code(), Some(0), "{}", process.said());
    }
}
