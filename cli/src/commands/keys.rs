//! API keys, and the record of who did what.

use serde_json::{Value, json};

use super::agreed;
use crate::{
    args::Key,
    failure::{Failure, Result},
    node::Node,
    show::{Show, age, json, note, say, text},
};

pub(crate) async fn key(node: &Node, show: Show, command: &Key) -> Result {
    match command {
        Key::New { name, scope, of_circle } => {
            let mut params = json!({"name": name, "scope": scope});
            if let Some(circle) = of_circle {
                params["circle"] = json!(circle);
            }
            made(show, &node.call("create_key", params).await?);
            Ok(())
        }
        Key::Ls => list(node, show).await,
        Key::Rotate { name } => {
            made(show, &node.call("rotate_key", json!([name])).await?);
            Ok(())
        }
        Key::Rm { name, yes } => {
            if !yes && !agreed(&format!("Forget the key {name}? Whoever uses it is refused."))? {
                return Err(Failure::Usage("nothing was forgotten".to_owned()));
            }
            node.call("remove_key", json!([name])).await?;
            note("forgotten");
            Ok(())
        }
    }
}

/// The key itself is the result: it goes to the output, words go beside it.
fn made(show: Show, created: &Value) {
    if show.json {
        return json(created);
    }
    note("the key, shown this once:");
    say(text(created, "secret").unwrap_or_default());
}

async fn list(node: &Node, show: Show) -> Result {
    let keys = node.call("list_keys", json!([])).await?;
    if show.json {
        json(&keys);
        return Ok(());
    }
    let row = |key: &Value| {
        let of = |name| text(key, name).unwrap_or_default().to_owned();
        let used = text(key, "last_used_at").map_or_else(|| "never".to_owned(), |at| age(Some(at)));
        vec![of("name"), of("scope"), of("circle"), of("created_by"), age(text(key, "created_at")), used]
    };
    let rows = keys.as_array().into_iter().flatten().map(row).collect();
    show.table(
        &["KEY", "SCOPE", "CIRCLE", "BY", "MADE", "USED"],
        rows,
        "no keys; `hero key new NAME` makes one",
    );
    Ok(())
}

pub(crate) async fn audit(node: &Node, show: Show, limit: usize) -> Result {
    let lines = node.call("list_audit", json!([limit])).await?;
    if show.json {
        json(&lines);
        return Ok(());
    }
    let row = |line: &Value| {
        let of = |name| text(line, name).unwrap_or_default().to_owned();
        vec![of("at"), of("actor"), of("action"), of("subject")]
    };
    let rows = lines.as_array().into_iter().flatten().map(row).collect();
    show.table(&["WHEN", "WHO", "WHAT", "TO"], rows, "nothing has happened");
    Ok(())
}
