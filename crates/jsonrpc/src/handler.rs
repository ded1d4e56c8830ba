//! What each method does: parameters in, a port called, the promised result out.

use std::{fmt::Write as _, future::Future, ops::Deref, sync::Arc, time::Duration};

use futures::FutureExt;
use hero_domain::{
    ApiError, Caller, ErrorCode, Job, JobId, JobStatus, Reason, RunnerState, Scope, ScriptType,
    ports::{Jobs, Nodes, Ports, Runners},
};
use hero_telemetry::trace_context;
use jsonrpsee::{
    MethodCallback, MethodResponse, ResponsePayload, RpcModule,
    types::{ErrorObjectOwned, Id, Params, error::OVERSIZED_RESPONSE_CODE},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Session, bus, circles,
    error::{Failure, error_object, output_of, script_failed},
    keys,
    method::{Method, method},
    nodes,
    openrpc::{openrpc, openrpc_of_explorer},
    overlay,
    params::{
        DrainParams, JobIdParams, JobParams, ListParams, ManyJobsParams, NoParams, OneJobParams,
        OutputParams, PlayParams, RunJobParams, RunnerIdParams, SubmitParams, WaitParams, parse,
    },
    schedules,
    view::{ExplanationView, JobLogsResult, JobView, PlayResult, RunnerView, StartJobResult, Submitted},
};

/// What the methods themselves can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of log text that one get_job_logs returns; what is beyond is cut, and the text says so.
    pub max_logs_bytes: usize,
    /// Bytes of an output that one answer carries; of a larger one the caller is told how to fetch it in parts.
    pub max_output_bytes: usize,
    /// Bytes of log text that are asked of the port at a time.
    pub log_page_bytes: usize,
    /// How long somebody who proves nothing waits for the refusal.
    pub failure_delay: Duration,
    /// Whether a call about a job that is not here goes to the node that was given it.
    pub follows_jobs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_logs_bytes: 4 << 20,
            max_output_bytes: 10 << 20,
            log_page_bytes: 1 << 20,
            failure_delay: Duration::from_millis(250),
            follows_jobs: true,
        }
    }
}

/// The methods of [`METHODS`](crate::METHODS) over these ports.
///
/// Each call needs a [`Session`] among its extensions.
pub fn module<P: Ports>(ports: P, options: Options) -> RpcModule<()> {
    let mut table = Table { face: Arc::new(Face { ports, options }), module: RpcModule::new(()) };
    table.add("whoami", whoami);
    table.add("play", play);
    table.add("create_job", create_job);
    table.add("start_job", start_job);
    table.add("run_job", run_job);
    table.add("submit_job", submit_job);
    table.add("submit_jobs", submit_jobs);
    table.add("wait_job", wait_job);
    table.add("get_job", get_job);
    table.add("get_job_status", get_job_status);
    table.add("get_job_output", get_job_output);
    table.add("get_job_logs", get_job_logs);
    table.add("list_jobs", list_jobs);
    table.add("stop_job", stop_job);
    table.add("retry_job", retry_job);
    table.add("retry_jobs", retry_jobs);
    table.add("explain_job", explain_job);
    table.add("delete_job", delete_job);
    table.add("clear_all_jobs", clear_all_jobs);
    table.add("list_runners", list_runners);
    table.add("get_runner", get_runner);
    table.add("drain_runner", drain_runner);
    table.add("remove_runner", remove_runner);
    table.add("create_schedule", schedules::create_schedule);
    table.add("list_schedules", schedules::list_schedules);
    table.add("get_schedule", schedules::get_schedule);
    table.add("pause_schedule", schedules::pause_schedule);
    table.add("run_schedule", schedules::run_schedule);
    table.add("delete_schedule", schedules::delete_schedule);
    table.add("bus_call", bus::bus_call);
    table.add("bus_send", bus::bus_send);
    table.add("bus_result", bus::bus_result);
    table.add("mycelium_call", overlay::mycelium_call);
    table.add("mycelium_send", overlay::mycelium_send);
    table.add("mycelium_status", overlay::mycelium_status);
    table.add("rpc.discover", discover);
    table.add("fetch_nonce", circles::fetch_nonce);
    table.add("authenticate", circles::authenticate);
    table.add("login", circles::login);
    table.add("add_circle", circles::add_circle);
    table.add("remove_circle", circles::remove_circle);
    table.add("list_circles", circles::list_circles);
    table.add("create_key", keys::create_key);
    table.add("list_keys", keys::list_keys);
    table.add("remove_key", keys::remove_key);
    table.add("rotate_key", keys::rotate_key);
    table.add("list_audit", keys::list_audit);
    table.add_nodes();
    table.module
}

/// The methods of nodes alone, as an explorer serves them.
///
/// Each call needs a [`Session`] among its extensions.
pub fn node_module<N: Nodes>(nodes: N) -> RpcModule<()> {
    let mut table = Table { face: Arc::new(OnlyNodes(nodes)), module: RpcModule::new(()) };
    table.add_nodes();
    table.add("rpc.discover", discover_nodes);
    table.module
}

/// What every method works on: the ports, and how they are told.
pub(crate) struct Face<P> {
    ports: P,
    options: Options,
}

impl<P> Face<P> {
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
}

impl<P> Deref for Face<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.ports
    }
}

/// What the methods of nodes work on: a whole node, or an explorer that has nothing else.
pub(crate) trait Fleet: Send + Sync + 'static {
    type Nodes: Nodes;

    fn nodes(&self) -> &Self::Nodes;

    /// Whether a call about a job that is not here goes to the node that was given it.
    fn follows_jobs(&self) -> bool;
}

impl<P: Ports> Fleet for Face<P> {
    type Nodes = P::Nodes;

    fn nodes(&self) -> &P::Nodes {
        self.ports.nodes()
    }

    fn follows_jobs(&self) -> bool {
        self.options.follows_jobs
    }
}

/// An explorer: nodes, and no jobs of its own.
struct OnlyNodes<N>(N);

impl<N: Nodes> Fleet for OnlyNodes<N> {
    type Nodes = N;

    fn nodes(&self) -> &N {
        &self.0
    }

    fn follows_jobs(&self) -> bool {
        false
    }
}

/// The methods of an explorer.
const NODE_METHODS: &[&str] = &[
    "rpc.discover",
    "heartbeat",
    "node_info",
    "list_nodes",
    "get_node",
    "call_node",
    "allow_node",
    "ban_node",
    "remove_node",
];

struct Table<F> {
    face: Arc<F>,
    module: RpcModule<()>,
}

impl<F: Fleet> Table<F> {
    fn add_nodes(&mut self) {
        self.add("heartbeat", nodes::heartbeat);
        self.add("node_info", nodes::node_info);
        self.add("list_nodes", nodes::list_nodes);
        self.add("get_node", nodes::get_node);
        self.add("call_node", nodes::call_node);
        self.add("allow_node", nodes::allow_node);
        self.add("ban_node", nodes::ban_node);
        self.add("remove_node", nodes::remove_node);
    }

    /// Puts one method in. Registered below jsonrpsee's own `register_async_method`, which would clone the
    /// extensions once more for every call.
    fn add<Q, T, H, Fut>(&mut self, name: &'static str, handler: H)
    where
        Q: DeserializeOwned + Send,
        T: Serialize + Clone + Send,
        H: Fn(Arc<F>, Session, Q) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Failure>> + Send,
    {
        let entry = method(name).expect("a method is registered under a name of the table");
        let face = Arc::clone(&self.face);
        let callback =
            MethodCallback::Async(Arc::new(move |id, params: Params<'static>, _, max_bytes, extensions| {
                let face = Arc::clone(&face);
                async move {
                    let session = extensions.get::<Session>().cloned();
                    let result = answer(entry, session.as_ref(), &params, |session, params| {
                        handler(Arc::clone(&face), session, params)
                    })
                    .await;
                    if let (Err(Failure::Call(error)), Some(session)) = (&result, &session)
                        && face.follows_jobs()
                        && let Some(passed) =
                            nodes::elsewhere(face.as_ref(), session, entry, params.as_str(), error).await
                    {
                        return respond(entry, id, passed, max_bytes).with_extensions(extensions);
                    }
                    respond(entry, id, result, max_bytes).with_extensions(extensions)
                }
                .boxed()
            }));
        self.module.verify_and_insert(name, callback).expect("a method is registered once");
    }
}

/// Whether the caller may, then what the parameters are, then the method itself.
async fn answer<P, T, Fut>(
    entry: &'static Method,
    session: Option<&Session>,
    params: &Params<'static>,
    handler: impl FnOnce(Session, P) -> Fut,
) -> Result<T, Failure>
where
    P: DeserializeOwned,
    Fut: Future<Output = Result<T, Failure>>,
{
    let session = session.ok_or_else(|| {
        ApiError::new(Reason::AuthenticationRequired, "the connection has no session; authenticate first")
    })?;
    entry.rule.check(session)?;
    let params = parse(entry, params.as_str())?;
    handler(session.clone(), params).await
}

fn respond<T: Serialize + Clone>(
    entry: &'static Method,
    id: Id<'static>,
    result: Result<T, Failure>,
    max_bytes: usize,
) -> MethodResponse {
    let error = match result {
        Ok(value) => {
            let response = MethodResponse::response(id.clone(), ResponsePayload::success(value), max_bytes);
            if response.as_error_code() != Some(OVERSIZED_RESPONSE_CODE) {
                return response;
            }
            error_object(&too_large(max_bytes), None)
        }
        Err(Failure::Remote(error)) => error,
        Err(Failure::Script(job)) => script_failed(&job),
        Err(Failure::Call(error)) => told(entry, &error),
    };
    // A failed script may have left an output as large as a good one.
    let response = MethodResponse::response(id.clone(), ResponsePayload::<()>::error(error), max_bytes);
    if response.as_error_code() == Some(OVERSIZED_RESPONSE_CODE) {
        return MethodResponse::error(id, error_object(&too_large(max_bytes), None));
    }
    response
}

fn too_large(max_bytes: usize) -> ApiError {
    ApiError::new(
        Reason::ResponseTooLarge,
        format!(
            "the result does not fit into a response of {max_bytes} bytes; ask for less at a time (get_job_output takes \
             an offset and a length)"
        ),
    )
}

/// The error as the caller sees it. A fault of ours is logged here, under an id that the caller is told.
fn told(entry: &'static Method, error: &ApiError) -> ErrorObjectOwned {
    if error.code() == ErrorCode::Internal {
        let trace_id = trace_context::trace_id();
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(method = entry.name, trace_id, %error, source, "call failed");
        return error_object(error, Some(&trace_id));
    }
    let traced = trace_context::current_traceparent().is_some().then(trace_context::trace_id);
    error_object(error, traced.as_deref())
}

async fn whoami<P: Ports>(_: Arc<Face<P>>, session: Session, _: NoParams) -> Result<String, Failure> {
    let caller = session.caller();
    let scope = if session.is_guest() { "no scope" } else { caller.scope.as_str() };
    let mut text = format!("{} ({scope})", caller.name);
    if let Some(circle) = &caller.circle {
        let _ = write!(text, " in circle {circle}");
    }
    Ok(text)
}

async fn discover<P: Ports>(_: Arc<Face<P>>, _: Session, _: NoParams) -> Result<serde_json::Value, Failure> {
    Ok(openrpc())
}

async fn discover_nodes<N: Nodes>(
    _: Arc<OnlyNodes<N>>,
    _: Session,
    _: NoParams,
) -> Result<serde_json::Value, Failure> {
    Ok(openrpc_of_explorer(NODE_METHODS))
}

async fn play<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: PlayParams,
) -> Result<PlayResult, Failure> {
    // Tenants get no system access.
    let script_type = if session.caller().circle.is_some() { ScriptType::Osis } else { ScriptType::Sal };
    let job = JobParams::new(script_type, params.script);
    Ok(PlayResult { output: run(&face, &session, job).await? })
}

async fn run_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: RunJobParams,
) -> Result<String, Failure> {
    run(&face, &session, params.into()).await
}

async fn run<P: Ports>(face: &Face<P>, session: &Session, mut job: JobParams) -> Result<String, Failure> {
    if let Some(node) = job.node.take() {
        return nodes::run(face, session, job, node).await;
    }
    let script_type = job.script_type;
    // Without a bound from here, the supervisor's own applies: run time and an allowance for the queue.
    match face.jobs().run(session.caller(), job.into_job(session), None).await {
        Ok(job) => {
            fits(face, &job)?;
            output_of(job)
        }
        Err(error) => Err(explain_wait(face, session, script_type, error).await.into()),
    }
}

/// A wait that is over because nobody serves the job's language should say so.
async fn explain_wait<P: Ports>(
    face: &Face<P>,
    session: &Session,
    script_type: ScriptType,
    error: ApiError,
) -> ApiError {
    let (Reason::WaitTimeout, Some(id)) = (error.reason(), error.job_id()) else { return error };
    // Whoever may run a job may learn this much about the runners.
    let curious = Caller { scope: Scope::Register, ..session.caller().clone() };
    let Ok(runners) = face.runners().list(&curious).await else { return error };
    let serves = |runner: &hero_domain::Runner| {
        runner.state == RunnerState::Alive && runner.script_types.contains(&script_type)
    };
    if runners.iter().any(serves) {
        return error;
    }
    ApiError::new(
        Reason::WaitTimeout,
        format!("{}; no runner of this node serves {script_type}, the job waits for one", error.message()),
    )
    .with_job(id)
}

async fn create_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    mut params: OneJobParams,
) -> Result<JobId, Failure> {
    if let Some(node) = params.job.node.take() {
        return nodes::place(face.as_ref(), &session, "create_job", params.job, node).await;
    }
    let job = params.job.into_job(&session);
    Ok(face.jobs().create(session.caller(), job).await.map_err(of_job_param)?)
}

async fn start_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<StartJobResult, Failure> {
    face.jobs().start(session.caller(), params.job_id).await?;
    Ok(StartJobResult { success: true })
}

async fn submit_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    mut params: SubmitParams,
) -> Result<Submitted, Failure> {
    let id = if let Some(node) = params.job.node.take() {
        nodes::place(face.as_ref(), &session, "submit_job", params.job, node).await?
    } else {
        let job = params.job.into_job(&session);
        let ids = face.jobs().submit(session.caller(), vec![job]).await.map_err(of_job_param)?;
        ids.into_iter().next().ok_or_else(|| ApiError::internal("a submit of one job returned no id"))?
    };
    if params.explain != Some(true) {
        return Ok(Submitted::Id(id));
    }
    // The job is there: whatever becomes of the question, its id is the answer.
    let reasons = match face.jobs().explain(session.caller(), id).await {
        Ok(explanation) => explanation.reasons(),
        Err(error) => vec![format!("why it is where it is could not be found out: {error}")],
    };
    Ok(Submitted::Explained { job_id: id, reasons })
}

/// A port names the field of the job; the caller gave that job as its param `job`.
fn of_job_param(error: ApiError) -> ApiError {
    let Some(field) = error.field() else { return error };
    let field = field.strip_prefix("jobs[0].").unwrap_or(field);
    let path = format!("job.{field}");
    error.with_field(path)
}

async fn submit_jobs<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ManyJobsParams,
) -> Result<Vec<JobId>, Failure> {
    if let Some(at) = params.jobs.iter().position(|job| job.node.is_some()) {
        let words =
            "jobs of one call are stored together, so none goes to another node; use submit_job for it";
        return Err(ApiError::new(Reason::InvalidParams, words)
            .with_field(format!("jobs[{at}].node"))
            .into());
    }
    let jobs = params.jobs.into_iter().map(|job| job.into_job(&session)).collect();
    Ok(face.jobs().submit(session.caller(), jobs).await?)
}

async fn wait_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: WaitParams,
) -> Result<JobView, Failure> {
    let wait = params.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let job = face.jobs().wait(session.caller(), params.job_id, wait).await?;
    fits(&face, &job)?;
    Ok(job.into())
}

async fn get_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<JobView, Failure> {
    let job = face.jobs().get(session.caller(), params.job_id).await?;
    fits(&face, &job)?;
    Ok(job.into())
}

/// Fails when no answer carries the job's output, and says how it is fetched then.
fn fits<P>(face: &Face<P>, job: &Job) -> Result<(), ApiError> {
    let (bytes, most) = (job.output.as_ref().map_or(0, String::len), face.options.max_output_bytes);
    if bytes <= most {
        return Ok(());
    }
    let words = format!(
        "the output of job {} has {bytes} bytes, and an answer carries {most}; get_job_output fetches it in parts, with \
         an offset and a length in characters",
        job.id
    );
    Err(ApiError::new(Reason::ResponseTooLarge, words).with_job(job.id))
}

async fn get_job_status<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<JobStatus, Failure> {
    Ok(face.jobs().status(session.caller(), params.job_id).await?)
}

async fn get_job_output<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: OutputParams,
) -> Result<String, Failure> {
    let mut job = face.jobs().get(session.caller(), params.job_id).await?;
    job.output = job.output.map(|output| params.part_of(output));
    fits(&face, &job)?;
    if job.status.is_ended() { output_of(job) } else { Err(no_output(&job).into()) }
}

fn no_output(job: &Job) -> ApiError {
    ApiError::new(
        Reason::JobHasNoOutput,
        format!("job {} has no output yet, it is {}; wait_job waits for its end", job.id, job.status),
    )
    .with_job(job.id)
}

async fn get_job_logs<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<JobLogsResult, Failure> {
    let Options { max_logs_bytes, log_page_bytes, .. } = face.options;
    let mut logs: Option<String> = None;
    let mut from = None;
    loop {
        let room = max_logs_bytes.saturating_sub(logs.as_ref().map_or(0, String::len));
        if room == 0 {
            logs.get_or_insert_default().push_str("[cut here: the log goes on]\n");
            break;
        }
        let page = face.jobs().logs(session.caller(), params.job_id, from, room.min(log_page_bytes)).await?;
        let empty = page.lines.is_empty();
        if let Some(text) = page.to_text() {
            match &mut logs {
                Some(logs) => logs.push_str(&text),
                None => logs = Some(text),
            }
        }
        from = page.next;
        // A page without a line leads nowhere, whatever it says of a next one.
        if from.is_none() || empty {
            break;
        }
    }
    Ok(JobLogsResult { logs })
}

async fn list_jobs<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ListParams,
) -> Result<Vec<JobId>, Failure> {
    let filter = params.filter.unwrap_or_default().into();
    Ok(face.jobs().list(session.caller(), filter).await?.ids)
}

async fn stop_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<(), Failure> {
    Ok(face.jobs().stop(session.caller(), params.job_id).await?)
}

async fn retry_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<JobStatus, Failure> {
    Ok(face.jobs().retry(session.caller(), params.job_id).await?)
}

async fn retry_jobs<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ListParams,
) -> Result<Vec<JobId>, Failure> {
    let filter = params.filter.unwrap_or_default().into();
    Ok(face.jobs().retry_many(session.caller(), filter).await?)
}

async fn explain_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<ExplanationView, Failure> {
    Ok(face.jobs().explain(session.caller(), params.job_id).await?.into())
}

async fn delete_job<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: JobIdParams,
) -> Result<(), Failure> {
    Ok(face.jobs().delete(session.caller(), params.job_id).await?)
}

async fn clear_all_jobs<P: Ports>(face: Arc<Face<P>>, session: Session, _: NoParams) -> Result<(), Failure> {
    face.jobs().clear(session.caller()).await?;
    Ok(())
}

async fn list_runners<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    _: NoParams,
) -> Result<Vec<RunnerView>, Failure> {
    let runners = face.runners().list(session.caller()).await?;
    Ok(runners.into_iter().map(RunnerView::from).collect())
}

async fn get_runner<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: RunnerIdParams,
) -> Result<RunnerView, Failure> {
    Ok(face.runners().get(session.caller(), params.runner_id).await?.into())
}

async fn drain_runner<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: DrainParams,
) -> Result<(), Failure> {
    let draining = params.draining.unwrap_or(true);
    Ok(face.runners().drain(session.caller(), params.runner_id, draining).await?)
}

async fn remove_runner<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: RunnerIdParams,
) -> Result<(), Failure> {
    Ok(face.runners().remove(session.caller(), params.runner_id).await?)
}
