//! Mycelium daemons of a made-up overlay, written from `contracts/mycelium.md` (release 0.7.10): the JSON-RPC API
//! over real HTTP, everything behind it in memory, with a clock that a test moves.
//!
//! Messages arrive at once: what a test measures is not the daemon.

mod api;
mod http;
mod network;
mod real;

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};

use self::network::Network;
pub use self::real::RealDaemon;

/// An overlay. Clones are the same one.
#[derive(Clone, Default)]
pub struct FakeOverlay(Arc<Mutex<Network>>);

impl FakeOverlay {
    /// An overlay without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A node of it, with its daemon.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn daemon(&self) -> anyhow::Result<FakeDaemon> {
        let node = self.lock().add_node();
        let mut daemon =
            FakeDaemon { overlay: self.clone(), node, at: SocketAddr::from(([127, 0, 0, 1], 0)), task: None };
        daemon.start().await?;
        Ok(daemon)
    }

    /// Moves the clock of all daemons.
    pub fn advance(&self, by: Duration) {
        let mut network = self.lock();
        network.now_s += by.as_secs();
        network.settle();
        drop(network);
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a daemon behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// As the contract says.
    #[default]
    Well,
    /// As a release before 0.7.8: getInfo has no nodeIp.
    Old,
    /// It answers what is no JSON.
    Garbage,
    /// It takes requests and answers none.
    Hangs,
}

/// One daemon. It ends when this is dropped.
pub struct FakeDaemon {
    overlay: FakeOverlay,
    node: usize,
    at: SocketAddr,
    task: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    /// Its JSON-RPC address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The public key of the node, 64 hex characters.
    #[must_use]
    pub fn pk(&self) -> String {
        self.overlay.lock().nodes[self.node].pk.clone()
    }

    /// Its address in the overlay.
    #[must_use]
    pub fn ip(&self) -> Ipv6Addr {
        self.overlay.lock().nodes[self.node].ip
    }

    /// Behaves otherwise from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.overlay.lock().nodes[self.node].mood = mood;
    }

    /// From now on its getPeers is empty, or not.
    pub fn set_alone(&self, is_alone: bool) {
        self.overlay.lock().nodes[self.node].is_alone = is_alone;
    }

    /// How many API calls it had.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.overlay.lock().nodes[self.node].calls
    }

    /// How many messages wait to be popped.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.overlay.lock().nodes[self.node].inbox.len()
    }

    /// Delivers a message that was delivered before once more, as at-least-once allows; false: it never was.
    #[must_use]
    pub fn deliver_again(&self, id: &str) -> bool {
        self.overlay.lock().deliver_again(self.node, id)
    }

    /// How often a message, or the reply to it, was handed to this node.
    #[must_use]
    pub fn deliveries(&self, id: &str) -> usize {
        self.overlay.lock().nodes[self.node].delivered.iter().filter(|message| message.id == id).count()
    }

    /// Ends it as a crash would: what it kept in memory is gone, its key is not.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Cancelled is what it should be.
            let _ = task.await;
        }
        self.overlay.lock().forget(self.node);
    }

    /// Starts it again, at the same address.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.at).await?;
        self.at = listener.local_addr()?;
        {
            let mut network = self.overlay.lock();
            network.nodes[self.node].is_up = true;
            network.settle();
        }
        self.task = Some(tokio::spawn(http::serve(listener, self.overlay.clone(), self.node)));
        Ok(())
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
