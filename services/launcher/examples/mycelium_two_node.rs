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

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use hero_client::{
    Client, Destination, RunJob, ScriptType,
    mycelium::{Daemon, DaemonOptions},
};
use hero_launcher::{LauncherConfig, Node};
use hero_runtime::{Context, Service as _, Shutdown};
use hero_testing::mycelium::{FakeDaemon, FakeOverlay, RealDaemon};

/// Two daemons that know each other; they end with this.
struct Daemons {
    here: Daemon,
    there: Daemon,
    _real: Vec<RealDaemon>,
    _made_up: Vec<FakeDaemon>,
}

async fn daemons() -> anyhow::Result<Daemons> {
    let (mut real, mut made_up) = (Vec::new(), Vec::new());
    let urls = if let Some(binary) = std::env::args_os().nth(1) {
        let there = RealDaemon::start(Path::new(&binary), &[])?;
        real.extend([RealDaemon::start(Path::new(&binary), &[there.peer()])?, there]);
        [real[0].url(), real[1].url()]
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
    let daemons = daemons().await?;
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
