//! No input makes a method panic, and every answer is one of JSON-RPC.

use hero_domain::Caller;
use hero_jsonrpc::{METHODS, Options, Session, module};
use hero_testing::FakeNode;
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON with the names and values that the methods know mixed in, so that it gets past the first check.
fn any_json() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(vec![
        json!("OSIS"),
        json!("Perl"),
        json!("0193e2d0-7c7a-7b0e-8f8e-0123456789ab"),
        json!("2026-11-21T12:00:00Z"),
        json!("a`b, expected `"),
        json!({"script": "x", "script_type": "OSIS"}),
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,12}".prop_map(Value::from),
        known,
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let names = METHODS.iter().flat_map(|method| method.params).map(|param| param.name.to_owned());
        let more = ["script", "timeout", "status", "limit", "id", "`", "a`, expected `b`"].map(str::to_owned);
        let name = prop::sample::select(names.chain(more).collect::<Vec<_>>());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_params_make_a_method_panic(index in 0..METHODS.len(), params in any_json()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let node = FakeNode::new();
        let mut module = module(node, Options::default());
        module.extensions_mut().insert(Session::new(Caller::local(), None));
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": METHODS[index].name, "params": params});
        let (response, _) = runtime.block_on(module.raw_json_request(&request.to_string(), 1)).unwrap();
        let response: Value = serde_json::from_str(response.get()).unwrap();
        prop_assert!(response.get("result").is_some() ^ response.get("error").is_some());
        if let Some(error) = response.get("error") {
            prop_assert!(error["data"]["reason"].is_string(), "{}", error);
            prop_assert!(!error["message"].as_str().unwrap().is_empty(), "{}", error);
        }
    }
}
