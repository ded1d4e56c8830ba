//! The example `smallest` as a real process, for the tests that need one.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use hero_runtime::Address;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes; only a failure waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Cargo builds a package's examples before it runs its tests, into the folder beside theirs.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/smallest");
    assert!(path.exists(), "{} is missing: build it with cargo build --examples", path.display());
    path
}

pub fn command(dir: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program());
    command
        .env_clear()
        .env("HERO_SMALLEST__ADMIN__LISTEN", format!("unix://{}/admin.sock", dir.display()))
        .env("HERO_SMALLEST__LISTEN", "tcp://127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (key, value) in variables {
        command.env(format!("HERO_SMALLEST__{key}"), value);
    }
    command
}

/// A running service; killed, whatever happens, when the test ends.
pub struct Running {
    pub child: Child,
    log: mpsc::Receiver<Value>,
    pub dir: TempDir,
}

impl Running {
    pub fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), variables)
    }

    pub fn start_in(dir: TempDir, variables: &[(&str, &str)]) -> Self {
        let mut child = command(dir.path(), variables).spawn().unwrap();
        let log = read_log(child.stderr.take().unwrap());
        Self { child, log, dir }
    }

    /// Waits for a log line and returns it.
    pub fn line(&self, message: &str) -> Value {
        loop {
            let line =
                self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it never logged `{message}`"));
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Waits for its end, and that it logs nothing more until then.
    pub fn assert_silent(&self) {
        assert_eq!(self.log.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    pub fn grpc(&self) -> Address {
        let line = self.line("serving");
        line["addresses"].as_str().unwrap().strip_prefix("grpc ").unwrap().parse().unwrap()
    }

    pub fn admin(&self) -> Address {
        Address::Unix(self.dir.path().join("admin.sock"))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_log(stderr: ChildStderr) -> mpsc::Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let line = line.unwrap();
            let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("`{line}` is not JSON"));
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}

pub fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    command(dir.path(), variables).args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
