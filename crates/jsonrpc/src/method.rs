//! The table of methods: names, parameters, who may call. OpenRPC, authorization and metric labels come from
//! it, and a test holds it against what [`module`](crate::module) serves.

use hero_domain::{ApiError, Caller, Reason, Result, Scope};

use crate::Session;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everybody, also who has not proved anything yet.
    Guest,
    /// Callers whose scope covers this one.
    Scope(Scope),
    /// The same, but at the root only: no circle has a part in it.
    Node(Scope),
    /// Everybody who has proved who it is, at the root only.
    Root,
}

impl Rule {
    /// Fails unless the caller of this session may.
    ///
    /// # Errors
    /// AuthenticationRequired for a guest; ScopeInsufficient, naming both scopes, or the place to call it at.
    pub fn check(self, session: &Session) -> Result<()> {
        if self == Self::Guest {
            return Ok(());
        }
        if session.is_guest() {
            let words =
                "prove a key of this circle first: fetch_nonce, then authenticate (or login, over HTTP)";
            return Err(ApiError::new(Reason::AuthenticationRequired, words));
        }
        self.check_caller(session.caller())
    }

    /// Fails unless this caller, who is no guest, may.
    ///
    /// # Errors
    /// ScopeInsufficient, naming both scopes, or the place to call it at.
    pub fn check_caller(self, caller: &Caller) -> Result<()> {
        match self {
            Self::Guest => Ok(()),
            Self::Root if caller.circle.is_none() => Ok(()),
            Self::Scope(needed) => caller.require(needed),
            Self::Node(needed) if caller.circle.is_none() => caller.require(needed),
            Self::Node(_) | Self::Root => {
                let words = "this is the node's, not a circle's; call it at the root path";
                Err(ApiError::new(Reason::ScopeInsufficient, words))
            }
        }
    }
}

/// A parameter of a method, in the place where it stands among positional ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Whether a call without it is refused.
    pub required: bool,
    /// The JSON type, such as `string` or `JobParams`.
    pub shape: &'static str,
}

/// A method of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its parameters, required ones first.
    pub params: &'static [Param],
    /// The JSON type of its result.
    pub result: &'static str,
    /// Who may call it.
    pub rule: Rule,
    /// Whether it may take long: the transport's own call timeout does not apply, since the caller, the
    /// supervisor or the port's client sets a bound.
    pub waits: bool,
    /// One line for people.
    pub summary: &'static str,
}

/// The method of this name.
#[must_use]
pub fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

const fn required(name: &'static str, shape: &'static str) -> Param {
    Param { name, required: true, shape }
}

const fn optional(name: &'static str, shape: &'static str) -> Param {
    Param { name, required: false, shape }
}

const ADMIN: Rule = Rule::Node(Scope::Admin);
const USER: Rule = Rule::Scope(Scope::User);
const REGISTER: Rule = Rule::Scope(Scope::Register);
const JOB_ID: &[Param] = &[required("job_id", "string")];
const RUNNER_ID: &[Param] = &[required("runner_id", "string")];
const KEY_NAME: &[Param] = &[required("name", "string")];
const PROOF: &[Param] =
    &[required("pubkey", "string"), required("signature", "string"), required("nonce", "string")];
const NODE_ID: &[Param] = &[required("node_id", "string")];
const SCHEDULE_ID: &[Param] = &[required("schedule_id", "string")];

macro_rules! methods {
    ($($name:literal ($params:expr) -> $result:literal, $rule:expr, $waits:expr, $summary:literal;)*) => {
        /// Every method that is served.
        pub const METHODS: &[Method] = &[$(Method {
            name: $name,
            params: $params,
            result: $result,
            rule: $rule,
            waits: $waits,
            summary: $summary,
        },)*];
    };
}

const ANSWERS: bool = false;
const WAITS: bool = true;

methods! {
    "whoami" (&[]) -> "string", Rule::Guest, ANSWERS,
        "Who the connection is, and with which scope.";
    "play" (&[required("script", "string")]) -> "PlayResult", USER, WAITS,
        "Runs a script in the default language and returns its output.";
    "create_job" (&[required("job", "JobParams")]) -> "string", USER, ANSWERS,
        "Stores a job without starting it; returns its id.";
    "start_job" (JOB_ID) -> "StartJobResult", USER, ANSWERS,
        "Queues a created job, or parks it until its prerequisites have finished.";
    "run_job" (&[
        required("script", "string"),
        required("script_type", "ScriptType"),
        optional("prerequisites", "string[]"),
        optional("timeout", "integer"),
        optional("caller_id", "string"),
        optional("context_id", "string"),
        optional("env_vars", "object"),
        optional("idempotency_key", "string"),
        optional("node", "NodeTarget"),
    ]) -> "string", USER, WAITS,
        "Creates and starts a job, waits for its end and returns its output.";
    "submit_job" (&[required("job", "JobParams"), optional("explain", "boolean")]) -> "string", USER, ANSWERS,
        "Creates and starts a job in one step; returns its id, or with `explain` {job_id, reasons}: why it is where it is.";
    "submit_jobs" (&[required("jobs", "JobParams[]")]) -> "string[]", USER, ANSWERS,
        "Creates and starts jobs in one step, all or none; returns their ids in the same order.";
    "wait_job" (&[required("job_id", "string"), optional("timeout", "integer")]) -> "Job", USER, WAITS,
        "Waits for a job's end and returns the whole job.";
    "get_job" (JOB_ID) -> "Job", USER, ANSWERS,
        "The whole job.";
    "get_job_status" (JOB_ID) -> "JobStatus", USER, ANSWERS,
        "Where a job is.";
    "get_job_output" (&[
        required("job_id", "string"),
        optional("offset", "integer"),
        optional("length", "integer"),
    ]) -> "string", USER, ANSWERS,
        "What came out of a finished job, or a part of it: so many characters from there on.";
    "get_job_logs" (JOB_ID) -> "JobLogsResult", USER, ANSWERS,
        "What a job has logged so far.";
    "list_jobs" (&[optional("filter", "JobFilter")]) -> "string[]", USER, ANSWERS,
        "Ids of jobs, newest first, one page at a time.";
    "stop_job" (JOB_ID) -> "null", USER, ANSWERS,
        "Stops a job; an ended one is left as it is.";
    "retry_job" (JOB_ID) -> "JobStatus", USER, ANSWERS,
        "Starts a job that ended in error again; returns where it is then.";
    "retry_jobs" (&[optional("filter", "JobFilter")]) -> "string[]", USER, WAITS,
        "Starts jobs that ended in error again, a page at a time; returns their ids.";
    "explain_job" (JOB_ID) -> "Explanation", USER, ANSWERS,
        "Why a job is where it is, in words and data.";
    "delete_job" (JOB_ID) -> "null", USER, ANSWERS,
        "Removes a job and its log; a running one is stopped first.";
    "clear_all_jobs" (&[]) -> "null", USER, WAITS,
        "Removes every job that the caller may see.";
    "list_runners" (&[]) -> "Runner[]", REGISTER, ANSWERS,
        "The runners of this node.";
    "get_runner" (RUNNER_ID) -> "Runner", REGISTER, ANSWERS,
        "One runner of this node.";
    "drain_runner" (&[required("runner_id", "string"), optional("draining", "boolean")]) -> "null",
        REGISTER, ANSWERS,
        "Tells a runner to take no new jobs, or (draining false) to take them again.";
    "remove_runner" (RUNNER_ID) -> "null", REGISTER, ANSWERS,
        "Forgets a runner whose lease is over; what it held goes back to its queues.";
    "create_schedule" (&[required("schedule", "ScheduleParams")]) -> "Schedule", USER, ANSWERS,
        "Stores a schedule, which starts a job at each of its times.";
    "list_schedules" (&[]) -> "Schedule[]", USER, ANSWERS,
        "The schedules that the caller may see, the oldest first.";
    "get_schedule" (SCHEDULE_ID) -> "Schedule", USER, ANSWERS,
        "One schedule, with its next times.";
    "pause_schedule" (&[required("schedule_id", "string"), optional("paused", "boolean")]) -> "Schedule",
        USER, ANSWERS,
        "Pauses a schedule, or (paused false) lets it go on from now.";
    "run_schedule" (SCHEDULE_ID) -> "string", USER, ANSWERS,
        "Starts the job of a schedule now, beside its times; returns its id.";
    "delete_schedule" (SCHEDULE_ID) -> "null", USER, ANSWERS,
        "Removes a schedule; the jobs that it started stay.";
    "bus_call" (&[
        required("twins", "integer[]"),
        required("command", "string"),
        optional("data", "string"),
        optional("data_base64", "string"),
        optional("expires", "integer"),
        optional("retries", "integer"),
        optional("timeout", "integer"),
    ]) -> "BusReply[]", Rule::Node(Scope::User), WAITS,
        "Asks services of twins over the message bus and waits for one answer of each.";
    "bus_send" (&[
        required("twins", "integer[]"),
        required("command", "string"),
        optional("data", "string"),
        optional("data_base64", "string"),
        optional("expires", "integer"),
        optional("retries", "integer"),
    ]) -> "string", Rule::Node(Scope::User), ANSWERS,
        "Asks services of twins over the message bus; returns the id to ask for the answers with.";
    "bus_result" (&[required("id", "string")]) -> "BusReply[]", Rule::Node(Scope::User), ANSWERS,
        "The answers to a bus_send that have come.";
    "mycelium_call" (&[
        required("destination", "string"),
        required("method", "string"),
        optional("params", "any"),
        optional("timeout_ms", "integer"),
        optional("topic", "string"),
    ]) -> "any", Rule::Node(Scope::User), WAITS,
        "Calls a method of another node over the Mycelium overlay; its answer as it is.";
    "mycelium_send" (&[
        required("destination", "string"),
        required("method", "string"),
        optional("params", "any"),
        optional("topic", "string"),
    ]) -> "string", Rule::Node(Scope::User), ANSWERS,
        "The same without waiting; returns the id of the message, to ask for the answer with.";
    "mycelium_status" (&[optional("id", "string")]) -> "MyceliumStatus", Rule::Node(Scope::User), ANSWERS,
        "This node in the overlay, and where a message is, with its answer once that has come.";

    "rpc.discover" (&[]) -> "object", Rule::Guest, ANSWERS,
        "This very list, as an OpenRPC document.";
    "fetch_nonce" (&[required("pubkey", "string")]) -> "string", Rule::Guest, ANSWERS,
        "A line for the owner of a key to sign, once and soon.";
    "authenticate" (PROOF) -> "boolean", Rule::Guest, ANSWERS,
        "Binds a key to this WebSocket, if the signature proves it.";
    "login" (PROOF) -> "string", Rule::Guest, ANSWERS,
        "A bearer token for a while, if the signature proves the key.";
    "add_circle" (&[
        required("public_key", "string"),
        optional("members", "string[]"),
        optional("limits", "CircleLimits"),
    ]) -> "Circle", ADMIN, ANSWERS,
        "Serves a circle; a repeat replaces its members and limits.";
    "remove_circle" (&[required("public_key", "string")]) -> "null", ADMIN, ANSWERS,
        "Serves a circle no more; its jobs stay as long as others.";
    "list_circles" (&[]) -> "Circle[]", ADMIN, ANSWERS,
        "The circles that are served.";
    "create_key" (&[
        required("name", "string"),
        required("scope", "Scope"),
        optional("circle", "string"),
    ]) -> "CreatedKey", ADMIN, ANSWERS,
        "Makes an API key, which is shown this once.";
    "list_keys" (&[]) -> "Key[]", ADMIN, ANSWERS,
        "What is known of the API keys, and when each was used last.";
    "remove_key" (KEY_NAME) -> "null", ADMIN, ANSWERS,
        "Forgets an API key.";
    "rotate_key" (KEY_NAME) -> "CreatedKey", ADMIN, ANSWERS,
        "Replaces an API key by another of the same name; the old one is over.";
    "list_audit" (&[optional("limit", "integer")]) -> "AuditEntry[]", ADMIN, ANSWERS,
        "Who did what to keys and circles, and who has logged in, the latest first.";
    // Nodes
    "heartbeat" (&[
        required("beat", "Heartbeat"),
        optional("public_key", "string"),
        optional("signature", "string"),
    ]) -> "null", Rule::Node(Scope::Register), ANSWERS,
        "A node says that it lives; the signature is over the text of `beat` as it stands in the call.";
    "node_info" (&[]) -> "Node", Rule::Root, ANSWERS,
        "The node that is asked.";
    "list_nodes" (&[optional("filter", "NodeFilter")]) -> "NodePage", Rule::Root, ANSWERS,
        "The nodes that are known, a page at a time.";
    "get_node" (NODE_ID) -> "Node", Rule::Root, ANSWERS,
        "One node, with its changes of state.";
    "call_node" (&[
        required("node_id", "NodeTarget"),
        required("method", "string"),
        optional("params", "any"),
        optional("timeout_ms", "integer"),
        optional("places", "string"),
    ]) -> "any", Rule::Node(Scope::User), WAITS,
        "Passes a call on to a node, or to the least busy one that fits a selector; its answer as it is.";
    "allow_node" (NODE_ID) -> "null", ADMIN, ANSWERS,
        "Lets a node come back with another key, or after a ban.";
    "ban_node" (NODE_ID) -> "null", ADMIN, ANSWERS,
        "A node is heard and called no more.";
    "remove_node" (NODE_ID) -> "null", ADMIN, ANSWERS,
        "Forgets a node; when it is heard of again, it is new.";
}

#[cfg(test)]
mod tests {
    use super::{METHODS, method};

    #[test]
    fn names_are_unique_and_required_params_come_first() {
        for (index, entry) in METHODS.iter().enumerate() {
            assert_eq!(method(entry.name), Some(&METHODS[index]), "{} is there twice", entry.name);
            let required = entry.params.iter().take_while(|param| param.required).count();
            assert!(entry.params[required..].iter().all(|param| !param.required), "{}", entry.name);
            assert!(entry.summary.ends_with('.'), "{}", entry.name);
        }
    }
}
