//! Whether this machine and the node are fit, and how to mend what is not.

mod node;

use std::{fs, net::TcpStream, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    failure::{Failure, Result},
    node::Node,
    show::{Show, json as print, say},
};

/// What was looked at.
struct Finding {
    what: &'static str,
    state: State,
    words: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// It works without, but less well.
    Missing,
    Bad,
}

fn good(what: &'static str, words: impl Into<String>) -> Finding {
    Finding { what, state: State::Good, words: words.into() }
}

fn missing(what: &'static str, words: impl Into<String>) -> Finding {
    Finding { what, state: State::Missing, words: words.into() }
}

fn bad(what: &'static str, words: impl Into<String>) -> Finding {
    Finding { what, state: State::Bad, words: words.into() }
}

pub(crate) async fn doctor(asked: &Node, show: Show) -> Result {
    let mut findings = vec![redis_server(), python(), v(), landlock(), seccomp(), namespaces()];
    findings.extend(node::findings(asked).await);
    findings.push(daemon());
    if show.json {
        let all: Vec<Value> = findings
            .iter()
            .map(|it| json!({"what": it.what, "state": it.state.name(), "words": it.words}))
            .collect();
        print(&all.into());
    } else {
        for Finding { what, state, words } in &findings {
            say(&format!("{}  {what:<14} {words}", show.status_of(*state)));
        }
    }
    if findings.iter().any(|it| it.state == State::Bad) {
        return Err(Failure::Local(anyhow::anyhow!(
            "something here is not fit; each line above says what to do"
        )));
    }
    Ok(())
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Missing => "missing",
            Self::Bad => "bad",
        }
    }
}

impl Show {
    fn status_of(self, state: State) -> String {
        let (colour, sign) = match state {
            State::Good => (anstyle::AnsiColor::Green, "ok  "),
            State::Missing => (anstyle::AnsiColor::Yellow, "note"),
            State::Bad => (anstyle::AnsiColor::Red, "BAD "),
        };
        self.paint(colour.on_default(), sign)
    }
}

/// The first line that a program says of its version.
fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok().filter(|output| output.status.success())?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}

fn redis_server() -> Finding {
    let what = "redis-server";
    let Some(words) = version("redis-server", "--version").or_else(|| version("valkey-server", "--version"))
    else {
        return missing(
            what,
            "not installed: `hero up` needs one, or --redis-url (Debian, Ubuntu: apt-get install redis-server)",
        );
    };
    let number =
        words.split_once("v=").map_or(words.as_str(), |(_, rest)| rest.split(' ').next().unwrap_or(rest));
    match number.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major < 7 => bad(what, format!("version {number} is too old; 7.0 or newer is needed")),
        _ => good(what, format!("version {number}")),
    }
}

fn python() -> Finding {
    match version("python3", "--version") {
        Some(words) => good("python3", words),
        None => {
            missing("python3", "not installed: a runner here cannot run Python (apt-get install python3)")
        }
    }
}

fn v() -> Finding {
    match version("v", "version") {
        Some(words) => good("v", words),
        None => missing("v", "no compiler on PATH: a runner here offers no V jobs (https://vlang.io)"),
    }
}

fn landlock() -> Finding {
    let what = "landlock";
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(all) if all.split(',').any(|name| name.trim() == "landlock") => good(what, "the kernel has it on"),
        Ok(_) => {
            bad(what, "the kernel has it off: boot with lsm=landlock,... or set sandbox = \"best-effort\"")
        }
        Err(_) => {
            missing(what, "cannot tell: /sys/kernel/security is not mounted here; the runner's log says")
        }
    }
}

fn seccomp() -> Finding {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.contains("kill_process") => good("seccomp", "the kernel has it on"),
        _ => bad(
            "seccomp",
            "the kernel has no seccomp filters; children cannot be confined (CONFIG_SECCOMP_FILTER)",
        ),
    }
}

fn namespaces() -> Finding {
    let what = "namespaces";
    let off = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    if !Path::new("/proc/self/ns/user").exists() || off("/proc/sys/user/max_user_namespaces") {
        return missing(what, "user namespaces are off; the other layers of the sandbox hold without them");
    }
    good(what, "user namespaces are there")
}

/// The daemon of the overlay; most nodes need none.
fn daemon() -> Finding {
    let what = "mycelium";
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 8990));
    match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        Ok(_) => good(what, format!("a daemon listens at {address}")),
        Err(_) => missing(what, format!("no daemon at {address}; only calls over the overlay need one")),
    }
}
