//! docs/api.md is made from the OpenRPC document, and every example in it is taken.

use std::{env, fmt::Write as _, fs, path::Path};

use hero_domain::{Caller, CircleKey};
use hero_jsonrpc::{METHODS, Options, Session, module, openrpc};
use hero_testing::FakeNode;
use serde_json::{Value, json};

/// The example of a method, by position.
fn example(method: &Value) -> Value {
    let params = method["examples"][0]["params"].as_array().unwrap();
    params.iter().map(|param| param["value"].clone()).collect()
}

fn shape(schema: &Value) -> String {
    match (&schema["$ref"], &schema["type"]) {
        (Value::String(path), _) => path.rsplit('/').next().unwrap().to_owned(),
        (_, Value::String(kind)) if kind == "array" => format!("{}[]", shape(&schema["items"])),
        (_, Value::String(kind)) => kind.clone(),
        _ if schema["oneOf"].is_null() => "any".to_owned(),
        _ => schema["oneOf"].as_array().unwrap().iter().map(shape).collect::<Vec<_>>().join(" or "),
    }
}

fn page() -> String {
    let document = openrpc();
    let mut page = "# Methods\n\nJSON-RPC 2.0 over HTTP POST and WebSocket, at `/` and (a circle's) at `/{circle_pk}`; parameters by name or by \
        position. Made from the table in `crates/jsonrpc/src/method.rs`: `/openrpc.json` and `rpc.discover` have the same for tools.\n\
        Failures are told by [their reasons](errors/README.md); who is who is in [security.md](security.md).\n"
        .to_owned();
    for method in document["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        let who = method["tags"][0]["name"].as_str().unwrap();
        let summary = method["summary"].as_str().unwrap();
        write!(page, "\n## {name}\n\n{summary} For: {who}.\n\n").unwrap();
        for param in method["params"].as_array().unwrap() {
            let optional = if param["required"] == true { "" } else { ", optional" };
            writeln!(page, "- `{}`: {}{optional}", param["name"].as_str().unwrap(), shape(&param["schema"]))
                .unwrap();
        }
        writeln!(page, "- returns {}", shape(&method["result"]["schema"])).unwrap();
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": example(method)});
        write!(page, "\n```json\n{call}\n```\n").unwrap();
    }
    page.push_str("\n# Shapes\n");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<_> = words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
            write!(page, "\n**{name}**: {}\n", words.join(", ")).unwrap();
        } else if let Some(members) = schema["properties"].as_object() {
            let required = schema["required"].as_array().unwrap();
            let of = |(member, schema): (&String, &Value)| {
                let optional = if required.iter().any(|name| name == member) { "" } else { "?" };
                format!("`{member}`{optional} {}", shape(schema))
            };
            write!(page, "\n**{name}**: {}\n", members.iter().map(of).collect::<Vec<_>>().join(", "))
                .unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_the_methods_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
    let page = page();
    if env::var_os("HERO_WRITE_PAGES").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/api.md is of yesterday; HERO_WRITE_PAGES=1 cargo test -p hero-jsonrpc --test api_page"
    );
}

#[tokio::test]
async fn every_method_takes_its_own_example() {
    let circle: CircleKey = format!("02{}", "ab".repeat(32)).parse().unwrap();
    let document = openrpc();
    for (method, described) in METHODS.iter().zip(document["methods"].as_array().unwrap()) {
        let of_circle = ["fetch_nonce", "authenticate", "login"].contains(&method.name);
        let mut module = module(
            FakeNode::new(),
            Options { failure_delay: std::time::Duration::ZERO, ..Options::default() },
        );
        module.extensions_mut().insert(match of_circle {
            true => Session::guest(circle.clone(), true, None),
            false => Session::on_websocket(Caller::local(), None),
        });
        let params = example(described);
        let required = method.params.iter().filter(|param| param.required).count();
        assert!(params.as_array().unwrap().len() >= required, "{} has no example", method.name);
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method.name, "params": params});
        let (answer, _) = module.raw_json_request(&request.to_string(), 1).await.unwrap();
        let answer: Value = serde_json::from_str(answer.get()).unwrap();
        assert_ne!(answer["error"]["code"], -32602, "{}: {answer}", method.name);
        assert_ne!(answer["error"]["code"], -32603, "{}: {answer}", method.name);
    }
}
