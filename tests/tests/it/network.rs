//! Machines for processes: a network namespace each where this machine lets us make them, else addresses of loopback with
//! cables that can be pulled.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hero_testing::free_port;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Namespaces of this process, so that tests beside each other have their own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Network namespaces on one switch. They go when this is dropped.
pub(crate) struct Spaces {
    prefix: String,
    machines: Vec<String>,
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Spaces {
    /// A switch without machines; none: this machine does not let us.
    pub(crate) fn new() -> Option<Self> {
        let prefix = format!("hero-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let spaces = Self { prefix, machines: Vec::new() };
        let switch = spaces.switch();
        let is_made = ip(&["netns", "add", &switch])
            && ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])
            && ip(&["-n", &switch, "link", "set", "br0", "up"]);
        is_made.then_some(spaces)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// The namespace of a machine, which gets this address on a cable to the switch.
    pub(crate) fn machine(&mut self, address: &str) -> String {
        let (switch, place) = (self.switch(), self.machines.len());
        let (space, port) = (format!("{}-{place}", self.prefix), format!("port{place}"));
        let commands: [&[&str]; 6] = [
            &["netns", "add", &space],
            &["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space],
            &["-n", &switch, "link", "set", &port, "master", "br0", "up"],
            &["-n", &space, "addr", "add", &format!("{address}/24"), "dev", "eth0"],
            &["-n", &space, "link", "set", "eth0", "up"],
            &["-n", &space, "link", "set", "lo", "up"],
        ];
        for command in commands {
            assert!(ip(command), "ip {}", command.join(" "));
        }
        self.machines.push(space.clone());
        space
    }

    /// Gives a machine another address.
    pub(crate) fn move_to(&self, machine: &str, address: &str) {
        assert!(ip(&["-n", machine, "addr", "flush", "dev", "eth0", "scope", "global"]));
        assert!(ip(&["-n", machine, "addr", "add", &format!("{address}/24"), "dev", "eth0"]));
    }

    /// Pulls the cable of a machine, or plugs it in again.
    pub(crate) fn set_plugged(&self, machine: &str, is_plugged: bool) {
        let place = self.machines.iter().position(|it| it == machine).expect("a machine of this switch");
        let state = if is_plugged { "up" } else { "down" };
        assert!(ip(&["-n", &self.switch(), "link", "set", &format!("port{place}"), state]));
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in self.machines.iter().chain([&self.switch()]) {
            ip(&["netns", "del", space]);
        }
    }
}

/// A way over loopback that can be cut: what connects here goes there.
pub(crate) struct Cable {
    pub(crate) address: SocketAddr,
    plugged: Arc<watch::Sender<bool>>,
}

impl Cable {
    pub(crate) async fn to(there: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let plugged = Arc::new(watch::Sender::new(true));
        let state = plugged.subscribe();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(there).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|is_plugged| !is_plugged) => {}
                    }
                });
            }
        });
        Self { address, plugged }
    }

    pub(crate) fn set_plugged(&self, is_plugged: bool) {
        self.plugged.send_replace(is_plugged);
    }
}

/// A free port of one of the addresses of loopback.
pub(crate) fn loopback(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], free_port().expect("a free port")))
}
