//! The real daemon, for the same tests where its binary is there.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::free_port;

/// A `mycelium` process: no TUN device, reached over loopback alone. It is killed when this is dropped.
pub struct RealDaemon {
    binary: PathBuf,
    folder: TempDir,
    peers: Vec<String>,
    tcp: u16,
    rpc: u16,
    rest: u16,
    child: Option<Child>,
}

impl RealDaemon {
    /// A daemon that connects to these peers (see [`RealDaemon::peer`]).
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn start(binary: &Path, peers: &[String]) -> anyhow::Result<Self> {
        let mut daemon = Self {
            binary: binary.to_owned(),
            folder: tempfile::tempdir()?,
            peers: peers.to_vec(),
            tcp: free_port()?,
            rpc: free_port()?,
            rest: free_port()?,
            child: None,
        };
        daemon.run()?;
        Ok(daemon)
    }

    /// Its JSON-RPC address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc)
    }

    /// Where others connect to it.
    #[must_use]
    pub fn peer(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.tcp)
    }

    /// Kills it, and starts it again with the same key at the same ports: what it kept in memory is gone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.run()
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.binary);
        command
            .args(["--no-tun", "--disable-peer-discovery", "--disable-quic", "--silent"])
            .arg("--key-file")
            .arg(self.folder.path().join("key"))
            .args(["--tcp-listen-port", &self.tcp.to_string()])
            .args(["--jsonrpc-addr", &format!("127.0.0.1:{}", self.rpc)])
            .args(["--api-addr", &format!("127.0.0.1:{}", self.rest)])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !self.peers.is_empty() {
            command.arg("--peers").args(&self.peers);
        }
        let child =
            command.spawn().with_context(|| format!("{} cannot be started", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It fails when it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        self.kill();
    }
}
