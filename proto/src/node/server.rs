//! Serves any implementation of the port of nodes.

use hero_domain::ports::Nodes;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    convert::node_id,
    limits::MAX_MESSAGE_BYTES,
    pb::node::v1::{
        self as pb,
        node_service_server::{NodeService, NodeServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of nodes.
#[derive(Debug)]
pub struct NodeFace<N>(N);

/// A tonic service over a port of nodes.
pub fn node_server<N: Nodes>(nodes: N) -> NodeServiceServer<NodeFace<N>> {
    NodeServiceServer::new(NodeFace(nodes))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[async_trait]
impl<N: Nodes> NodeService for NodeFace<N> {
    async fn heartbeat(&self, request: Request<pb::HeartbeatRequest>) -> Answer<pb::HeartbeatResponse> {
        serve(request, |caller, message| async move {
            self.0.heartbeat(&caller, convert::heartbeat(message)).await?;
            Ok(pb::HeartbeatResponse {})
        })
        .await
    }

    async fn get_node_info(
        &self,
        request: Request<pb::GetNodeInfoRequest>,
    ) -> Answer<pb::GetNodeInfoResponse> {
        serve(request, |caller, pb::GetNodeInfoRequest {}| async move {
            let node = convert::to_node(self.0.info(&caller).await?)?;
            Ok(pb::GetNodeInfoResponse { node: Some(node) })
        })
        .await
    }

    async fn get_node(&self, request: Request<pb::GetNodeRequest>) -> Answer<pb::GetNodeResponse> {
        serve(request, |caller, message| async move {
            let node = self.0.get(&caller, node_id(&message.node_id, "node_id")?).await?;
            Ok(pb::GetNodeResponse { node: Some(convert::to_node(node)?) })
        })
        .await
    }

    async fn list_nodes(&self, request: Request<pb::ListNodesRequest>) -> Answer<pb::ListNodesResponse> {
        serve(request, |caller, message| async move {
            convert::to_page(self.0.list(&caller, convert::filter(message)?).await?)
        })
        .await
    }

    async fn call_node(&self, request: Request<pb::CallNodeRequest>) -> Answer<pb::CallNodeResponse> {
        serve(request, |caller, message| async move {
            let (target, call) = convert::call(message)?;
            Ok(convert::to_answer(self.0.call(&caller, target, call).await?))
        })
        .await
    }

    async fn decide_node(&self, request: Request<pb::DecideNodeRequest>) -> Answer<pb::DecideNodeResponse> {
        serve(request, |caller, message| async move {
            let id = node_id(&message.node_id, "node_id")?;
            let decision = convert::decision(message.decision, "decision")?;
            self.0.decide(&caller, id, decision).await?;
            Ok(pb::DecideNodeResponse {})
        })
        .await
    }
}
