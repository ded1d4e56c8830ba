//! What stands in a message: the request, the secret that came along, and what makes it safe to run it again.

use hero_domain::CircleKey;
use serde_json::{Map, Value};

/// Methods that may run twice without harm: they only look, or a repeat changes nothing, or the key that is added
/// below makes the second run the first one.
const SAFE: &[&str] = &[
    "whoami",
    "create_job",
    "run_job",
    "submit_job",
    "submit_jobs",
    "wait_job",
    "get_job",
    "get_job_status",
    "get_job_output",
    "get_job_logs",
    "list_jobs",
    "stop_job",
    "explain_job",
    "stats",
    "list_runners",
    "get_runner",
    "drain_runner",
    "list_schedules",
    "get_schedule",
    "pause_schedule",
    "node_info",
    "list_nodes",
    "get_node",
    "mycelium_status",
];
/// Where the key stands among the positional params of run_job, and how many come before it.
const RUN_JOB_KEY: usize = 7;

/// A request, ready to be dispatched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// The JSON text, without what was only for the bridge.
    pub(crate) body: String,
    /// What was brought to prove who calls.
    pub(crate) secret: Option<String>,
    /// The circle that is meant, where a peer has several.
    pub(crate) circle: Option<CircleKey>,
    /// Whether it may be dispatched again after nobody knows how far it got.
    pub(crate) is_safe: bool,
    /// The id of a single call; null for a batch.
    pub(crate) id: Value,
}

/// Reads a message. `key` is what stands for it: the same for every delivery.
pub(crate) fn read(payload: &[u8], key: &str) -> Result<Request, String> {
    let text = str::from_utf8(payload).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut seen = Seen::default();
    match &mut value {
        Value::Array(calls) => {
            for (place, call) in calls.iter_mut().enumerate() {
                seen.call(call, &format!("{key}:{place}"));
            }
        }
        call => seen.call(call, key),
    }
    let id = value.get("id").cloned().unwrap_or_default();
    let Seen { secret, circle, is_unsafe } = seen;
    Ok(Request { body: value.to_string(), secret, circle, is_safe: !is_unsafe, id })
}

#[derive(Default)]
struct Seen {
    secret: Option<String>,
    circle: Option<CircleKey>,
    is_unsafe: bool,
}

impl Seen {
    fn call(&mut self, call: &mut Value, key: &str) {
        let Some(method) = call.get("method").and_then(Value::as_str).map(str::to_owned) else { return };
        self.is_unsafe |= !SAFE.contains(&method.as_str());
        // Beside the method it fits positional params too.
        if let Some(secret) = call.as_object_mut().and_then(|members| members.remove("secret")) {
            self.secret = self.secret.take().or_else(|| secret.as_str().map(str::to_owned));
        }
        if let Some(params) = call.get_mut("params") {
            if let Some(members) = params.as_object_mut() {
                self.take(members);
            }
            add_key(&method, params, key);
        }
    }

    /// The members that are for the bridge.
    fn take(&mut self, members: &mut Map<String, Value>) {
        if let Some(secret) = members.remove("secret").as_ref().and_then(Value::as_str) {
            self.secret.get_or_insert_with(|| secret.to_owned());
        }
        let circle = members.get("circle").and_then(Value::as_str).and_then(|text| text.parse().ok());
        if let Some(circle) = circle {
            members.remove("circle");
            self.circle.get_or_insert(circle);
        }
    }
}

/// Gives jobs that have no idempotency key one of this request's, so that no job is made twice.
fn add_key(method: &str, params: &mut Value, key: &str) {
    match (method, params) {
        ("run_job", Value::Object(members)) => insert(members, key),
        ("run_job", Value::Array(values)) if values.len() <= RUN_JOB_KEY => {
            values.resize(RUN_JOB_KEY, Value::Null);
            values.push(key.into());
        }
        ("create_job" | "submit_job", Value::Object(members)) => job(members.get_mut("job"), key),
        ("create_job" | "submit_job", Value::Array(values)) => job(values.first_mut(), key),
        ("submit_jobs", params) => {
            let jobs = match params {
                Value::Object(members) => members.get_mut("jobs"),
                Value::Array(values) => values.first_mut(),
                _ => None,
            };
            for (place, one) in jobs.and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
                job(Some(one), &format!("{key}:{place}"));
            }
        }
        _ => {}
    }
}

fn job(job: Option<&mut Value>, key: &str) {
    if let Some(Value::Object(members)) = job {
        insert(members, key);
    }
}

fn insert(members: &mut Map<String, Value>, key: &str) {
    let slot = members.entry("idempotency_key").or_insert(Value::Null);
    if slot.is_null() {
        *slot = key.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::read;

    fn body(request: Value) -> Value {
        serde_json::from_str(&read(request.to_string().as_bytes(), "k").unwrap().body).unwrap()
    }

    #[test]
    fn what_is_for_the_bridge_is_taken_out() {
        let circle = format!("02{}", "ab".repeat(32));
        let params = json!({"secret": "s", "circle": circle, "job_id": "j"});
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "get_job", "params": params}).to_string();
        let request = read(text.as_bytes(), "k").unwrap();
        assert!(!request.body.contains("secret") && !request.body.contains(&circle), "{}", request.body);
        assert_eq!((request.secret.as_deref(), request.circle), (Some("s"), circle.parse().ok()));
        assert!(request.is_safe);
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "get_job", "params": ["j"], "secret": "s"})
            .to_string();
        let request = read(text.as_bytes(), "k").unwrap();
        assert!(
            !request.body.contains("secret") && request.secret.as_deref() == Some("s"),
            "{}",
            request.body
        );
    }

    #[test]
    fn jobs_get_the_key_of_their_message_unless_they_have_one() {
        let run = body(json!({"method": "run_job", "params": ["1", "OSIS"]}));
        assert_eq!(run["params"], json!(["1", "OSIS", null, null, null, null, null, "k"]));
        let run = body(json!({"method": "run_job", "params": {"script": "1", "idempotency_key": "mine"}}));
        assert_eq!(run["params"]["idempotency_key"], "mine");
        let submit = body(json!({"method": "submit_job", "params": [{"script": "1"}]}));
        assert_eq!(submit["params"][0]["idempotency_key"], "k");
        let many = body(json!([{"method": "submit_jobs", "params": {"jobs": [{}, {}]}}]));
        assert_eq!(many[0]["params"]["jobs"][1]["idempotency_key"], "k:0:1");
    }

    #[test]
    fn what_may_not_run_twice_is_known() {
        let is_safe = |text: &str| read(text.as_bytes(), "k").unwrap().is_safe;
        assert!(is_safe(r#"[{"method":"get_job"},{"method":"run_job","params":["1","OSIS"]}]"#));
        assert!(!is_safe(r#"[{"method":"get_job"},{"method":"run_schedule","params":["1"]}]"#));
        assert!(!is_safe(r#"{"method":"play","params":["1"]}"#));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for payload in [&b"\xff"[..], b"", b"{", b"{} {}"] {
            assert!(read(payload, "k").is_err(), "{payload:?}");
        }
        assert!(read(b"7", "k").is_ok(), "JSON, and no request: the table says so");
    }
}
