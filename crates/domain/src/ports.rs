//! The ports: one trait per contract. Each has its truth in one service, a gRPC client in `hero-proto`, and
//! two faces generic over it (gRPC in `hero-proto`, JSON-RPC in `hero-jsonrpc`).
//!
//! Every method takes the [`Caller`] first, and the implementation checks it: an edge that forgets to check
//! lets nobody in.

use std::{future::Future, time::Duration};

use crate::{
    AuditEntry, BusReply, BusRequest, Caller, Circle, CircleKey, CreatedKey, DeadMessage, Explanation, Job,
    JobFilter, JobId, JobPage, JobStatus, KeyInfo, LogPage, Login, NewCircle, NewJob, NewKey, NewSchedule,
    Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage, NodeTarget, OverlayCall,
    OverlayStatus, Proof, Result, Runner, RunnerId, Schedule, ScheduleId, SignedHeartbeat, Stats,
};

/// All ports of a node in one place, as a face of the whole node needs them: what JSON-RPC serves.
///
/// A port whose service is not deployed answers Unavailable, and says what to configure.
pub trait Ports: Send + Sync + 'static {
    /// Its jobs.
    type Jobs: Jobs;
    /// Its runners.
    type Runners: Runners;
    /// Its schedules.
    type Schedules: Schedules;
    /// The message bus of its twin.
    type Bus: Bus;
    /// Its circles.
    type Circles: Circles;
    /// Its keys.
    type Keys: Keys;
    /// The nodes that it knows of.
    type Nodes: Nodes;
    /// Other nodes over the Mycelium overlay.
    type Overlay: Overlay;

    /// Its jobs.
    fn jobs(&self) -> &Self::Jobs;

    /// Its runners.
    fn runners(&self) -> &Self::Runners;

    /// Its schedules.
    fn schedules(&self) -> &Self::Schedules;

    /// The message bus of its twin.
    fn bus(&self) -> &Self::Bus;

    /// Its circles.
    fn circles(&self) -> &Self::Circles;

    /// Its keys.
    fn keys(&self) -> &Self::Keys;

    /// The nodes that it knows of.
    fn nodes(&self) -> &Self::Nodes;

    /// Other nodes over the Mycelium overlay.
    fn overlay(&self) -> &Self::Overlay;
}

/// Everything that can be asked of jobs.
pub trait Jobs: Send + Sync + 'static {
    /// Stores a job without starting it. A repeat with the same idempotency key returns the first id.
    fn create(&self, caller: &Caller, job: NewJob) -> impl Future<Output = Result<JobId>> + Send;

    /// Queues a created job, or parks it until its prerequisites have finished. A repeat is a Conflict
    /// (JOB_ALREADY_STARTED).
    fn start(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<()>> + Send;

    /// Creates and starts jobs in one step, all or none; the ids in the order given. A job may name an
    /// earlier one of the same call (by an id that the caller brought) as its prerequisite.
    fn submit(&self, caller: &Caller, jobs: Vec<NewJob>) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// Creates and starts one job and waits for its end. A failed script is an `Ok` job with status Error;
    /// a wait that is over first is a Timeout that names the job, which may still run.
    fn run(
        &self,
        caller: &Caller,
        job: NewJob,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<Job>> + Send;

    /// Waits for a job's end. An ended one is returned at once.
    fn wait(
        &self,
        caller: &Caller,
        id: JobId,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<Job>> + Send;

    /// The whole job.
    fn get(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<Job>> + Send;

    /// Where it is, and nothing else.
    fn status(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<JobStatus>> + Send;

    /// A page of its log from `from` (a [`LogPage::next`]) on, at most `max_bytes` of text.
    fn logs(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<LogPage>> + Send;

    /// Ids, newest first.
    fn list(&self, caller: &Caller, filter: JobFilter) -> impl Future<Output = Result<JobPage>> + Send;

    /// Stops a job: a waiting one leaves its queue, a running one's process tree is killed, an ended one is
    /// left as it is. A repeat changes nothing.
    fn stop(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<()>> + Send;

    /// Starts a job that ended in Error again, under its id and with all of its retries; where it is then. A
    /// repeat is a Conflict (JOB_NOT_FAILED), as long as the job has not failed once more.
    fn retry(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<JobStatus>> + Send;

    /// Starts jobs that ended in Error again: those of the filter, a page at most, the oldest of them first. The
    /// ids of those that were started; none: nothing is left. A repeat takes the next ones.
    fn retry_many(
        &self,
        caller: &Caller,
        filter: JobFilter,
    ) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// Why a job is where it is, in data; [`Explanation::reasons`] puts it into words.
    fn explain(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<Explanation>> + Send;

    /// The figures of an overview, at a cost that does not grow with the number of jobs.
    fn stats(&self, caller: &Caller) -> impl Future<Output = Result<Stats>> + Send;

    /// Removes a job and its log; a running one is stopped first. A repeat is NotFound.
    fn delete(&self, caller: &Caller, id: JobId) -> impl Future<Output = Result<()>> + Send;

    /// Removes every job that the caller may see, and says how many those were.
    fn clear(&self, caller: &Caller) -> impl Future<Output = Result<u64>> + Send;
}

/// The runners of this node.
pub trait Runners: Send + Sync + 'static {
    /// All of them, by id.
    fn list(&self, caller: &Caller) -> impl Future<Output = Result<Vec<Runner>>> + Send;

    /// One of them.
    fn get(&self, caller: &Caller, id: RunnerId) -> impl Future<Output = Result<Runner>> + Send;

    /// Tells a runner to take no new jobs (true), or to take them again (false). What runs goes on. A repeat
    /// changes nothing.
    fn drain(&self, caller: &Caller, id: RunnerId, draining: bool)
    -> impl Future<Output = Result<()>> + Send;

    /// Forgets a runner whose lease is over, without waiting for the upkeep: what it held goes back to its
    /// queues. One whose lease runs is a Conflict (RUNNER_ALIVE), a repeat is NotFound.
    fn remove(&self, caller: &Caller, id: RunnerId) -> impl Future<Output = Result<()>> + Send;
}

/// Jobs that are started by the clock.
pub trait Schedules: Send + Sync + 'static {
    /// Stores a schedule. A repeat that brings the same id is AlreadyExists; one without stores another.
    fn create(&self, caller: &Caller, schedule: NewSchedule)
    -> impl Future<Output = Result<Schedule>> + Send;

    /// All that the caller may see, the oldest first.
    fn list(&self, caller: &Caller) -> impl Future<Output = Result<Vec<Schedule>>> + Send;

    /// One of them.
    fn get(&self, caller: &Caller, id: ScheduleId) -> impl Future<Output = Result<Schedule>> + Send;

    /// Pauses a schedule (true), or lets it go on from now (false): what was due meanwhile is not made up for. A
    /// repeat changes nothing.
    fn pause(
        &self,
        caller: &Caller,
        id: ScheduleId,
        paused: bool,
    ) -> impl Future<Output = Result<Schedule>> + Send;

    /// Starts the schedule's job now, beside its times; paused or not, and whatever its overlap policy says. A
    /// repeat starts another.
    fn run(&self, caller: &Caller, id: ScheduleId) -> impl Future<Output = Result<JobId>> + Send;

    /// Removes a schedule; the jobs that it started stay. A repeat is NotFound.
    fn delete(&self, caller: &Caller, id: ScheduleId) -> impl Future<Output = Result<()>> + Send;
}

/// The nodes of the fleet, and calls to them. A caller in a circle has no part in it: nodes serve many circles.
pub trait Nodes: Send + Sync + 'static {
    /// A node says that it lives. A repeat is a Conflict (HEARTBEAT_REPLAYED).
    fn heartbeat(&self, caller: &Caller, beat: SignedHeartbeat) -> impl Future<Output = Result<()>> + Send;

    /// The node that is asked, where a node is asked; an explorer has none (NODE_NOT_FOUND).
    fn info(&self, caller: &Caller) -> impl Future<Output = Result<Node>> + Send;

    /// One of them, with its history.
    fn get(&self, caller: &Caller, id: NodeId) -> impl Future<Output = Result<Node>> + Send;

    /// A page of them.
    fn list(&self, caller: &Caller, filter: NodeFilter) -> impl Future<Output = Result<NodePage>> + Send;

    /// Passes a call on to a node and its answer back, both as they are. The caller needs the scope that the method
    /// needs; for a method that is not ours, admin. A repeat is another call.
    fn call(
        &self,
        caller: &Caller,
        target: NodeTarget,
        call: NodeCall,
    ) -> impl Future<Output = Result<NodeAnswer>> + Send;

    /// Allows, bans or forgets a node. A repeat changes nothing.
    fn decide(
        &self,
        caller: &Caller,
        id: NodeId,
        decision: NodeDecision,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// Messages to services of other twins.
pub trait Bus: Send + Sync + 'static {
    /// Asks twins and waits for one answer of each: a reply, an error or a timeout. A wait that is over first is a
    /// Timeout (WAIT_TIMEOUT) whose words have the id to ask for the answers with.
    fn call(
        &self,
        caller: &Caller,
        request: BusRequest,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<BusReply>>> + Send;

    /// Asks twins without waiting; the id to ask for the answers with. A repeat asks again.
    fn send(&self, caller: &Caller, request: BusRequest) -> impl Future<Output = Result<String>> + Send;

    /// The answers that have come; none: none has, or they are gone (half an hour after the last one).
    fn result(&self, caller: &Caller, id: String) -> impl Future<Output = Result<Vec<BusReply>>> + Send;

    /// Messages that nothing could be done with, the oldest first.
    fn list_dead(&self, caller: &Caller, limit: u32)
    -> impl Future<Output = Result<Vec<DeadMessage>>> + Send;

    /// Puts such messages back into their queues: those with these ids, or all. How many those were.
    fn requeue_dead(&self, caller: &Caller, ids: Vec<String>) -> impl Future<Output = Result<u64>> + Send;
}

/// Calls to other nodes over the Mycelium overlay. They travel in this node's name, so the caller needs the scope here
/// that the method needs; for a method that is not ours, or another topic than this node's own, admin.
pub trait Overlay: Send + Sync + 'static {
    /// Calls another node and returns its answer as it is. A repeat is another call.
    fn call(&self, caller: &Caller, call: OverlayCall) -> impl Future<Output = Result<NodeAnswer>> + Send;

    /// Calls another node without waiting; the id to ask for the answer with. A repeat is another call.
    fn send(&self, caller: &Caller, call: OverlayCall) -> impl Future<Output = Result<String>> + Send;

    /// This node in the overlay, and where a message is that was sent.
    fn status(
        &self,
        caller: &Caller,
        message: Option<String>,
    ) -> impl Future<Output = Result<OverlayStatus>> + Send;
}

/// Who a secret belongs to, who owns a key, and the keys themselves.
pub trait Keys: Send + Sync + 'static {
    /// The caller that `secret` stands for; none was brought: the local caller, where no secret is configured.
    fn identify(&self, secret: Option<&str>) -> impl Future<Output = Result<Caller>> + Send;

    /// A line for the owner of `pubkey` to sign. It is given to everybody, so it tells nobody who is a member.
    fn nonce(&self, circle: &CircleKey, pubkey: &str) -> impl Future<Output = Result<String>> + Send;

    /// Verifies a proof and uses up its nonce. What proves nothing is AUTHENTICATION_REQUIRED, whatever the cause.
    fn login(&self, circle: &CircleKey, proof: Proof) -> impl Future<Output = Result<Login>> + Send;

    /// Makes an API key, which is shown this once. A repeat is AlreadyExists.
    fn create(&self, caller: &Caller, key: NewKey) -> impl Future<Output = Result<CreatedKey>> + Send;

    /// What is known of the API keys, by name.
    fn list(&self, caller: &Caller) -> impl Future<Output = Result<Vec<KeyInfo>>> + Send;

    /// Forgets an API key. A repeat is NotFound.
    fn remove(&self, caller: &Caller, name: &str) -> impl Future<Output = Result<()>> + Send;

    /// Replaces an API key by another of the same name and scope; the old one is over.
    fn rotate(&self, caller: &Caller, name: &str) -> impl Future<Output = Result<CreatedKey>> + Send;

    /// The record of who did what, the latest first.
    fn audit(&self, caller: &Caller, limit: usize) -> impl Future<Output = Result<Vec<AuditEntry>>> + Send;
}

/// The circles that this node serves.
pub trait Circles: Send + Sync + 'static {
    /// One of them, by its compressed key: for edges, which ask before anybody is let in.
    fn find(&self, key: &CircleKey) -> impl Future<Output = Result<Circle>> + Send;

    /// Serves a circle. A repeat replaces its members and limits.
    fn add(&self, caller: &Caller, circle: NewCircle) -> impl Future<Output = Result<Circle>> + Send;

    /// Serves a circle no more. A repeat is NotFound; one that is configured is a Conflict.
    fn remove(&self, caller: &Caller, public_key: &str) -> impl Future<Output = Result<()>> + Send;

    /// All of them, by key.
    fn list(&self, caller: &Caller) -> impl Future<Output = Result<Vec<Circle>>> + Send;
}
