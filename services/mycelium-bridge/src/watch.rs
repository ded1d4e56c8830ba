//! Looks after the daemon: which node it is, whether it can be used, and what it should know after a restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hero_client::{
    Destination, Error,
    mycelium::{Daemon, NodeInfo},
};
use hero_runtime::{Condition, Shutdown};
use tokio::sync::watch;

use crate::config::BridgeConfig;

/// The pause after a look that found no daemon; the first ones are short.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

pub(crate) struct Watch {
    pub(crate) daemon: Daemon,
    pub(crate) config: Arc<BridgeConfig>,
    pub(crate) is_there: Condition,
    pub(crate) is_connected: Condition,
    /// Which node it is, once that is known.
    pub(crate) node: watch::Sender<Option<NodeInfo>>,
}

impl Watch {
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut pause = FIRST;
        loop {
            let wait = match self.look().await {
                Ok(()) => {
                    pause = FIRST;
                    Duration::from_millis(self.config.daemon.check_interval_ms)
                }
                Err(why) => {
                    self.is_there.unready(why);
                    pause = (pause * 2).min(LONGEST);
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.draining() => return Ok(()),
            }
        }
    }

    async fn look(&self) -> Result<(), String> {
        let info = self.daemon.info().await.map_err(|error| self.in_words(&error))?;
        let is_old = info.node_ip.is_none();
        let was_away = !self.is_there.is_ready();
        let changed = self.node.send_if_modified(|node| {
            let is_new = node.as_ref() != Some(&info);
            *node = Some(info);
            is_new
        });
        if was_away || changed {
            self.prepare().await.map_err(|error| self.in_words(&error))?;
        }
        if is_old {
            return Err(format!(
                "the daemon at {} is older than 0.7.8 (getInfo has no nodeIp); messages may work, but this is \
                 made for 0.7.10",
                self.daemon.url()
            ));
        }
        self.is_there.ready();
        match self.daemon.peers().await {
            Ok(0) => self.is_connected.unready(
                "the daemon has no living peer, so nothing comes in and nothing goes out; start it with --peers",
            ),
            Ok(_) => self.is_connected.ready(),
            Err(error) => return Err(self.in_words(&error)),
        }
        Ok(())
    }

    /// What a restart of the daemon forgets.
    async fn prepare(&self) -> Result<(), Error> {
        let BridgeConfig { topic, peers, only_peers, forward_socket, .. } = &*self.config;
        if *only_peers {
            let ips: Vec<Destination> =
                peers.iter().filter_map(|peer| peer.ip.map(Destination::Ip)).collect();
            self.daemon.allow_only(topic, &ips).await?;
        }
        if let Some(socket) = forward_socket.as_ref().map(PathBuf::as_path) {
            self.daemon.forward(topic, &socket.to_string_lossy()).await?;
        }
        Ok(())
    }

    fn in_words(&self, error: &Error) -> String {
        let url = self.daemon.url();
        match error {
            Error::Timeout { .. } => format!(
                "the Mycelium daemon at {url} does not answer in time; a long poll by another program stops its \
                 whole API"
            ),
            Error::Call(error) => format!("what answers at {url} is no Mycelium daemon: {error}"),
            Error::Malformed { why, .. } => format!("what answers at {url} is no Mycelium daemon: {why}"),
            error => format!("the Mycelium daemon at {url} does not answer: {error}"),
        }
    }
}
