//! Every metric, span and attribute name of the project, after the semantic conventions (1.44); own names begin
//! with `hero.`. A rename is a change of this file.
//!
//! A job id, script, key or address is never the attribute of a metric.

/// The scope of every instrument and span.
pub const SCOPE: &str = "hero";

// Metrics

/// How long a call took on the side that answers it, in seconds.
pub const RPC_SERVER_DURATION: &str = "rpc.server.call.duration";
/// Jobs put into a queue.
pub const MESSAGES_SENT: &str = "messaging.client.sent.messages";
/// How long a runner worked on a job, in seconds.
pub const PROCESS_DURATION: &str = "messaging.process.duration";
/// Jobs that wait in a queue.
pub const QUEUE_DEPTH: &str = "hero.job.queue.depth";
/// Jobs beyond the limit of their context, outside of the queues.
pub const JOBS_PARKED: &str = "hero.job.parked";
/// Jobs that a runner works on now.
pub const RUNNER_BUSY: &str = "hero.runner.busy";
/// Jobs that a runner can work on at once.
pub const RUNNER_SLOTS: &str = "hero.runner.slots";
/// Nodes that an explorer knows, by their state.
pub const NODES: &str = "hero.nodes";
/// Connections that are open.
pub const CONNECTIONS: &str = "hero.connections";
/// Callers that wait for a job to end.
pub const WAITERS: &str = "hero.job.waiters";
/// Calls refused by a limit of ours.
pub const LIMIT_REFUSED: &str = "hero.limit.refused";
/// What upkeep of the job store has done, by kind.
pub const SWEPT: &str = "hero.store.swept";
/// Messages of the bus, by what happened to them.
pub const BUS_MESSAGES: &str = "hero.bus.messages";
/// How long askers on the bus waited for an answer, in seconds.
pub const BUS_ANSWER_AGE: &str = "hero.bus.answer.age";
/// Deliveries that are under way, by destination.
pub const BUS_IN_FLIGHT: &str = "hero.bus.in_flight";
/// Messages that the bus holds, by what they wait for.
pub const BUS_DEPTH: &str = "hero.bus.depth";
/// Background tasks that ended and were started again.
pub const TASK_RESTARTS: &str = "hero.task.restarts";
/// Messages of the overlay that came in, by what became of them.
pub const OVERLAY_REQUESTS: &str = "hero.overlay.requests";
/// Answers that went out over the overlay, by what became of them.
pub const OVERLAY_REPLIES: &str = "hero.overlay.replies";
/// Calls to other nodes over the overlay, by what became of them.
pub const OVERLAY_CALLS: &str = "hero.overlay.calls";
/// Resident memory, in bytes.
pub const PROCESS_MEMORY: &str = "process.memory.usage";
/// Open file descriptors.
pub const PROCESS_FDS: &str = "process.unix.file_descriptor.count";
/// Threads.
pub const PROCESS_THREADS: &str = "process.thread.count";
/// Processor time used, in seconds.
pub const PROCESS_CPU: &str = "process.cpu.time";

// Attributes

/// `jsonrpc` or `grpc`.
pub const RPC_SYSTEM: &str = "rpc.system.name";
/// The method, from the known list, else [`OTHER`].
pub const RPC_METHOD: &str = "rpc.method";
/// The status code as text.
pub const RPC_STATUS_CODE: &str = "rpc.status_code";
/// `2.0`.
pub const JSONRPC_VERSION: &str = "jsonrpc.protocol.version";
/// The id of a JSON-RPC request. Spans only.
pub const JSONRPC_REQUEST_ID: &str = "jsonrpc.request.id";
/// The reason of a failure.
pub const ERROR_TYPE: &str = "error.type";
/// The circle of a call. Spans only.
pub const CIRCLE: &str = "hero.circle";
/// The host of a peer.
pub const SERVER_ADDRESS: &str = "server.address";
/// The port of a peer.
pub const SERVER_PORT: &str = "server.port";
/// `redis`, `mycelium` or `msgbus`.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// `send` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// `send`, `receive` or `process`.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// The queue of a span; for a metric only a name without an id in it.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// The job's id. Spans only.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// The job's context. Spans only.
pub const MESSAGING_CONVERSATION_ID: &str = "messaging.message.conversation_id";
/// The twin that a message goes to: as many as there are peers.
pub const DESTINATION: &str = "hero.bus.destination";
/// Whether a node can be counted on: `alive`, `suspect`, `dead` or `gone`.
pub const NODE_STATE: &str = "hero.node.state";
/// The script type of a job or queue.
pub const SCRIPT_TYPE: &str = "hero.script_type";
/// The reason code of a refusal.
pub const REASON: &str = "reason";
/// The name of a background task.
pub const TASK: &str = "task";
/// What became of it.
pub const OUTCOME: &str = "outcome";
/// The kind of a connection (`http`, `websocket`, `grpc`) or of a piece of upkeep (`promoted`, `requeued` …).
pub const KIND: &str = "kind";

/// Stands for a method that is not in the known list, so that callers cannot make series.
pub const OTHER: &str = "_OTHER";

// Spans are named after what they do: a method, `send <queue>`, `process <queue>`. The literal below is what
// `tracing` sees; the exported name is set beside it.

/// A call that is answered.
pub const SPAN_RPC_SERVER: &str = "rpc server";
/// A call that is made.
pub const SPAN_RPC_CLIENT: &str = "rpc client";
/// A job that is queued.
pub const SPAN_SEND: &str = "send";
/// A job that is worked on.
pub const SPAN_PROCESS: &str = "process";
/// A message of the bus.
pub const SPAN_BUS: &str = "bus";
