//! Whether this machine and the node are fit, and how to mend what is not.

use std::{fs, path::Path, process::Command};

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

pub(crate) async fn doctor(node: &Node, show: Show) -> Result {
    let mut findings = vec![redis_server(), python(), v(), landlock(), seccomp(), namespaces()];
    findings.extend(of_node(node).await);
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

async fn of_node(node: &Node) -> Vec<Finding> {
    let what = "node";
    match node.call("whoami", json!([])).await {
        Err(error) => return vec![bad(what, error.to_string())],
        Ok(who) if !is_served(&who) => {
            return vec![bad(what, format!("{} answers, but not as a node", node.url()))];
        }
        Ok(_) => {}
    }
    let mut findings = vec![good(what, format!("answers at {}", node.url()))];
    match node.call("list_jobs", json!([{"limit": 1}])).await {
        Ok(_) => findings.push(good("job store", "answers")),
        Err(error) => findings.push(bad("job store", error.to_string())),
    }
    match node.call("list_runners", json!([])).await {
        Ok(runners) => findings.push(of_runners(&runners)),
        Err(error) => findings.push(missing("runners", error.to_string())),
    }
    findings
}

fn is_served(who: &Value) -> bool {
    who.as_str().is_some_and(|text| !text.is_empty())
}

fn of_runners(runners: &Value) -> Finding {
    let mut types: Vec<&str> = runners
        .as_array()
        .into_iter()
        .flatten()
        .filter(|runner| runner["state"] == "alive")
        .flat_map(|runner| runner["script_types"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    types.sort_unstable();
    types.dedup();
    if types.is_empty() {
        return bad("runners", "none is alive: jobs wait until one signs in (`hero runners`)");
    }
    good("runners", format!("{} are served", types.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{State, of_runners};

    #[test]
    fn runners_that_are_gone_serve_nobody() {
        let runner = |state: &str| json!([{"state": state, "script_types": ["OSIS", "Python"]}]);
        let alive = of_runners(&runner("alive"));
        assert!(alive.state == State::Good && alive.words == "OSIS, Python are served");
        assert!(of_runners(&runner("lost")).state == State::Bad);
        assert!(of_runners(&json!([])).state == State::Bad);
    }
}
