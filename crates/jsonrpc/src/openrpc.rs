//! The OpenRPC document, made from the table of methods.

use hero_domain::{ErrorCode, Reason, Scope};
use serde_json::{Map, Value, json};

use crate::{METHODS, Method, Rule, code_of, examples::example, method::Param};

/// The version of OpenRPC that the document follows.
const OPENRPC: &str = "1.3.2";

/// The document: every method, who may call it, its parameters, an example and the errors that it may fail with.
#[must_use]
pub fn openrpc() -> Value {
    let about = "Runs scripts as jobs. JSON-RPC 2.0 over HTTP POST and WebSocket, at / and at /{circle_pk}.";
    document("Hero", about, METHODS.iter().collect())
}

/// The document of an explorer, which has these methods alone.
pub(crate) fn openrpc_of_explorer(names: &[&str]) -> Value {
    let about = "Knows which nodes exist, and passes calls on to them. JSON-RPC 2.0 over a unix socket, TCP or TLS: as \
                 HTTP POST, over a WebSocket, and as raw lines when the first byte is { or [.";
    document("Hero explorer", about, METHODS.iter().filter(|method| names.contains(&method.name)).collect())
}

fn document(title: &str, about: &str, methods: Vec<&Method>) -> Value {
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "license": {"name": "Apache-2.0"},
        },
        "methods": methods.into_iter().map(method).collect::<Vec<_>>(),
        "components": {"schemas": schemas(), "errors": errors()},
    })
}

fn method(method: &Method) -> Value {
    let example = example(method.name);
    let given = method.params.iter().zip(&example);
    json!({
        "name": method.name,
        "summary": method.summary,
        "tags": [{"name": who(method.rule)}],
        "paramStructure": "either",
        "params": method.params.iter().map(param).collect::<Vec<_>>(),
        "result": {"name": "result", "schema": schema(method.result)},
        "errors": codes().map(|code| json!({"$ref": format!("#/components/errors/{}", name(code))})).collect::<Vec<_>>(),
        "examples": [{
            "name": method.name,
            "params": given.map(|(param, value)| json!({"name": param.name, "value": value})).collect::<Vec<_>>(),
        }],
    })
}

/// Who may call it, in a word.
fn who(rule: Rule) -> &'static str {
    match rule {
        Rule::Guest => "anybody",
        Rule::Scope(Scope::Admin) => "admin",
        Rule::Scope(Scope::User) => "user",
        Rule::Scope(Scope::Register) => "register",
        Rule::Node(Scope::Admin) => "admin, at the root",
        Rule::Node(Scope::User) => "user, at the root",
        Rule::Node(Scope::Register) => "register, at the root",
        Rule::Root => "any key, at the root",
    }
}

fn param(param: &Param) -> Value {
    json!({"name": param.name, "required": param.required, "schema": schema(param.shape)})
}

/// The schema of a shape: `string`, `Job`, or either as `string[]`.
fn schema(shape: &str) -> Value {
    if let Some(item) = shape.strip_suffix("[]") {
        return json!({"type": "array", "items": schema(item)});
    }
    if shape == "any" {
        return json!({});
    }
    if shape.starts_with(|first: char| first.is_ascii_uppercase()) {
        return json!({"$ref": format!("#/components/schemas/{shape}")});
    }
    json!({"type": shape})
}

/// The named shapes. Members are listed as `name: shape`, optional ones with a question mark.
const SHAPES: &[(&str, &str)] = &[
    (
        "JobParams",
        "script: string, script_type: ScriptType, caller_id?: string, context_id?: string, timeout?: integer, \
        prerequisites?: string[], retries?: integer, priority?: Priority, run_at?: string, env_vars?: object, \
        idempotency_key?: string, retention?: integer, retry_backoff_ms?: integer, max_deliveries?: integer, id?: string, \
        node?: NodeTarget",
    ),
    (
        "Job",
        "id: string, caller_id: string, context_id: string, circle: string|null, script: string, \
        script_type: ScriptType, timeout: integer, prerequisites: string[], dependents: string[], retries: integer, \
        retry_backoff_ms: integer, max_deliveries: integer, priority: Priority, run_at: string|null, env_vars: object, \
        idempotency_key: string|null, retention: integer, status: JobStatus, error_kind: ErrorKind|null, \
        error: string|null, output: string|null, progress: Progress|null, result: any, attempt: integer, \
        runner_id: string|null, created_at: string, queued_at: string|null, started_at: string|null, \
        finished_at: string|null, updated_at: string, traceparent: string|null, note: string|null",
    ),
    ("Progress", "fraction: number, text: string"),
    (
        "Explanation",
        "job_id: string, status: JobStatus, reasons: string[], pending: integer, prerequisites: string[], \
        not_before: string|null, ahead: Ahead|null, runners: Serving|null, runner_id: string|null, \
        lease_until: string|null, attempt: integer, error_kind: ErrorKind|null, parked: Parked|null, \
        context_bytes: ContextBytes|null",
    ),
    ("Parked", "context_id: string, running: integer, limit: integer|null, ahead: Ahead"),
    ("ContextBytes", "bytes: integer, most: integer"),
    ("Ahead", "jobs: integer, at_least: boolean"),
    ("Serving", "serving: integer, draining: integer, slots: integer, busy: integer"),
    (
        "JobEvent",
        "event_id: string, event: JobEventKind, job_id: string, status: JobStatus|null, script_type: ScriptType|null, \
        context_id: string|null, caller_id: string|null, created_at: string|null, attempt: integer|null, \
        runner_id: string|null, progress: Progress|null, error_kind: ErrorKind|null, error: string|null",
    ),
    ("LogNews", "lines: LogLine[], place: string|null, ended: JobStatus|null"),
    ("LogLine", "stream: LogStream, at: string, text: string"),
    (
        "Runner",
        "id: string, script_types: ScriptType[], circles: string[], slots: integer, busy: integer, host: string, \
        slots_by_type: object, not_offered: object, max_running_per_context: integer|null, \
        version: string, sandbox: string, started_at: string, last_seen_at: string, lease_until: string, \
        state: RunnerState",
    ),
    (
        "JobFilter",
        "status?: JobStatus, error_kind?: ErrorKind, script_type?: ScriptType, context_id?: string, \
        caller_id?: string, created_after?: string, created_before?: string, limit?: integer, cursor?: string",
    ),
    (
        "WatchFilter",
        "status?: JobStatus, error_kind?: ErrorKind, script_type?: ScriptType, context_id?: string, \
        caller_id?: string, created_after?: string, created_before?: string",
    ),
    (
        "ScheduleParams",
        "cron: string, job: JobParams, time_zone?: string, overlap?: string, catch_up?: string, id?: string",
    ),
    (
        "Schedule",
        "id: string, cron: string, time_zone: string, overlap: string, catch_up: string, job: JobTemplate, \
        paused: boolean, created_at: string, next_due: string|null, next_times: string[], last_due: string|null, \
        last_job_id: string|null, started: integer, skipped: integer",
    ),
    (
        "JobTemplate",
        "script: string, script_type: ScriptType, caller_id: string, context_id: string, circle: string|null, \
        timeout: integer, retries: integer, retry_backoff_ms: integer, max_deliveries: integer, priority: Priority, \
        env_vars: object, retention: integer",
    ),
    (
        "BusReply",
        "twin: integer, uid: string, data?: string|null, data_base64?: string|null, error?: string|null",
    ),
    (
        "Heartbeat",
        "node_id: string, name?: string, addresses?: string[], script_types?: ScriptType[], circles?: string[], \
        labels?: object, runners?: integer, slots?: integer, busy?: integer, queues?: object, machine?: Machine, \
        version?: string, overlay_ip?: string, overlay_key?: string, twin_id?: integer, started_at_ms: integer, \
        counter: integer, sent_at_ms: integer, interval_ms: integer",
    ),
    (
        "Node",
        "node_id: string, name?: string, addresses?: string[], script_types?: ScriptType[], circles?: string[], \
        labels?: object, runners?: integer, slots?: integer, busy?: integer, queues?: object, machine?: Machine, \
        version?: string, overlay_ip?: string, overlay_key?: string, twin_id?: integer, started_at_ms: integer, \
        counter: integer, sent_at_ms: integer, interval_ms: integer, state: string, standing: string, \
        public_key?: string, first_seen: string, last_seen: string, history?: NodeChange[]",
    ),
    ("NodeChange", "at: string, state: string, why: string"),
    ("NodePage", "nodes: Node[], total: integer, next_cursor?: string"),
    (
        "Machine",
        "cpus: integer, cpu_percent: number, load: number, memory_bytes: integer, memory_used_bytes: integer, \
        disk_bytes: integer, disk_used_bytes: integer",
    ),
    (
        "NodeFilter",
        "script_type?: ScriptType, circle?: string, free_slots?: integer, label?: string, state?: string, \
        sort?: string, limit?: integer, cursor?: string",
    ),
    (
        "NodeSelector",
        "script_type?: ScriptType, circle?: string, free_slots?: integer, label?: string, except?: string[]",
    ),
    ("PlayResult", "output: string"),
    ("StartJobResult", "success: boolean"),
    ("JobLogsResult", "logs: string|null"),
    ("CircleLimits", "max_timeout_s?: integer|null, max_running?: integer|null"),
    (
        "Circle",
        "public_key: string, members: string[], limits: CircleLimits, is_configured: boolean, created_at: string|null",
    ),
    (
        "Key",
        "name: string, scope: Scope, circle: string|null, created_by: string, created_at: string, last_used_at: string|null",
    ),
    (
        "CreatedKey",
        "name: string, scope: Scope, circle: string|null, created_by: string, created_at: string, \
        last_used_at: string|null, secret: string",
    ),
    (
        "MyceliumStatus",
        "public_key: string, ip: string|null, subnet: string, peers: integer, topic: string, message: MyceliumMessage|null",
    ),
    ("MyceliumMessage", "id: string, state: MyceliumState, result: any, error: any"),
    (
        "Stats",
        "at: string, jobs: JobCounts, lanes: LaneStats[], runners: RunnerCounts, flow: FlowSample[], \
        failures: FailureLine[], store: StoreStats|null",
    ),
    (
        "JobCounts",
        "kept: integer, queued: integer, delayed: integer|null, waiting: integer|null, started: integer|null, \
        failed: integer|null",
    ),
    (
        "LaneStats",
        "script_type: ScriptType, circle: string|null, waiting: integer, oldest_ms: integer|null, runners: integer",
    ),
    ("RunnerCounts", "alive: integer, draining: integer, lost: integer, slots: integer, busy: integer"),
    ("FlowSample", "at: string, created: number, ended: number"),
    (
        "FailureLine",
        "job_id: string, script_type: ScriptType, context_id: string, error_kind: string|null, error: string, \
        finished_at: string|null",
    ),
    (
        "StoreStats",
        "version: string, used_bytes: integer, max_bytes: integer|null, machine_bytes: integer, \
        persistence: string, is_saved: boolean, warnings: string[]",
    ),
    ("AuditEntry", "id: string, at: string, actor: string, action: string, subject: string"),
];

/// Shapes that are one of some words.
const WORDS: &[(&str, &[&str])] = &[
    ("ScriptType", &["OSIS", "SAL", "V", "Python"]),
    ("Scope", &["admin", "user", "register"]),
    ("MyceliumState", &["pending", "received", "aborted", "unknown"]),
    ("Priority", &["low", "normal", "high"]),
    ("JobStatus", &["Dispatched", "WaitingForPrerequisites", "Started", "Error", "Finished"]),
    (
        "ErrorKind",
        &[
            "script_failed",
            "timeout",
            "stopped",
            "runner_lost",
            "prerequisite_failed",
            "invalid_script",
            "output_too_large",
        ],
    ),
    (
        "JobEventKind",
        &[
            "current", "created", "queued", "waiting", "delayed", "started", "progress", "finished",
            "failed", "deleted",
        ],
    ),
    ("LogStream", &["stdout", "stderr", "log"]),
    ("RunnerState", &["alive", "draining", "lost"]),
];

fn schemas() -> Value {
    let mut all = Map::new();
    for (name, words) in WORDS {
        all.insert((*name).to_owned(), json!({"type": "string", "enum": words}));
    }
    for (name, members) in SHAPES {
        all.insert((*name).to_owned(), object(members));
    }
    // A node's id, `any`, or what it has to have.
    let target = json!({"oneOf": [{"type": "string"}, schema("NodeSelector")]});
    all.insert("NodeTarget".to_owned(), target);
    Value::Object(all)
}

fn object(members: &str) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for member in members.split(", ") {
        let (name, shape) = member.trim().split_once(": ").unwrap_or((member, "string"));
        let (shape, is_nullable) = shape.strip_suffix("|null").map_or((shape, false), |shape| (shape, true));
        let mut of = schema(shape);
        if is_nullable {
            of = json!({"oneOf": [of, {"type": "null"}]});
        }
        match name.strip_suffix('?') {
            Some(name) => _ = properties.insert(name.to_owned(), of),
            None => {
                required.push(name.to_owned());
                properties.insert(name.to_owned(), of);
            }
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

fn codes() -> impl Iterator<Item = ErrorCode> {
    ErrorCode::ALL.into_iter()
}

fn name(code: ErrorCode) -> String {
    format!("{code:?}")
}

fn errors() -> Value {
    let of = |code: ErrorCode| {
        let reasons: Vec<_> =
            Reason::ALL.iter().filter(|reason| reason.code() == code).map(|reason| reason.as_str()).collect();
        (name(code), json!({"code": code_of(code), "message": name(code), "data": {"reasons": reasons}}))
    };
    Value::Object(codes().map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{openrpc, openrpc_of_explorer};
    use crate::METHODS;

    /// Every `$ref` below a value.
    fn refs(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(path)) = members.get("$ref") {
                    into.insert(path.clone());
                }
                members.values().for_each(|member| refs(member, into));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(item, into)),
            _ => {}
        }
    }

    #[test]
    fn the_document_has_every_method_once_and_leads_nowhere_wrong() {
        let document = openrpc();
        let names: Vec<_> = document["methods"]
            .as_array()
            .unwrap()
            .iter()
            .map(|method| method["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, METHODS.iter().map(|method| method.name).collect::<Vec<_>>());
        let mut found = BTreeSet::new();
        refs(&document, &mut found);
        assert!(found.len() > 15, "{found:?}");
        for path in found {
            let pointer = path.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{path} leads nowhere");
        }
    }

    #[test]
    fn an_explorer_tells_of_its_own_methods_only() {
        let document = openrpc_of_explorer(&["list_nodes", "rpc.discover"]);
        let names: Vec<_> =
            document["methods"].as_array().unwrap().iter().map(|method| &method["name"]).collect();
        assert_eq!(names, ["rpc.discover", "list_nodes"]);
        let mut found = BTreeSet::new();
        refs(&document, &mut found);
        for path in found {
            assert!(document.pointer(path.strip_prefix('#').unwrap()).is_some(), "{path} leads nowhere");
        }
    }

    #[test]
    fn what_the_meta_schema_requires_is_there() {
        let document = openrpc();
        assert!(document["openrpc"].as_str().unwrap().starts_with("1."));
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        for method in document["methods"].as_array().unwrap() {
            for param in method["params"].as_array().unwrap() {
                assert!(param["name"].is_string() && param["schema"].is_object(), "{param}");
            }
            assert!(method["result"]["name"].is_string() && method["result"]["schema"].is_object());
            for example in method["examples"].as_array().unwrap() {
                assert!(example["name"].is_string() && example["params"].is_array());
            }
        }
        for error in document["components"]["errors"].as_object().unwrap().values() {
            assert!(error["code"].is_i64() && error["message"].is_string());
        }
    }
}
