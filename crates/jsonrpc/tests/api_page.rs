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
        if let Some(result) = answer.get("result") {
            let schema = &described["result"]["schema"];
            let misfit = misfit(&document, schema, result, "result");
            assert!(misfit.is_none(), "{}: {}: {result}", method.name, misfit.unwrap_or_default());
        }
        let given = described["params"].as_array().unwrap().iter().zip(params.as_array().unwrap());
        for (param, value) in given {
            let misfit = misfit(&document, &param["schema"], value, param["name"].as_str().unwrap());
            assert!(misfit.is_none(), "{}: {}", method.name, misfit.unwrap_or_default());
        }
    }
}

/// Where a value is not as its schema says, as far as the schemas of the document go; none: it is.
fn misfit(document: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.strip_prefix('#')?).expect("it leads somewhere");
        return misfit(document, schema, value, path);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| misfit(document, choice, value, path).is_none()).count();
        return (fitting != 1).then(|| format!("{path} fits {fitting} of {} choices", choices.len()));
    }
    let is_of_kind = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        Some(other) => return Some(format!("{path} has the unknown type {other}")),
    };
    if !is_of_kind {
        return Some(format!("{path} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Some(format!("{path} is none of {}", schema["enum"]));
    }
    let mut items = value.as_array().into_iter().flatten();
    if let Some(found) = items.find_map(|item| misfit(document, &schema["items"], item, path)) {
        return Some(found);
    }
    let properties = schema["properties"].as_object()?;
    let members = value.as_object()?;
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = missing.into_iter().find(|name| !members.contains_key(*name)) {
        return Some(format!("{path}.{name} is missing"));
    }
    members.iter().find_map(|(name, value)| match properties.get(name) {
        None => Some(format!("{path}.{name} is not described")),
        Some(schema) => misfit(document, schema, value, &format!("{path}.{name}")),
    })
}

#[tokio::test]
async fn what_a_job_a_runner_and_a_schedule_are_is_described_member_by_member() {
    let document = openrpc();
    let node = FakeNode::new();
    let mut module = module(node.clone(), Options::default());
    module.extensions_mut().insert(Session::new(Caller::local(), None));
    let call = async |method: &str, params: Value| {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let (answer, _) = module.raw_json_request(&request, 1).await.unwrap();
        let answer: Value = serde_json::from_str(answer.get()).unwrap();
        let described =
            document["methods"].as_array().unwrap().iter().find(|it| it["name"] == method).unwrap();
        let misfit = misfit(&document, &described["result"]["schema"], &answer["result"], method);
        assert!(misfit.is_none(), "{}: {answer}", misfit.unwrap_or_default());
        answer["result"].clone()
    };
    for script in ["1", "fail because", "endless"] {
        let id = call("submit_job", json!([{"script": script, "script_type": "OSIS"}])).await;
        call("get_job", json!([id])).await;
        call("explain_job", json!([id])).await;
    }
    let schedule = json!([{"cron": "0 3 * * *", "job": {"script": "1", "script_type": "OSIS"}}]);
    let id = call("create_schedule", schedule).await["id"].clone();
    call("get_schedule", json!([id])).await;
    call("list_schedules", json!([])).await;
    call("create_key", json!(["ci", "user"])).await;
    call("list_keys", json!([])).await;
    call("list_audit", json!([])).await;
    call("bus_call", json!([[0, 12], "echo", "hello"])).await;
}
