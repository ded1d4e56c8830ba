//! The node and its runners.

use serde_json::{Value, json};

use super::script;
use crate::{
    args::{Call, Drain},
    failure::{Failure, Result},
    node::Node,
    show::{Show, age, json, note, say, text},
};

pub(crate) async fn runners(node: &Node, show: Show) -> Result {
    let runners = node.call("list_runners", json!([])).await?;
    if show.json {
        json(&runners);
        return Ok(());
    }
    let row = |runner: &Value| {
        let of = |name| text(runner, name).unwrap_or_default().to_owned();
        let types: Vec<&str> =
            runner["script_types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        vec![
            of("id"),
            show.status(&of("state")),
            types.join(","),
            format!("{}/{}", runner["busy"], runner["slots"]),
            of("host"),
            of("version"),
            age(text(runner, "last_seen_at")),
        ]
    };
    let rows = runners.as_array().into_iter().flatten().map(row).collect();
    show.table(
        &["RUNNER", "STATE", "TYPES", "BUSY", "HOST", "VERSION", "SEEN"],
        rows,
        "no runner has signed in; jobs wait",
    );
    Ok(())
}

pub(crate) async fn drain(node: &Node, drain: &Drain) -> Result {
    node.call("drain_runner", json!([drain.runner_id, !drain.undo])).await?;
    note(if drain.undo { "it takes new jobs again" } else { "it takes no new jobs; what runs goes on" });
    Ok(())
}

pub(crate) async fn whoami(node: &Node, show: Show) -> Result {
    let who = node.call("whoami", json!([])).await?;
    if show.json {
        json(&who)
    } else {
        say(who.as_str().unwrap_or_default())
    }
    Ok(())
}

pub(crate) async fn call(node: &Node, call: &Call) -> Result {
    let params: Value = serde_json::from_str(&call.params)
        .map_err(|error| Failure::Usage(format!("the params are not JSON: {error}")))?;
    let answer = match &call.node {
        None => node.call(&call.method, params).await?,
        Some(other) => {
            let params = json!({"node_id": script::node(other), "method": call.method, "params": params});
            node.call("call_node", params).await?
        }
    };
    json(&answer);
    Ok(())
}

pub(crate) async fn openrpc(node: &Node) -> Result {
    json(&node.call("rpc.discover", json!([])).await?);
    Ok(())
}
