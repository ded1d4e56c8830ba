//! The real binaries, as processes of their own.

use std::{
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use hero_testing::binaries;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Child,
    sync::watch,
};

use crate::cluster::PATIENCE;

/// A binary that runs. It is killed when the value is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    said: watch::Receiver<Vec<String>>,
}

/// A binary to be started.
pub(crate) struct Start {
    command: tokio::process::Command,
    name: String,
}

impl Start {
    /// A service with its settings (`LISTEN`, `REDIS__URL`) on top of ports that are free.
    pub(crate) fn service(name: &str, settings: &[(&str, &str)]) -> Self {
        let prefix = format!("HERO_{}__", name.to_uppercase().replace('-', "_"));
        let mut start = Self::program(name);
        for (key, value) in [("ADMIN__LISTEN", "tcp://127.0.0.1:0")].iter().chain(settings) {
            start.command.env(format!("{prefix}{key}"), value);
        }
        start
    }

    /// A binary without any settings of ours.
    pub(crate) fn program(name: &str) -> Self {
        let mut command = tokio::process::Command::new(binaries().join(name));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERO_")) {
            command.env_remove(name);
        }
        Self { command, name: name.to_owned() }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// The same in a network namespace.
    pub(crate) fn inside(mut self, space: &str) -> Self {
        let mut command = tokio::process::Command::new("ip");
        let inner = self.command.as_std();
        command.args(["netns", "exec", space]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, and gathers what it says.
    pub(crate) fn run(mut self) -> Process {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let (say, said) = watch::channel(Vec::new());
        let say = Arc::new(say);
        gather(child.stdout.take().expect("it is piped"), Arc::clone(&say));
        gather(child.stderr.take().expect("it is piped"), say);
        Process { name: self.name, child, said }
    }
}

fn gather(stream: impl AsyncRead + Unpin + Send + 'static, say: Arc<watch::Sender<Vec<String>>>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            say.send_modify(|said| said.push(line));
        }
    });
}

impl Process {
    /// Everything that it has said so far.
    pub(crate) fn said(&self) -> String {
        self.said.borrow().join("\n")
    }

    /// Waits until it says a line with these words.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let find = |said: &Vec<String>| said.iter().find(|line| line.contains(words)).cloned();
        // An end of its output is no answer either.
        let found = self.said.wait_for(|said| find(said).is_some());
        _ = tokio::time::timeout(PATIENCE, found).await;
        let found = find(&self.said.borrow());
        found.unwrap_or_else(|| panic!("{} has not said `{words}`:\n{}", self.name, self.said()))
    }

    /// The address of that name, as it says when it serves: `127.0.0.1:41234`.
    pub(crate) async fn address(&mut self, name: &str) -> String {
        let line = self.says("\"serving\"").await;
        let address =
            line.split_once(&format!("{name} tcp://")).unwrap_or_else(|| panic!("no {name}: {line}")).1;
        address.chars().take_while(|c| *c == '.' || *c == ':' || c.is_ascii_digit()).collect()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it runs").try_into().expect("an id")).expect("an id")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{} does not end:\n{}", self.name, self.said()));
        // What it said last may still be on its way.
        let quiet = async { while self.said.changed().await.is_ok() {} };
        _ = tokio::time::timeout(Duration::from_secs(5), quiet).await;
        status.expect("it can be waited for")
    }
}
