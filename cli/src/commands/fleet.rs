//! The nodes that this one knows of.

use serde_json::{Value, json};

use crate::{
    args::{Decision, Nodes},
    commands::script::name_of,
    failure::{Failure, Result},
    node::Node,
    show::{Show, age, json, note, text},
};

pub(crate) async fn nodes(node: &Node, show: Show, nodes: &Nodes) -> Result {
    match (&nodes.node_id, nodes.decide) {
        (None, None) => list(node, show, nodes).await,
        (None, Some(_)) => Err(Failure::Usage("name the node that this is about".to_owned())),
        (Some(id), Some(decision)) => decide(node, id, decision).await,
        (Some(id), None) => one(node, show, id).await,
    }
}

async fn decide(node: &Node, id: &str, decision: Decision) -> Result {
    let (method, done) = match decision {
        Decision::Allow => ("allow_node", "it may come back, with another key too"),
        Decision::Ban => ("ban_node", "it is heard and called no more"),
        Decision::Forget => ("remove_node", "forgotten; when it is heard of again, it is new"),
    };
    node.call(method, json!([id])).await?;
    note(done);
    Ok(())
}

async fn list(node: &Node, show: Show, nodes: &Nodes) -> Result {
    let mut filter = json!({"limit": nodes.limit});
    for (name, value) in [
        ("state", nodes.state.clone()),
        ("script_type", nodes.language.map(|language| name_of(language).to_owned())),
        ("label", nodes.label.clone()),
        ("cursor", nodes.cursor.clone()),
    ] {
        if let Some(value) = value {
            filter[name] = json!(value);
        }
    }
    let page = node.call("list_nodes", json!([filter])).await?;
    if show.json {
        json(&page);
        return Ok(());
    }
    let row = |it: &Value| {
        let of = |name| text(it, name).unwrap_or_default().to_owned();
        let state = if it["standing"] == "banned" { "banned".to_owned() } else { of("state") };
        vec![
            of("node_id"),
            of("name"),
            show.status(&state),
            types(it),
            format!("{}/{}", it["busy"], it["slots"]),
            it["machine"]["load"].as_f64().map(|load| format!("{load:.2}")).unwrap_or_default(),
            of("version"),
            age(text(it, "last_seen")),
        ]
    };
    let rows: Vec<_> = page["nodes"].as_array().into_iter().flatten().map(row).collect();
    let shown = rows.len() as u64;
    let header = ["NODE", "NAME", "STATE", "TYPES", "BUSY", "LOAD", "VERSION", "HEARD OF"];
    show.table(
        &header,
        rows,
        "no nodes are known; `hero up --explorer` makes a place where nodes find each other",
    );
    if let Some(next) = text(&page, "next_cursor") {
        note(&format!("{shown} of {}; go on with --cursor {next}", page["total"]));
    }
    Ok(())
}

async fn one(node: &Node, show: Show, id: &str) -> Result {
    let it = node.call("get_node", json!([id])).await?;
    if show.json {
        json(&it);
        return Ok(());
    }
    let of = |name| text(&it, name).map(str::to_owned);
    let list = |name: &str, each: &dyn Fn(&Value) -> String| {
        let lines: Vec<String> = it[name].as_array().into_iter().flatten().map(each).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    show.facts(&[
        ("node", of("node_id")),
        ("name", of("name")),
        ("state", of("state").map(|state| show.status(&state))),
        ("standing", of("standing")),
        ("addresses", list("addresses", &|it| it.as_str().unwrap_or_default().to_owned())),
        ("types", Some(types(&it))),
        ("busy", Some(format!("{} of {} slots", it["busy"], it["slots"]))),
        ("key", of("public_key")),
        ("version", of("version")),
        ("first heard", of("first_seen")),
        ("heard of", of("last_seen")),
        ("changes", list("history", &change)),
    ]);
    Ok(())
}

fn change(it: &Value) -> String {
    let of = |name| text(it, name).unwrap_or_default();
    format!("{}  {}: {}", of("at"), of("state"), of("why"))
}

fn types(it: &Value) -> String {
    let types: Vec<&str> =
        it["script_types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    types.join(",")
}
