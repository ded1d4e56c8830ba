//! Every method over the fake ports, without a network: by name, by position, and each error.

use hero_domain::{
    ApiError, Caller, ErrorCode, JobId, NodeAnswer, Reason, Runner, RunnerState, Scope, ScriptType, Timestamp,
};
use hero_jsonrpc::{METHODS, Options, RpcModule, Rule, Session, code_of, module};
use hero_testing::FakeNode;
use serde_json::{Value, json};

struct Rpc {
    node: FakeNode,
    module: RpcModule<()>,
}

impl Rpc {
    fn new() -> Self {
        Self::of(Caller::local())
    }

    fn of(caller: Caller) -> Self {
        let node = FakeNode::new();
        Self { module: session(&node, caller, Options::default()), node }
    }

    async fn raw(&self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (response, _) = self.module.raw_json_request(&request.to_string(), 1).await.unwrap();
        serde_json::from_str(response.get()).unwrap()
    }

    async fn ok(&self, method: &str, params: Value) -> Value {
        let response = self.raw(method, &params).await;
        assert!(response.get("error").is_none(), "{method} {params}: {response}");
        response["result"].clone()
    }

    async fn err(&self, method: &str, params: Value) -> Value {
        let response = self.raw(method, &params).await;
        assert!(response.get("result").is_none(), "{method} {params}: {response}");
        response["error"].clone()
    }

    /// Code, reason and field of a failure.
    async fn fault(&self, method: &str, params: Value) -> (i64, String, String) {
        let error = self.err(method, params).await;
        let text = |name: &str| error["data"][name].as_str().unwrap_or_default().to_owned();
        (error["code"].as_i64().unwrap(), text("reason"), text("field"))
    }
}

fn session(node: &FakeNode, caller: Caller, options: Options) -> RpcModule<()> {
    let mut module = module(node.clone(), options);
    module.extensions_mut().insert(Session::new(caller, None));
    module
}

fn caller(scope: Scope) -> Caller {
    Caller { name: "ops".to_owned(), scope, circle: None }
}

fn runner(script_type: ScriptType) -> Runner {
    Runner {
        id: "runner-1".parse().unwrap(),
        script_types: vec![script_type],
        circles: Vec::new(),
        slots: 4,
        slots_by_type: [(script_type, 4)].into(),
        not_offered: [(ScriptType::V, "no `v` on PATH".to_owned())].into(),
        max_running_per_context: Some(8),
        busy: 1,
        host: "here".to_owned(),
        version: "0.1.0".to_owned(),
        sandbox: "required: seccomp".to_owned(),
        started_at: Timestamp::from_millis(0),
        last_seen_at: Timestamp::from_millis(1_000),
        lease_until: Timestamp::from_millis(11_000),
        state: RunnerState::Alive,
    }
}

#[tokio::test]
async fn the_table_is_what_is_served() {
    let rpc = Rpc::new();
    let mut served: Vec<_> = rpc.module.method_names().collect();
    let mut table: Vec<_> = METHODS.iter().map(|method| method.name).collect();
    served.sort_unstable();
    table.sort_unstable();
    assert_eq!(served, table);
}

#[tokio::test]
async fn each_method_takes_its_params_by_name_and_by_position() {
    for by_name in [true, false] {
        let rpc = Rpc::new();
        let call = |method: &'static str, values: Vec<Value>| {
            let names = METHODS.iter().find(|entry| entry.name == method).unwrap().params;
            let named = names.iter().zip(values.clone()).map(|(param, value)| (param.name.to_owned(), value));
            let params = if by_name { Value::Object(named.collect()) } else { Value::Array(values) };
            rpc.ok(method, params)
        };
        let job = json!({"script": "endless", "script_type": "osis"});
        assert_eq!(call("whoami", vec![]).await, json!("anonymous (admin)"));
        assert_eq!(call("play", vec![json!("1 + 1")]).await, json!({"output": "1 + 1"}));
        let id = call("create_job", vec![job.clone()]).await;
        assert_eq!(call("get_job_status", vec![id.clone()]).await, json!("Dispatched"));
        assert_eq!(call("start_job", vec![id.clone()]).await, json!({"success": true}));
        assert_eq!(call("stop_job", vec![id.clone()]).await, Value::Null);
        assert_eq!(call("get_job_status", vec![id.clone()]).await, json!("Error"));
        assert_eq!(call("run_job", vec![json!("40 + 2"), json!("OSIS")]).await, json!("40 + 2"));
        let args = vec![
            json!("x"),
            json!("python"),
            json!([]),
            json!(5),
            json!("me"),
            json!("there"),
            json!({"A": "1"}),
            json!("key"),
        ];
        assert_eq!(call("run_job", args).await, json!("x"));
        let last = rpc.node.submitted().pop().unwrap();
        assert_eq!((last.timeout_s, last.caller_id.as_str(), last.context_id.as_str()), (5, "me", "there"));
        assert_eq!(last.env_vars["A"], "1");
        assert_eq!(last.idempotency_key.as_deref(), Some("key"));
        let done = call("submit_job", vec![json!({"script": "ok", "script_type": "V"})]).await;
        assert_eq!(call("get_job_output", vec![done.clone()]).await, json!("ok"));
        assert_eq!(call("get_job_logs", vec![done.clone()]).await, json!({"logs": null}));
        assert_eq!(call("wait_job", vec![done.clone(), json!(3)]).await["status"], json!("Finished"));
        assert_eq!(call("get_job", vec![done.clone()]).await["script_type"], json!("V"));
        let many = call("submit_jobs", vec![json!([job.clone(), job])]).await;
        assert_eq!(many.as_array().unwrap().len(), 2);
        let list = call("list_jobs", vec![json!({"limit": 2})]).await;
        assert_eq!(list, json!([many[1], many[0]]), "newest first");
        assert_eq!(call("delete_job", vec![done]).await, Value::Null);
        assert_eq!(call("list_runners", vec![]).await, json!([]));
        rpc.node.add_runner(runner(ScriptType::V));
        assert_eq!(call("get_runner", vec![json!("runner-1")]).await["state"], json!("alive"));
        assert_eq!(call("clear_all_jobs", vec![]).await, Value::Null);
        assert_eq!(call("list_jobs", vec![]).await, json!([]));
    }
}

#[tokio::test]
async fn params_may_be_left_out_where_none_is_needed() {
    let rpc = Rpc::new();
    for method in ["whoami", "list_jobs", "clear_all_jobs", "list_runners"] {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
        let (response, _) = rpc.module.raw_json_request(&request, 1).await.unwrap();
        assert!(response.get().contains("result"), "{method}: {response}");
    }
    assert_eq!(rpc.ok("list_jobs", json!({"filter": null})).await, json!([]));
    assert_eq!(rpc.ok("list_jobs", json!([null])).await, json!([]));
}

#[tokio::test]
async fn a_param_at_fault_is_named() {
    let rpc = Rpc::new();
    let job = |extra: Value| {
        let mut job = json!({"script": "x", "script_type": "OSIS"});
        job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        job
    };
    let invalid = i64::from(code_of(ErrorCode::InvalidArgument));
    let cases = [
        ("create_job", json!({"job": job(json!({"timout": 5}))}), "UNKNOWN_FIELD", "job.timout"),
        ("create_job", json!([job(json!({"timout": 5}))]), "UNKNOWN_FIELD", "job.timout"),
        ("create_job", json!({"job": job(json!({"a`b": 5}))}), "UNKNOWN_FIELD", "job.a`b"),
        ("create_job", json!({"job": {"script": "x"}}), "INVALID_PARAMS", "job.script_type"),
        ("create_job", json!({"job": job(json!({"timeout": "5"}))}), "INVALID_PARAMS", "job.timeout"),
        ("create_job", json!({"job": job(json!({"timeout": -1}))}), "INVALID_PARAMS", "job.timeout"),
        ("create_job", json!({"job": job(json!({"run_at": "soon"}))}), "INVALID_PARAMS", "job.run_at"),
        (
            "create_job",
            json!({"job": job(json!({"env_vars": {"A": 1}}))}),
            "INVALID_PARAMS",
            "job.env_vars.A",
        ),
        (
            "create_job",
            json!({"job": job(json!({"script_type": "Perl"}))}),
            "SCRIPT_TYPE_UNKNOWN",
            "job.script_type",
        ),
        ("create_job", json!({"job": job(json!({"id": "7"}))}), "ID_MALFORMED", "job.id"),
        (
            "create_job",
            json!({"job": job(json!({"prerequisites": ["x"]}))}),
            "ID_MALFORMED",
            "job.prerequisites[0]",
        ),
        ("create_job", json!({}), "INVALID_PARAMS", "job"),
        ("create_job", json!([]), "INVALID_PARAMS", "job"),
        ("create_job", json!({"job": 5}), "INVALID_PARAMS", "job"),
        ("create_job", json!({"jobs": []}), "UNKNOWN_FIELD", "jobs"),
        ("submit_jobs", json!([[job(json!({})), job(json!({"x": 1}))]]), "UNKNOWN_FIELD", "jobs[1].x"),
        ("submit_jobs", json!({"jobs": [job(json!({})), 5]}), "INVALID_PARAMS", "jobs[1]"),
        ("submit_jobs", json!({"jobs": job(json!({}))}), "INVALID_PARAMS", "jobs"),
        ("run_job", json!(["x"]), "INVALID_PARAMS", "script_type"),
        ("run_job", json!(["x", "Perl"]), "SCRIPT_TYPE_UNKNOWN", "script_type"),
        ("run_job", json!(["x", "OSIS", ["y"]]), "ID_MALFORMED", "prerequisites[0]"),
        ("run_job", json!([5, "OSIS"]), "INVALID_PARAMS", "script"),
        ("run_job", json!({"script": "x", "script_type": "OSIS", "retries": 1}), "UNKNOWN_FIELD", "retries"),
        ("start_job", json!(["7"]), "ID_MALFORMED", "job_id"),
        ("start_job", json!({"job_id": 7}), "INVALID_PARAMS", "job_id"),
        ("list_jobs", json!({"filter": {"state": 1}}), "UNKNOWN_FIELD", "filter.state"),
        ("list_jobs", json!([{"status": "gone"}]), "INVALID_PARAMS", "filter.status"),
        ("list_jobs", json!([{"cursor": "gone"}]), "ID_MALFORMED", "filter.cursor"),
        ("whoami", json!({"me": 1}), "UNKNOWN_FIELD", "me"),
        ("whoami", json!([1]), "INVALID_PARAMS", ""),
        ("start_job", json!([JobId::mint(), 1]), "INVALID_PARAMS", ""),
        ("get_runner", json!(["a b"]), "ID_MALFORMED", "runner_id"),
    ];
    for (method, params, reason, field) in cases {
        let fault = rpc.fault(method, params.clone()).await;
        assert_eq!(fault, (invalid, reason.to_owned(), field.to_owned()), "{method} {params}");
    }
    assert!(rpc.node.calls().is_empty(), "nothing reached a port");
}

#[tokio::test]
async fn the_words_of_an_error_help() {
    let rpc = Rpc::new();
    let error = rpc.err("create_job", json!([{"script": "x", "script_type": "OSIS", "timout": 1}])).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("job.timout: there is no such member; known are `script`"), "{message}");
    let error = rpc.err("run_job", json!(["x", "Perl"])).await;
    assert_eq!(error["message"], "script_type: `Perl` is not a script type; known are OSIS, SAL, V, Python");
    let error = rpc.err("start_job", json!([JobId::mint(), 1])).await;
    assert_eq!(error["message"], "2 positional params; start_job takes job_id");
    let error = rpc.err("start_job", json!({"job_id": 7})).await;
    assert_eq!(error["message"], "job_id: invalid type: integer `7`, expected a string");
}

#[tokio::test]
async fn a_failed_script_is_told_with_its_job_and_output() {
    let rpc = Rpc::new();
    let error = rpc.err("run_job", json!(["fail line 3: no such thing", "OSIS"])).await;
    assert_eq!(error["code"], json!(-32050));
    assert_eq!(error["message"], "the script failed: line 3: no such thing");
    let id = error["data"]["job_id"].clone();
    let expected = json!({
        "reason": "SCRIPT_FAILED", "job_id": id, "error_kind": "script_failed",
        "error": "line 3: no such thing", "output": "so far",
    });
    assert_eq!(error["data"], expected);
    assert_eq!(rpc.err("get_job_output", json!([id])).await["data"], expected);
    assert_eq!(rpc.ok("wait_job", json!([id])).await["error_kind"], json!("script_failed"));
    assert_eq!(rpc.err("play", json!(["fail"])).await["code"], json!(-32050));
}

#[tokio::test]
async fn an_output_is_fetched_in_parts_of_characters() {
    let rpc = Rpc::new();
    let id = rpc.ok("submit_job", json!([{"script": "größer", "script_type": "OSIS"}])).await;
    for (params, part) in [
        (json!([id, 0, 3]), "grö"),
        (json!([id, 3, 3]), "ßer"),
        (json!([id, 6, 3]), ""),
        (json!([id, 4]), "er"),
        (json!({"job_id": id, "length": 1}), "g"),
    ] {
        assert_eq!(rpc.ok("get_job_output", params.clone()).await, part, "{params}");
    }
    let error = rpc.err("get_job_output", json!([id, -1])).await;
    assert_eq!(error["data"]["field"], "offset", "{error}");

    let large =
        rpc.ok("submit_job", json!([{"script": format!("large {}", 11 << 20), "script_type": "OSIS"}])).await;
    for method in ["get_job_output", "get_job", "wait_job"] {
        let error = rpc.err(method, json!([large])).await;
        assert_eq!(
            (&error["data"]["reason"], &error["data"]["job_id"]),
            (&json!("RESPONSE_TOO_LARGE"), &large)
        );
        assert!(error["message"].as_str().unwrap().contains("get_job_output fetches it in parts"), "{error}");
    }
    let part = rpc.ok("get_job_output", json!([large, 11 << 20, 5])).await;
    assert_eq!(part, "");
    let error = rpc.err("run_job", json!([format!("large {}", 11 << 20), "OSIS"])).await;
    assert!(error["data"]["job_id"].is_string(), "who waited can fetch it: {error}");
}

#[tokio::test]
async fn other_nodes_of_the_overlay_are_called_and_their_answers_passed_back() {
    let rpc = Rpc::new();
    let to = format!("mycelium://{}", "cd".repeat(32));
    rpc.node.answer_next(NodeAnswer::Result(r#"{"a": 1}"#.into()));
    assert_eq!(rpc.ok("mycelium_call", json!([to, "get_job", ["j"]])).await, json!({"a": 1}));
    rpc.node.answer_next(NodeAnswer::Error(r#"{"code": 77, "message": "no vm"}"#.into()));
    let error = rpc.err("mycelium_call", json!({"destination": to, "method": "vm_list"})).await;
    assert_eq!((&error["code"], &error["message"]), (&json!(77), &json!("no vm")), "as it came");
    let id = rpc.ok("mycelium_send", json!([to, "whoami"])).await;
    rpc.node.answer_next(NodeAnswer::Result("null".into()));
    let status = rpc.ok("mycelium_status", json!([id])).await;
    assert_eq!(status["message"], json!({"id": id, "state": "received", "result": null, "error": null}));
    assert_eq!(rpc.ok("mycelium_status", json!([])).await["message"], json!(null));
    let error = rpc.err("mycelium_call", json!(["10.0.0.7", "whoami"])).await;
    assert_eq!(error["data"]["field"], "destination", "{error}");
    let called = format!("mycelium_call {to} get_job");
    assert_eq!(rpc.node.calls().first(), Some(&called));
}

#[tokio::test]
async fn output_before_the_end_is_a_conflict() {
    let rpc = Rpc::new();
    let id = rpc.ok("submit_job", json!([{"script": "endless", "script_type": "OSIS"}])).await;
    let fault = rpc.fault("get_job_output", json!([id])).await;
    assert_eq!((fault.0, fault.1.as_str()), (-32022, "JOB_HAS_NO_OUTPUT"));
    rpc.node.finish(id.as_str().unwrap().parse().unwrap(), "at last");
    assert_eq!(rpc.ok("get_job_output", json!([id])).await, json!("at last"));
}

#[tokio::test]
async fn each_code_of_a_port_reaches_the_caller() {
    let rpc = Rpc::new();
    for reason in Reason::ALL {
        let id = JobId::mint();
        let error = ApiError::new(*reason, "so it is").with_job(id).with_retry_after_ms(7);
        rpc.node.fail_next(error);
        let error = rpc.err("get_job", json!([id])).await;
        assert_eq!(error["code"], json!(code_of(reason.code())), "{reason:?}");
        assert_eq!(error["message"], "so it is");
        assert_eq!(error["data"]["reason"], reason.as_str());
        assert_eq!(error["data"]["job_id"], id.to_string());
        assert_eq!(error["data"]["retry_after_ms"], json!(7));
        assert_eq!(error["data"]["trace_id"].is_string(), reason.code() == ErrorCode::Internal, "{reason:?}");
    }
    rpc.node.fail_next(ApiError::internal("redis://:hunter2@localhost is on fire"));
    let error = rpc.err("list_jobs", json!([])).await;
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(error["data"]["trace_id"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_wait_that_is_over_says_when_nobody_serves_the_language() {
    let rpc = Rpc::new();
    let error = rpc.err("play", json!(["endless"])).await;
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32002), &json!("WAIT_TIMEOUT")));
    assert!(error["message"].as_str().unwrap().contains("no runner of this node serves SAL"), "{error}");
    let id = error["data"]["job_id"].as_str().unwrap();
    assert_eq!(rpc.ok("get_job_status", json!([id])).await, json!("Dispatched"), "the job still waits");
    rpc.node.add_runner(runner(ScriptType::Sal));
    let error = rpc.err("play", json!(["endless"])).await;
    assert!(!error["message"].as_str().unwrap().contains("no runner"), "{error}");
}

#[tokio::test]
async fn logs_come_as_one_text_and_are_cut_with_a_word() {
    let rpc = Rpc::new();
    let id = rpc.ok("submit_job", json!([{"script": "x", "script_type": "Python"}])).await;
    let job: JobId = id.as_str().unwrap().parse().unwrap();
    for line in ["one", "two", "three"] {
        rpc.node.add_log(job, line);
    }
    assert_eq!(rpc.ok("get_job_logs", json!([id])).await, json!({"logs": "one\ntwo\nthree\n"}));
    let paged = session(
        &rpc.node,
        Caller::local(),
        Options { max_logs_bytes: 1 << 20, log_page_bytes: 5, ..Options::default() },
    );
    let paged = Rpc { module: paged, node: rpc.node.clone() };
    assert_eq!(paged.ok("get_job_logs", json!([id])).await, json!({"logs": "one\ntwo\nthree\n"}));
    let short = session(
        &rpc.node,
        Caller::local(),
        Options { max_logs_bytes: 8, log_page_bytes: 5, ..Options::default() },
    );
    let short = Rpc { module: short, node: rpc.node.clone() };
    assert_eq!(
        short.ok("get_job_logs", json!([id])).await,
        json!({"logs": "one\ntwo\n[cut here: the log goes on]\n"})
    );
}

#[tokio::test]
async fn who_has_no_session_or_not_the_scope_is_refused_before_anything_else() {
    let node = FakeNode::new();
    let rpc = Rpc { module: module(node.clone(), Options::default()), node };
    for method in METHODS {
        let fault = rpc.fault(method.name, json!({"nonsense": true})).await;
        assert_eq!((fault.0, fault.1.as_str()), (-32030, "AUTHENTICATION_REQUIRED"), "{}", method.name);
    }
    for scope in [Scope::User, Scope::Register] {
        let rpc = Rpc::of(caller(scope));
        for method in METHODS {
            let fault = rpc.fault(method.name, json!({"nonsense": true})).await;
            let expected = match method.rule {
                Rule::Scope(needed) | Rule::Node(needed) if !scope.covers(needed) => {
                    (-32031, "SCOPE_INSUFFICIENT")
                }
                _ => (-32602, "UNKNOWN_FIELD"),
            };
            assert_eq!((fault.0, fault.1.as_str()), expected, "{} as {scope:?}", method.name);
        }
        assert!(rpc.node.calls().is_empty());
    }
}

#[tokio::test]
async fn a_circle_confines_its_jobs_whatever_they_say() {
    let key = format!("02{}", "ab".repeat(32));
    let circle = Caller { name: "alice".to_owned(), scope: Scope::User, circle: Some(key.parse().unwrap()) };
    let rpc = Rpc::of(circle);
    assert_eq!(rpc.ok("whoami", json!([])).await, json!(format!("alice (user) in circle {key}")));
    rpc.ok("run_job", json!({"script": "x", "script_type": "OSIS", "context_id": "another"})).await;
    rpc.ok("play", json!(["y"])).await;
    let jobs = rpc.node.submitted();
    assert!(jobs.iter().all(|job| job.context_id == key && job.circle.is_some() && job.caller_id == "alice"));
    assert_eq!(jobs[1].script_type, ScriptType::Osis, "tenants get no system access");
}

#[tokio::test]
async fn a_trace_and_every_option_travel_with_the_job() {
    let node = FakeNode::new();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut module = module(node.clone(), Options::default());
    module.extensions_mut().insert(Session::new(caller(Scope::User), Some(traceparent.to_owned())));
    let rpc = Rpc { module, node };
    let (id, first) = (JobId::mint(), JobId::mint());
    let job = json!({
        "id": id, "script": "x", "script_type": "Python", "caller_id": "me", "context_id": "here", "timeout": 7,
        "prerequisites": [first], "retries": 2, "retry_backoff_ms": 50, "max_deliveries": 1, "priority": "high",
        "run_at": "2026-11-21T12:00:00Z", "env_vars": {"A": "b"}, "idempotency_key": "once", "retention": 60,
    });
    assert_eq!(rpc.ok("create_job", json!([job])).await, json!(id));
    let new = rpc.node.submitted().pop().unwrap();
    assert_eq!(new.traceparent.as_deref(), Some(traceparent));
    let view = rpc.ok("get_job", json!([id])).await;
    for (member, value) in job.as_object().unwrap() {
        let expected = if member == "run_at" { &json!("2026-11-21T12:00:00.000Z") } else { value };
        assert_eq!(&view[member], expected, "{member}");
    }
    rpc.ok("create_job", json!([{"script": "x", "script_type": "V"}])).await;
    let bare = rpc.node.submitted().pop().unwrap();
    assert_eq!((bare.caller_id.as_str(), bare.context_id.as_str()), ("ops", "default"));
}

#[tokio::test]
async fn a_job_for_another_node_goes_there_and_is_followed() {
    let rpc = Rpc::new();
    let id = "0193e2d0-7c7a-7b0e-8f8e-0123456789ab";
    rpc.node.answer_next(NodeAnswer::Result(format!("\"{id}\"")));
    let job = json!({"script": "1", "script_type": "Python", "id": id, "node": {"free_slots": 1}});
    assert_eq!(rpc.ok("submit_job", json!([job])).await, id);
    let sent = rpc.node.calls().pop().unwrap();
    assert!(sent.contains("script_type: Some(Python)") && sent.contains("submit_job"), "{sent}");
    assert!(!sent.contains("\"node\""), "the node itself is not asked for a node: {sent}");

    // Every call about it goes the same way; its answer, error or not, is the node's own.
    rpc.node.answer_next(NodeAnswer::Result("\"Started\"".to_owned()));
    assert_eq!(rpc.ok("get_job_status", json!([id])).await, "Started");
    rpc.node.answer_next(NodeAnswer::Error(r#"{"code":77,"message":"no"}"#.to_owned()));
    assert_eq!(rpc.err("stop_job", json!({"job_id": id})).await, json!({"code": 77, "message": "no"}));
    assert_eq!(rpc.fault("get_job", json!([id])).await.1, "JOB_NOT_FOUND", "nobody was given it");

    let many = json!([[{"script": "1", "script_type": "Python", "node": "any"}]]);
    assert_eq!(
        rpc.fault("submit_jobs", many).await,
        (-32602, "INVALID_PARAMS".into(), "jobs[0].node".into())
    );
    let bad = json!({"script": "1", "script_type": "Python", "node": {"slots": 1}});
    assert_eq!(rpc.fault("run_job", bad).await.2, "node.slots");
}

#[tokio::test]
async fn the_bus_is_asked_with_text_or_bytes_and_answers_with_either() {
    let rpc = Rpc::new();
    let reply = |twin: u32, data: Value, error: Value| json!({"twin": twin, "uid": format!("{twin}.1"), "data": data, "data_base64": null, "error": error});
    assert_eq!(
        rpc.ok("bus_call", json!([[1, 0], "echo", "hello"])).await,
        json!([reply(1, json!("hello"), Value::Null), reply(0, Value::Null, json!("twin not found"))])
    );
    let bytes = rpc.ok("bus_call", json!({"twins": [1], "command": "echo", "data_base64": "/w=="})).await;
    assert_eq!((&bytes[0]["data"], &bytes[0]["data_base64"]), (&Value::Null, &json!("/w==")));
    let id = rpc.ok("bus_send", json!({"twins": [1], "command": "echo"})).await;
    assert_eq!(rpc.ok("bus_result", json!([id])).await[0]["data_base64"], "/w==");
    assert_eq!(rpc.ok("bus_result", json!(["other"])).await, json!([]));
    for (params, field) in [
        (json!({"twins": [], "command": "c"}), "twins"),
        (json!({"twins": [1], "command": ""}), "command"),
        (json!({"twins": [1], "command": "c", "data": "a", "data_base64": "/w=="}), "data_base64"),
        (json!({"twins": [1], "command": "c", "data_base64": "*"}), "data_base64"),
        (json!({"twins": [-1], "command": "c"}), "twins[0]"),
    ] {
        assert_eq!(rpc.fault("bus_send", params).await.2, field);
    }
}
