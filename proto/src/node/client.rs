//! The port of nodes, asked over a channel.

use std::time::Duration;

use hero_domain::{
    Caller, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage, NodeTarget, Result,
    SignedHeartbeat, ports::Nodes,
};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    limits::MAX_MESSAGE_BYTES,
    pb::node::v1::{self as pb, node_service_client::NodeServiceClient},
};

/// The port of nodes over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcNodes {
    client: NodeServiceClient<Channel>,
    calls: Calls,
}

impl GrpcNodes {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        let client = NodeServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, calls }
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }
}

impl Nodes for GrpcNodes {
    async fn heartbeat(&self, caller: &Caller, beat: SignedHeartbeat) -> Result<()> {
        let request = self.request(caller, convert::to_heartbeat(beat))?;
        answer(self.client.clone().heartbeat(request).await).map(|_| ())
    }

    async fn info(&self, caller: &Caller) -> Result<Node> {
        let request = self.request(caller, pb::GetNodeInfoRequest {})?;
        let response = answer(self.client.clone().get_node_info(request).await)?;
        convert::node(response.node).map_err(malformed)
    }

    async fn get(&self, caller: &Caller, id: NodeId) -> Result<Node> {
        let request = self.request(caller, pb::GetNodeRequest { node_id: id.to_string() })?;
        let response = answer(self.client.clone().get_node(request).await)?;
        convert::node(response.node).map_err(malformed)
    }

    async fn list(&self, caller: &Caller, filter: NodeFilter) -> Result<NodePage> {
        let request = self.request(caller, convert::to_filter(filter))?;
        let response = answer(self.client.clone().list_nodes(request).await)?;
        convert::page(response).map_err(malformed)
    }

    async fn call(&self, caller: &Caller, target: NodeTarget, call: NodeCall) -> Result<NodeAnswer> {
        // The call may be one that waits for a job; whoever passes it on has its own bound.
        let deadline = self.calls.deadlines.of_wait(call.timeout_ms.map(Duration::from_millis));
        let request = self.calls.request(caller, deadline, convert::to_call(target, call))?;
        let response = answer(self.client.clone().call_node(request).await)?;
        convert::node_answer(response).map_err(malformed)
    }

    async fn decide(&self, caller: &Caller, id: NodeId, decision: NodeDecision) -> Result<()> {
        let decision = convert::to_decision(decision).into();
        let message = pb::DecideNodeRequest { node_id: id.to_string(), decision };
        let request = self.request(caller, message)?;
        answer(self.client.clone().decide_node(request).await).map(|_| ())
    }
}
