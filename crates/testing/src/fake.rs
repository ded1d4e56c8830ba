//! The ports of a node without Redis or a runner: for tests of what stands before the supervisor.
//!
//! A job ends the moment it is started, as its script says: `fail <words>` as a failed script, `large <bytes>`
//! with an output of that size, `endless` never; anything else with itself as its output.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hero_domain::{
    ApiError, AuditEntry, BusReply, BusRequest, Caller, Circle, CircleKey, CreatedKey, DeadMessage,
    ErrorKind, Explanation, Job, JobFilter, JobId, JobPage, JobStatus, KeyInfo, LogLine, LogPage, LogStream,
    Login, NewCircle, NewJob, NewKey, NewSchedule, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter,
    NodeId, NodePage, NodeTarget, OverlayCall, OverlayKey, OverlayMessage, OverlayState, OverlayStatus,
    Proof, Reason, Result, Runner, RunnerId, RunnerState, Schedule, ScheduleId, SignedHeartbeat, Timestamp,
    ports::{Bus, Circles, Jobs, Keys, Nodes, Overlay, Ports, Runners, Schedules},
};

/// The ports of a made-up node. Clones are the same node.
#[derive(Debug, Clone, Default)]
pub struct FakeNode(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<JobId, Job>,
    logs: BTreeMap<JobId, Vec<LogLine>>,
    runners: Vec<Runner>,
    schedules: BTreeMap<ScheduleId, Schedule>,
    nodes: Vec<Node>,
    answers: VecDeque<NodeAnswer>,
    keys: BTreeMap<String, Caller>,
    api_keys: BTreeMap<String, KeyInfo>,
    circles: BTreeMap<CircleKey, Circle>,
    errors: VecDeque<ApiError>,
    calls: Vec<String>,
    submitted: Vec<NewJob>,
    by_key: BTreeMap<String, JobId>,
    delay: Duration,
    clock_ms: i64,
}

impl FakeNode {
    /// A node without jobs, runners or keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows a secret; from now on a call needs one.
    pub fn add_key(&self, secret: &str, caller: Caller) {
        self.lock().keys.insert(secret.to_owned(), caller);
    }

    /// Serves a circle.
    pub fn add_circle(&self, public_key: CircleKey) {
        let circle = Circle {
            public_key: public_key.clone(),
            members: Vec::new(),
            limits: hero_domain::CircleLimits::default(),
            is_configured: false,
            created_at: None,
        };
        self.lock().circles.insert(public_key, circle);
    }

    /// Has a runner.
    pub fn add_runner(&self, runner: Runner) {
        self.lock().runners.push(runner);
    }

    /// Knows a node; the first one is itself.
    pub fn add_node(&self, node: Node) {
        self.lock().nodes.push(node);
    }

    /// The next call that is passed on to a node is answered like this.
    pub fn answer_next(&self, answer: NodeAnswer) {
        self.lock().answers.push_back(answer);
    }

    /// A job has logged a line.
    pub fn add_log(&self, id: JobId, text: &str) {
        let line = LogLine { stream: LogStream::Log, at: Timestamp::from_millis(0), text: text.to_owned() };
        self.lock().logs.entry(id).or_default().push(line);
    }

    /// The next call fails with this; further ones queue up.
    pub fn fail_next(&self, error: ApiError) {
        self.lock().errors.push_back(error);
    }

    /// From now on every call takes this long.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Ends a job that never would.
    pub fn finish(&self, id: JobId, output: &str) {
        let mut state = self.lock();
        if let Some(job) = state.jobs.get_mut(&id) {
            job.status = JobStatus::Finished;
            job.output = Some(output.to_owned());
        }
    }

    /// The names of the port methods that were called, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Every job that came in, as it came.
    #[must_use]
    pub fn submitted(&self) -> Vec<NewJob> {
        self.lock().submitted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call, takes its time, and fails it if that was asked for.
    async fn enter(&self, call: &str) -> Result<()> {
        let (delay, error) = {
            let mut state = self.lock();
            state.calls.push(call.to_owned());
            (state.delay, state.errors.pop_front())
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        error.map_or(Ok(()), Err)
    }
}

impl State {
    fn create(&mut self, job: NewJob) -> Result<JobId> {
        job.validate(&hero_domain::JobLimits::default())?;
        if let Some(id) = job.idempotency_key.as_ref().and_then(|key| self.by_key.get(key)) {
            return Ok(*id);
        }
        let id = job.id.unwrap_or_else(JobId::mint);
        if self.jobs.contains_key(&id) {
            return Err(ApiError::new(Reason::JobExists, format!("job {id} exists")).with_job(id));
        }
        self.submitted.push(job.clone());
        self.by_key.extend(job.idempotency_key.clone().map(|key| (key, id)));
        self.clock_ms += 1;
        self.jobs.insert(id, stored(id, job, Timestamp::from_millis(self.clock_ms)));
        Ok(id)
    }

    fn get(&self, caller: &Caller, id: JobId) -> Result<&Job> {
        let job = self.jobs.get(&id).filter(|job| caller.sees_context(&job.context_id));
        job.ok_or_else(|| ApiError::job_not_found(id))
    }

    fn start(&mut self, caller: &Caller, id: JobId) -> Result<()> {
        self.get(caller, id)?;
        let job = self.jobs.get_mut(&id).ok_or_else(|| ApiError::job_not_found(id))?;
        if job.queued_at.is_some() {
            return Err(
                ApiError::new(Reason::JobAlreadyStarted, format!("job {id} was started")).with_job(id)
            );
        }
        job.queued_at = Some(job.created_at);
        let (word, rest) = job.script.split_once(' ').unwrap_or((&job.script, ""));
        match word {
            "endless" => return Ok(()),
            "fail" => {
                job.status = JobStatus::Error;
                job.error_kind = Some(ErrorKind::ScriptFailed);
                job.error = Some(rest.to_owned());
                job.output = Some("so far".to_owned());
            }
            "large" => {
                job.status = JobStatus::Finished;
                job.output = Some("x".repeat(rest.parse().unwrap_or(0)));
            }
            _ => {
                job.status = JobStatus::Finished;
                job.output = Some(job.script.clone());
            }
        }
        job.finished_at = Some(job.created_at);
        Ok(())
    }

    /// Starts it, unless it was: a repeat with its idempotency key.
    fn start_once(&mut self, caller: &Caller, id: JobId) -> Result<()> {
        if self.get(caller, id)?.queued_at.is_some() { Ok(()) } else { self.start(caller, id) }
    }

    /// Starts it again; it ends as its script says, unless that was `fail`: this time it does not.
    fn retry(&mut self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        if self.get(caller, id)?.status != JobStatus::Error {
            return Err(ApiError::new(Reason::JobNotFailed, format!("job {id} has not failed")).with_job(id));
        }
        let job = self.jobs.get_mut(&id).ok_or_else(|| ApiError::job_not_found(id))?;
        job.status = JobStatus::Dispatched;
        (job.error_kind, job.error, job.output) = (None, None, None);
        Ok(job.status)
    }

    fn schedule(&mut self, caller: &Caller, id: ScheduleId) -> Result<&mut Schedule> {
        let found = self.schedules.get_mut(&id).filter(|it| caller.sees_context(&it.job.context_id));
        found.ok_or_else(|| ApiError::new(Reason::ScheduleNotFound, format!("there is no schedule {id}")))
    }

    fn ended(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let job = self.get(caller, id)?;
        if job.status.is_ended() {
            return Ok(job.clone());
        }
        Err(ApiError::new(Reason::WaitTimeout, format!("job {id} has not ended within the wait"))
            .with_job(id))
    }
}

fn stored(id: JobId, job: NewJob, at: Timestamp) -> Job {
    Job {
        id,
        caller_id: job.caller_id,
        context_id: job.context_id,
        circle: job.circle,
        script: job.script,
        script_type: job.script_type,
        timeout_s: job.timeout_s,
        prerequisites: job.prerequisites,
        dependents: Vec::new(),
        retries: job.retries,
        retry_backoff_ms: job.retry_backoff_ms,
        max_deliveries: job.max_deliveries,
        priority: job.priority,
        run_at: job.run_at,
        env_vars: job.env_vars,
        idempotency_key: job.idempotency_key,
        retention_s: job.retention_s,
        status: JobStatus::Dispatched,
        error_kind: None,
        error: None,
        output: None,
        progress: None,
        result: None,
        attempt: 0,
        runner_id: None,
        created_at: at,
        queued_at: None,
        started_at: None,
        finished_at: None,
        updated_at: at,
        traceparent: job.traceparent,
        note: None,
    }
}

impl Ports for FakeNode {
    type Jobs = Self;
    type Runners = Self;
    type Schedules = Self;
    type Bus = Self;
    type Circles = Self;
    type Keys = Self;
    type Nodes = Self;
    type Overlay = Self;

    fn jobs(&self) -> &Self {
        self
    }

    fn runners(&self) -> &Self {
        self
    }

    fn schedules(&self) -> &Self {
        self
    }

    fn bus(&self) -> &Self {
        self
    }

    fn circles(&self) -> &Self {
        self
    }

    fn keys(&self) -> &Self {
        self
    }

    fn nodes(&self) -> &Self {
        self
    }

    fn overlay(&self) -> &Self {
        self
    }
}

impl Nodes for FakeNode {
    async fn heartbeat(&self, _: &Caller, beat: SignedHeartbeat) -> Result<()> {
        self.enter(&format!("heartbeat {}", beat.text)).await
    }

    async fn info(&self, _: &Caller) -> Result<Node> {
        self.enter("node_info").await?;
        let node = self.lock().nodes.first().cloned();
        node.ok_or_else(|| ApiError::new(Reason::NodeNotFound, "this is no node"))
    }

    async fn get(&self, _: &Caller, id: NodeId) -> Result<Node> {
        self.enter("get_node").await?;
        let node = self.lock().nodes.iter().find(|node| node.beat.node_id == id).cloned();
        node.ok_or_else(|| ApiError::new(Reason::NodeNotFound, format!("there is no node {id}")))
    }

    async fn list(&self, _: &Caller, filter: NodeFilter) -> Result<NodePage> {
        self.enter("list_nodes").await?;
        let nodes: Vec<_> = self.lock().nodes.iter().filter(|node| filter.fits(node)).cloned().collect();
        Ok(NodePage { total: nodes.len() as u64, nodes, next_cursor: None })
    }

    async fn call(&self, _: &Caller, target: NodeTarget, call: NodeCall) -> Result<NodeAnswer> {
        self.enter("call_node").await?;
        let mut state = self.lock();
        let params = call.params.unwrap_or_default();
        state.calls.push(format!("{target:?} {} {params}", call.method));
        let none = || ApiError::new(Reason::NodeNotFound, "no node fits");
        state.answers.pop_front().ok_or_else(none)
    }

    async fn decide(&self, _: &Caller, id: NodeId, decision: NodeDecision) -> Result<()> {
        self.enter(&format!("decide {id} {decision:?}")).await
    }
}

impl Jobs for FakeNode {
    async fn create(&self, _: &Caller, job: NewJob) -> Result<JobId> {
        self.enter("create").await?;
        self.lock().create(job)
    }

    async fn start(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter("start").await?;
        self.lock().start(caller, id)
    }

    async fn submit(&self, caller: &Caller, jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        self.enter("submit").await?;
        let mut state = self.lock();
        for (index, job) in jobs.iter().enumerate() {
            job.validate(&hero_domain::JobLimits::default()).map_err(|error| {
                let field = format!("jobs[{index}].{}", error.field().unwrap_or_default());
                error.with_field(field)
            })?;
            if let Some(id) = job.id.filter(|id| state.jobs.contains_key(id)) {
                return Err(ApiError::new(Reason::JobExists, format!("job {id} exists")).with_job(id));
            }
        }
        let mut ids = Vec::with_capacity(jobs.len());
        for job in jobs {
            let id = state.create(job)?;
            state.start_once(caller, id)?;
            ids.push(id);
        }
        Ok(ids)
    }

    async fn run(&self, caller: &Caller, job: NewJob, _: Option<Duration>) -> Result<Job> {
        self.enter("run").await?;
        let mut state = self.lock();
        let id = state.create(job)?;
        state.start_once(caller, id)?;
        state.ended(caller, id)
    }

    async fn wait(&self, caller: &Caller, id: JobId, _: Option<Duration>) -> Result<Job> {
        self.enter("wait").await?;
        self.lock().ended(caller, id)
    }

    async fn get(&self, caller: &Caller, id: JobId) -> Result<Job> {
        self.enter("get").await?;
        self.lock().get(caller, id).cloned()
    }

    async fn status(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.enter("status").await?;
        Ok(self.lock().get(caller, id)?.status)
    }

    async fn logs(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.enter("logs").await?;
        let state = self.lock();
        state.get(caller, id)?;
        let all = state.logs.get(&id).map_or(&[][..], Vec::as_slice);
        let from: usize = from.and_then(|from| from.parse().ok()).unwrap_or(0);
        let mut bytes = 0;
        let mut page = LogPage::default();
        for line in &all[from.min(all.len())..] {
            bytes += line.text.len() + 1;
            if bytes > max_bytes && !page.lines.is_empty() {
                break;
            }
            page.lines.push(line.clone());
        }
        let next = from + page.lines.len();
        page.next = (next < all.len()).then(|| next.to_string());
        Ok(page)
    }

    async fn list(&self, caller: &Caller, filter: JobFilter) -> Result<JobPage> {
        self.enter("list").await?;
        let state = self.lock();
        let matches = |job: &&Job| {
            caller.sees_context(&job.context_id)
                && filter.status.is_none_or(|status| job.status == status)
                && filter.error_kind.is_none_or(|kind| job.error_kind == Some(kind))
                && filter.script_type.is_none_or(|script_type| job.script_type == script_type)
                && filter.context_id.as_ref().is_none_or(|context_id| job.context_id == *context_id)
                && filter.caller_id.as_ref().is_none_or(|caller_id| job.caller_id == *caller_id)
        };
        let mut jobs: Vec<&Job> = state.jobs.values().filter(matches).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
        let ids = jobs.into_iter().map(|job| job.id).take(filter.limit.unwrap_or(100)).collect();
        Ok(JobPage { ids, next_cursor: None })
    }

    async fn stop(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter("stop").await?;
        let mut state = self.lock();
        state.get(caller, id)?;
        if let Some(job) = state.jobs.get_mut(&id).filter(|job| !job.status.is_ended()) {
            job.status = JobStatus::Error;
            job.error_kind = Some(ErrorKind::Stopped);
        }
        Ok(())
    }

    async fn retry(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.enter("retry").await?;
        self.lock().retry(caller, id)
    }

    async fn retry_many(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<JobId>> {
        let failed = JobFilter { status: Some(JobStatus::Error), ..filter };
        let mut ids = Jobs::list(self, caller, failed).await?.ids;
        ids.reverse();
        self.enter("retry_many").await?;
        for id in &ids {
            self.lock().retry(caller, *id)?;
        }
        Ok(ids)
    }

    async fn explain(&self, caller: &Caller, id: JobId) -> Result<Explanation> {
        self.enter("explain").await?;
        let state = self.lock();
        let job = state.get(caller, id)?;
        Ok(Explanation {
            job_id: id,
            status: job.status,
            script_type: job.script_type,
            is_started: job.queued_at.is_some(),
            pending: 0,
            prerequisites: Vec::new(),
            not_before: job.run_at,
            ahead: None,
            parked: None,
            serving: None,
            runner_id: None,
            lease_until: None,
            attempt: job.attempt,
            error_kind: job.error_kind,
        })
    }

    async fn delete(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter("delete").await?;
        let mut state = self.lock();
        state.get(caller, id)?;
        state.jobs.remove(&id);
        Ok(())
    }

    async fn clear(&self, caller: &Caller) -> Result<u64> {
        self.enter("clear").await?;
        let mut state = self.lock();
        let before = state.jobs.len();
        state.jobs.retain(|_, job| !caller.sees_context(&job.context_id));
        Ok(u64::try_from(before - state.jobs.len()).unwrap_or(u64::MAX))
    }
}

impl Runners for FakeNode {
    async fn list(&self, _: &Caller) -> Result<Vec<Runner>> {
        self.enter("list_runners").await?;
        Ok(self.lock().runners.clone())
    }

    async fn get(&self, _: &Caller, id: RunnerId) -> Result<Runner> {
        self.enter("get_runner").await?;
        let state = self.lock();
        let runner = state.runners.iter().find(|runner| runner.id == id);
        runner
            .cloned()
            .ok_or_else(|| ApiError::new(Reason::RunnerNotFound, format!("there is no runner {id}")))
    }

    async fn drain(&self, _: &Caller, id: RunnerId, draining: bool) -> Result<()> {
        self.enter("drain_runner").await?;
        let mut state = self.lock();
        let runner = state.runners.iter_mut().find(|runner| runner.id == id);
        let runner = runner
            .ok_or_else(|| ApiError::new(Reason::RunnerNotFound, format!("there is no runner {id}")))?;
        runner.state = if draining { RunnerState::Draining } else { RunnerState::Alive };
        Ok(())
    }

    async fn remove(&self, _: &Caller, id: RunnerId) -> Result<()> {
        self.enter("remove_runner").await?;
        let mut state = self.lock();
        let place = state.runners.iter().position(|runner| runner.id == id);
        let place =
            place.ok_or_else(|| ApiError::new(Reason::RunnerNotFound, format!("there is no runner {id}")))?;
        if state.runners[place].state != RunnerState::Lost {
            return Err(ApiError::new(Reason::RunnerAlive, format!("the lease of runner {id} runs")));
        }
        state.runners.remove(place);
        Ok(())
    }
}

/// A schedule without a clock: its next time is always the same.
impl Schedules for FakeNode {
    async fn create(&self, _: &Caller, schedule: NewSchedule) -> Result<Schedule> {
        self.enter("create_schedule").await?;
        schedule.validate(&hero_domain::JobLimits::default())?;
        let id = schedule.id.unwrap_or_else(ScheduleId::mint);
        let mut state = self.lock();
        if state.schedules.contains_key(&id) {
            return Err(ApiError::new(Reason::ScheduleExists, format!("schedule {id} exists")));
        }
        let next = Timestamp::from_millis(60_000);
        let schedule = Schedule {
            id,
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            overlap: schedule.overlap,
            catch_up: schedule.catch_up,
            job: schedule.job,
            is_paused: false,
            created_at: Timestamp::from_millis(0),
            next_due: Some(next),
            next_times: vec![next],
            last_due: None,
            last_job: None,
            started: 0,
            skipped: 0,
        };
        state.schedules.insert(id, schedule.clone());
        Ok(schedule)
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Schedule>> {
        self.enter("list_schedules").await?;
        let state = self.lock();
        let seen = state.schedules.values().filter(|it| caller.sees_context(&it.job.context_id));
        Ok(seen.cloned().collect())
    }

    async fn get(&self, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
        self.enter("get_schedule").await?;
        Ok(self.lock().schedule(caller, id)?.clone())
    }

    async fn pause(&self, caller: &Caller, id: ScheduleId, paused: bool) -> Result<Schedule> {
        self.enter("pause_schedule").await?;
        let mut state = self.lock();
        let schedule = state.schedule(caller, id)?;
        schedule.is_paused = paused;
        schedule.next_due = (!paused).then_some(Timestamp::from_millis(60_000));
        Ok(schedule.clone())
    }

    async fn run(&self, caller: &Caller, id: ScheduleId) -> Result<JobId> {
        self.enter("run_schedule").await?;
        let mut state = self.lock();
        let job = state.schedule(caller, id)?.job.clone();
        let job_id = state.create(job)?;
        state.start(caller, job_id)?;
        Ok(job_id)
    }

    async fn delete(&self, caller: &Caller, id: ScheduleId) -> Result<()> {
        self.enter("delete_schedule").await?;
        let mut state = self.lock();
        state.schedule(caller, id)?;
        state.schedules.remove(&id);
        Ok(())
    }
}

/// A bus whose services send back what they get; twin 0 is away. There is one id for all that was sent.
impl Bus for FakeNode {
    async fn call(&self, _: &Caller, request: BusRequest, _: Option<Duration>) -> Result<Vec<BusReply>> {
        self.enter("bus_call").await?;
        request.validate()?;
        let reply = |(twin, data): (u32, &Vec<u8>)| BusReply {
            twin,
            uid: format!("{twin}.1"),
            data: if twin == 0 { Vec::new() } else { data.clone() },
            error: (twin == 0).then(|| "twin not found".to_owned()),
        };
        Ok(request.twins.iter().map(|twin| reply((*twin, &request.data))).collect())
    }

    async fn send(&self, _: &Caller, request: BusRequest) -> Result<String> {
        self.enter("bus_send").await?;
        request.validate()?;
        Ok("sent".to_owned())
    }

    async fn result(&self, _: &Caller, id: String) -> Result<Vec<BusReply>> {
        self.enter("bus_result").await?;
        let reply = BusReply { twin: 1, uid: "1.1".to_owned(), data: vec![255], error: None };
        Ok(if id == "sent" { vec![reply] } else { Vec::new() })
    }

    async fn list_dead(&self, _: &Caller, _: u32) -> Result<Vec<DeadMessage>> {
        self.enter("bus_list_dead").await?;
        Ok(Vec::new())
    }

    async fn requeue_dead(&self, _: &Caller, _: Vec<String>) -> Result<u64> {
        self.enter("bus_requeue_dead").await?;
        Ok(0)
    }
}

/// An overlay whose nodes answer as those that are called by `call_node`. There is one id for all that was sent.
impl Overlay for FakeNode {
    async fn call(&self, _: &Caller, call: OverlayCall) -> Result<NodeAnswer> {
        self.enter(&format!("mycelium_call {} {}", call.to, call.method)).await?;
        Ok(self.lock().answers.pop_front().unwrap_or_else(|| NodeAnswer::Result("null".to_owned())))
    }

    async fn send(&self, _: &Caller, call: OverlayCall) -> Result<String> {
        self.enter(&format!("mycelium_send {} {}", call.to, call.method)).await?;
        Ok("0123456789abcdef".to_owned())
    }

    async fn status(&self, _: &Caller, message: Option<String>) -> Result<OverlayStatus> {
        self.enter("mycelium_status").await?;
        let key: std::result::Result<OverlayKey, _> = "ab".repeat(32).parse();
        let answer = self.lock().answers.pop_front();
        Ok(OverlayStatus {
            public_key: key.map_err(|error| ApiError::internal(error.to_string()))?,
            ip: "56d::1".parse().ok(),
            subnet: "56d::/64".to_owned(),
            peers: 1,
            topic: "supervisor.rpc".to_owned(),
            message: message.map(|id| OverlayMessage { id, state: OverlayState::Received, answer }),
        })
    }
}

impl Keys for FakeNode {
    async fn identify(&self, secret: Option<&str>) -> Result<Caller> {
        self.enter("identify").await?;
        let state = self.lock();
        let refused = || ApiError::new(Reason::AuthenticationRequired, "no key, or one that nobody knows");
        match secret {
            Some(secret) => state.keys.get(secret).cloned().ok_or_else(refused),
            None if state.keys.is_empty() => Ok(Caller::local()),
            None => Err(refused()),
        }
    }

    async fn nonce(&self, circle: &CircleKey, pubkey: &str) -> Result<String> {
        self.enter("nonce").await?;
        let pubkey: CircleKey = pubkey.parse().map_err(malformed)?;
        Ok(format!("nonce of {pubkey} for {circle}"))
    }

    /// Good is the signature `signed`.
    async fn login(&self, circle: &CircleKey, proof: Proof) -> Result<Login> {
        self.enter("login").await?;
        let key: CircleKey = proof.pubkey.parse().map_err(malformed)?;
        let known = self.lock().circles.get(circle).is_some_and(|circle| circle.admits(&key));
        if !known || proof.signature != "signed" || proof.nonce != format!("nonce of {key} for {circle}") {
            return Err(ApiError::new(Reason::AuthenticationRequired, "this proves nothing"));
        }
        let caller =
            Caller { name: key.to_string(), scope: hero_domain::Scope::User, circle: Some(circle.clone()) };
        let token = format!("token of {key} for {circle}");
        self.add_key(&token, caller.clone());
        Ok(Login { caller, token })
    }

    async fn create(&self, caller: &Caller, key: NewKey) -> Result<CreatedKey> {
        self.enter("create_key").await?;
        let circle = key.circle.map(|circle| circle.parse().map_err(malformed)).transpose()?;
        let info = KeyInfo {
            name: key.name,
            scope: key.scope,
            circle,
            created_by: caller.name.clone(),
            created_at: Timestamp::from_millis(0),
            last_used_at: None,
        };
        let mut state = self.lock();
        if state.api_keys.contains_key(&info.name) {
            return Err(ApiError::new(Reason::KeyExists, format!("there is a key {}", info.name)));
        }
        state.api_keys.insert(info.name.clone(), info.clone());
        Ok(CreatedKey { secret: format!("secret of {}", info.name), info })
    }

    async fn list(&self, _: &Caller) -> Result<Vec<KeyInfo>> {
        self.enter("list_keys").await?;
        Ok(self.lock().api_keys.values().cloned().collect())
    }

    async fn remove(&self, _: &Caller, name: &str) -> Result<()> {
        self.enter("remove_key").await?;
        self.lock().api_keys.remove(name).map(drop).ok_or_else(|| no_key(name))
    }

    async fn rotate(&self, _: &Caller, name: &str) -> Result<CreatedKey> {
        self.enter("rotate_key").await?;
        let info = self.lock().api_keys.get(name).cloned().ok_or_else(|| no_key(name))?;
        Ok(CreatedKey { secret: format!("another secret of {name}"), info })
    }

    async fn audit(&self, _: &Caller, limit: usize) -> Result<Vec<AuditEntry>> {
        self.enter("audit").await?;
        let state = self.lock();
        let entry = |name: &String| AuditEntry {
            id: name.clone(),
            at: Timestamp::from_millis(0),
            actor: "somebody".to_owned(),
            action: "create_key".to_owned(),
            subject: name.clone(),
        };
        Ok(state.api_keys.keys().map(entry).take(limit).collect())
    }
}

fn malformed(error: hero_domain::IdError) -> ApiError {
    ApiError::new(Reason::IdMalformed, error.to_string())
}

fn no_key(name: &str) -> ApiError {
    ApiError::new(Reason::KeyNotFound, format!("there is no key {name}"))
}

/// Any key of the form of one is a circle's.
impl Circles for FakeNode {
    async fn find(&self, key: &CircleKey) -> Result<Circle> {
        self.enter("find_circle").await?;
        self.lock().circles.get(key).cloned().ok_or_else(|| no_circle(key))
    }

    async fn add(&self, _: &Caller, circle: NewCircle) -> Result<Circle> {
        self.enter("add_circle").await?;
        let public_key: CircleKey = circle.public_key.parse().map_err(malformed)?;
        let members = circle.members.iter().map(|key| key.parse().map_err(malformed));
        let circle = Circle {
            public_key: public_key.clone(),
            members: members.collect::<Result<_>>()?,
            limits: circle.limits,
            is_configured: false,
            created_at: Some(Timestamp::from_millis(0)),
        };
        self.lock().circles.insert(public_key, circle.clone());
        Ok(circle)
    }

    async fn remove(&self, _: &Caller, public_key: &str) -> Result<()> {
        self.enter("remove_circle").await?;
        let key: CircleKey = public_key.parse().map_err(malformed)?;
        self.lock().circles.remove(&key).map(drop).ok_or_else(|| no_circle(&key))
    }

    async fn list(&self, _: &Caller) -> Result<Vec<Circle>> {
        self.enter("list_circles").await?;
        Ok(self.lock().circles.values().cloned().collect())
    }
}

fn no_circle(key: &CircleKey) -> ApiError {
    ApiError::new(Reason::CircleUnknown, format!("circle {key} is not served here"))
}
