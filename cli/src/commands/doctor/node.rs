//! Whether the node is fit: does it answer, does its Redis keep jobs, who runs them, do the clocks agree.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Finding, bad, good, missing};
use crate::{node::Node, show::text};

/// Clocks that differ by more than this make ages and due times look wrong.
const MOST_SKEW_MS: i64 = 2_000;
/// The share of its budget from which on Redis' memory is worth a warning, in percent.
const MUCH_MEMORY: u64 = 80;

pub(super) async fn findings(node: &Node) -> Vec<Finding> {
    let what = "node";
    match node.call("whoami", json!([])).await {
        Err(error) => return vec![bad(what, error.to_string())],
        Ok(who) if who.as_str().is_none_or(str::is_empty) => {
            return vec![bad(what, format!("{} answers, but not as a node", node.url()))];
        }
        Ok(_) => {}
    }
    let mut findings = vec![good(what, format!("answers at {}", node.url()))];
    let now = Timestamp::now();
    match node.call("stats", json!([])).await {
        Ok(stats) => findings.extend(of_stats(&stats, now)),
        Err(error) => findings.push(bad("job store", error.to_string())),
    }
    match node.call("list_runners", json!([])).await {
        Ok(runners) => findings.extend(of_runners(&runners)),
        Err(error) => findings.push(missing("runners", error.to_string())),
    }
    findings
}

fn of_stats(stats: &Value, now: Timestamp) -> Vec<Finding> {
    let mut findings = vec![good("job store", format!("answers, and keeps {} jobs", stats["jobs"]["kept"]))];
    if let Some(at) = text(stats, "at").and_then(|at| at.parse::<Timestamp>().ok()) {
        findings.push(of_clock(at.as_millisecond() - now.as_millisecond()));
    }
    let store = &stats["store"];
    // A circle is not told of it.
    if store.is_object() {
        findings.extend(of_store(store));
    }
    for lane in stats["lanes"].as_array().into_iter().flatten() {
        if lane["waiting"] != 0 && lane["runners"] == 0 {
            let kind = text(lane, "script_type").unwrap_or_default();
            let words = format!("{} {kind} jobs wait and no runner takes them: start one", lane["waiting"]);
            findings.push(bad("queues", words));
        }
    }
    findings
}

fn of_clock(skew_ms: i64) -> Finding {
    let seconds = skew_ms as f64 / 1e3;
    if skew_ms.abs() <= MOST_SKEW_MS {
        return good("clock", "this machine's and the node's agree");
    }
    bad(
        "clock",
        format!("the node's is {seconds:+.1} s from this machine's: set up time synchronisation on both"),
    )
}

fn of_store(store: &Value) -> Vec<Finding> {
    let what = "redis";
    let version = text(store, "version").unwrap_or_default();
    let mut findings = vec![good(what, format!("version {version}"))];
    for words in store["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        findings.push(bad(what, words));
    }
    match (text(store, "persistence"), store["is_saved"] == true) {
        // The warning above says it already.
        (Some("off"), _) => {}
        (Some(_), false) => {
            findings.push(bad(
                "persistence",
                "the last write to disk failed: look at Redis' log and at the disk",
            ));
        }
        (Some(kind), true) => {
            findings.push(good("persistence", format!("{kind}, and the last write went well")))
        }
        (None, _) => {}
    }
    let used = store["used_bytes"].as_u64().unwrap_or_default();
    let budget = store["max_bytes"].as_u64().or_else(|| store["machine_bytes"].as_u64()).unwrap_or_default();
    if let Some(percent) = used.saturating_mul(100).checked_div(budget) {
        let words = format!("{} MiB, {percent} % of what it may use", used >> 20);
        findings.push(if percent < MUCH_MEMORY {
            good("memory", words)
        } else {
            bad("memory", format!("{words}: give it more, or keep jobs for less long"))
        });
    }
    findings
}

fn of_runners(runners: &Value) -> Vec<Finding> {
    let alive = || runners.as_array().into_iter().flatten().filter(|runner| runner["state"] == "alive");
    let mut types: Vec<&str> = alive()
        .flat_map(|runner| runner["script_types"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    types.sort_unstable();
    types.dedup();
    if types.is_empty() {
        return vec![bad("runners", "none is alive: jobs wait until one signs in (`hero runners`)")];
    }
    let mut findings = vec![good("runners", format!("{} are served", types.join(", ")))];
    let mut sandboxes: Vec<&str> = alive().filter_map(|runner| text(runner, "sandbox")).collect();
    sandboxes.sort_unstable();
    sandboxes.dedup();
    findings
        .extend(sandboxes.into_iter().filter(|words| !words.is_empty()).map(|words| good("sandbox", words)));
    findings
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{of_runners, of_stats};
    use crate::commands::doctor::State;

    #[test]
    fn runners_that_are_gone_serve_nobody() {
        let runner =
            |state: &str| json!([{"state": state, "script_types": ["OSIS", "Python"], "sandbox": "seccomp"}]);
        let alive = of_runners(&runner("alive"));
        assert!(alive[0].state == State::Good && alive[0].words == "OSIS, Python are served");
        assert_eq!(alive[1].words, "seccomp");
        assert!(of_runners(&runner("lost"))[0].state == State::Bad);
        assert!(of_runners(&json!([]))[0].state == State::Bad);
    }

    fn stats() -> Value {
        json!({
            "at": "2026-11-21T12:00:00.000Z", "jobs": {"kept": 3},
            "lanes": [{"script_type": "V", "waiting": 0, "runners": 0}],
            "store": {"version": "7.0.15", "used_bytes": 10, "max_bytes": 100, "machine_bytes": 0,
                      "persistence": "log", "is_saved": true, "warnings": []},
        })
    }

    fn faults(stats: &Value, at: &str) -> Vec<String> {
        let found = of_stats(stats, at.parse::<Timestamp>().unwrap());
        found
            .into_iter()
            .filter(|it| it.state == State::Bad)
            .map(|it| format!("{}: {}", it.what, it.words))
            .collect()
    }

    #[test]
    fn what_is_wrong_with_a_node_is_said_with_the_way_out() {
        let now = "2026-11-21T12:00:01.000Z";
        assert!(faults(&stats(), now).is_empty());
        assert!(faults(&stats(), "2026-11-21T12:01:00.000Z")[0].contains("clock"));
        for (path, value, words) in [
            ("/store/is_saved", json!(false), "the last write to disk failed"),
            ("/store/used_bytes", json!(90), "90 %"),
            ("/store/warnings", json!(["set appendonly yes"]), "appendonly"),
            ("/lanes/0/waiting", json!(4), "4 V jobs wait"),
        ] {
            let mut stats = stats();
            *stats.pointer_mut(path).unwrap() = value;
            let found = faults(&stats, now);
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }
}
