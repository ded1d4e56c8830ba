//! Two nodes of the Mycelium overlay: a Hero node behind one daemon, a caller behind the other.
//!
//! ```sh
//! cargo run -p hero-launcher --example mycelium_two_node
//! cargo run -p hero-launcher --example mycelium_two_node -- /usr/local/bin/mycelium
//! ```
//!
//! With the path of a `mycelium` it starts two real daemons, peered over loopback and without a TUN device; without
//! one the daemons of the tests, which do what the real ones do, in memory.
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use hero_client::{
    Client, Destination, RunJob, ScriptType,
    mycelium::{Daemon, DaemonOptions},
};
use hero_launcher::{LauncherConfig, Node};
use hero_runtime::{Context, Service as _, Shutdown};
use hero_testing::mycelium::{FakeDaemon, FakeOverlay};
use tokio::process::{Child, Command};

/// Two daemons that know each other; they end with this.
struct Daemons {
    here: Daemon,
    there: Daemon,
    _real: Vec<Child>,
    _made_up: Vec<FakeDaemon>,
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A real daemon, its API and its peer address.
fn start(
    binary: &Path,
    folder: &Path,
    name: &str,
    peers: &[String],
) -> anyhow::Result<(Child, String, String)> {
    let (tcp, rpc, rest) = (free_port()?, free_port()?, free_port()?);
    let mut command = Command::new(binary);
    command
        .args(["--no-tun", "--disable-peer-discovery", "--disable-quic", "--silent"])
        .arg("--key-file")
        .arg(folder.join(name))
        .args(["--tcp-listen-port", &tcp.to_string()])
        .args(["--jsonrpc-addr", &format!("127.0.0.1:{rpc}"), "--api-addr", &format!("127.0.0.1:{rest}")]);
    if !peers.is_empty() {
        command.arg("--peers").args(peers);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    Ok((child, format!("http://127.0.0.1:{rpc}"), format!("tcp://127.0.0.1:{tcp}")))
}

async fn daemons(folder: &Path) -> anyhow::Result<Daemons> {
    let (mut real, mut made_up) = (Vec::new(), Vec::new());
    let urls = if let Some(binary) = std::env::args_os().nth(1) {
        let (child, there, peer) = start(Path::new(&binary), folder, "there", &[])?;
        let (other, here, _) = start(Path::new(&binary), folder, "here", &[peer])?;
        real.extend([child, other]);
        [here, there]
    } else {
        let overlay = FakeOverlay::new();
        made_up.extend([overlay.daemon().await?, overlay.daemon().await?]);
        [made_up[0].url(), made_up[1].url()]
    };
    let [here, there] = urls.map(|url| Daemon::new(&url, DaemonOptions::default()));
    Ok(Daemons { here: here?, there: there?, _real: real, _made_up: made_up })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemons = daemons(folder.path()).await?;
    let mut config = LauncherConfig {
        port: 0,
        private_redis: true,
        data_dir: Some(folder.path().join("data")),
        mycelium_url: Some(daemons.there.url().to_owned()),
        ..LauncherConfig::default()
    };
    config.secrets.user = vec!["user123".into()];
    let drain = config.drain;
    let cx = Context::detached();
    let node = Node::bind(config, &cx).await?;
    let (trigger, shutdown) = Shutdown::new(drain);
    let running = tokio::spawn(node.run(shutdown));
    let ready = tokio::time::timeout(Duration::from_secs(60), cx.health.ready()).await;
    ready.with_context(|| format!("the node is not ready: {:?}", cx.health.report()))?;
    let there = daemons.there.info().await?;
    println!("a node runs behind the daemon {}, node {}", daemons.there.url(), there.node_pubkey);

    let to = Destination::Pk(there.node_pubkey);
    let client = Client::over_mycelium(daemons.here.url(), to).secret("user123").build()?;
    println!("called over {}: {}", client.address(), client.whoami().await?);
    println!("40 + 2 is {}", client.run_job(&RunJob::new(ScriptType::Osis, "40 + 2")).await?);
    trigger.drain().await;
    running.await?
}
