//! The nodes that a person works with.

use serde_json::json;

use crate::{
    args::{Context as Command, Global},
    contexts::{Context, Contexts, path},
    failure::{Failure, Result},
    show::{Show, json, note},
};

pub(crate) fn context(global: &Global, show: Show, command: &Command) -> Result {
    let path = path()?;
    let mut all = Contexts::read(&path)?;
    match command {
        Command::Ls => {
            list(show, &all);
            return Ok(());
        }
        Command::Add { name } => {
            if global.url.is_none() {
                return Err(Failure::Usage("say where the node is: --url http://host:8080".to_owned()));
            }
            let context =
                Context { url: global.url.clone(), key: global.key.clone(), circle: global.circle.clone() };
            all.contexts.insert(name.clone(), context);
            all.current.get_or_insert_with(|| name.clone());
        }
        Command::Use { name } => {
            if !all.contexts.contains_key(name) {
                return Err(all.unknown(name));
            }
            all.current = Some(name.clone());
        }
        Command::Rm { name } => {
            all.contexts.remove(name).ok_or_else(|| all.unknown(name))?;
            all.current = all.current.filter(|current| current != name);
        }
    }
    all.write(&path)?;
    note(&format!("kept in {}", path.display()));
    Ok(())
}

fn list(show: Show, all: &Contexts) {
    // Keys are for use, not for show.
    if show.json {
        let contexts: Vec<_> = all
            .contexts
            .iter()
            .map(|(name, it)| {
                let current = all.current.as_ref() == Some(name);
                json!({"name": name, "url": it.url, "circle": it.circle, "has_key": it.key.is_some(), "current": current})
            })
            .collect();
        return json(&contexts.into());
    }
    let row = |(name, it): (&String, &Context)| {
        let mark = if all.current.as_ref() == Some(name) { "*" } else { "" };
        let key = if it.key.is_some() { "yes" } else { "" };
        let circle = it.circle.clone().unwrap_or_default();
        vec![mark.to_owned(), name.clone(), it.url.clone().unwrap_or_default(), circle, key.to_owned()]
    };
    let rows = all.contexts.iter().map(row).collect();
    show.table(
        &["", "NAME", "URL", "CIRCLE", "KEY"],
        rows,
        "no contexts; `hero context add NAME --url URL` keeps one",
    );
}
