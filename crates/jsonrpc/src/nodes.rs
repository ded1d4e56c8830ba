//! The methods of nodes, and jobs that are on another node than the one that is asked.

use std::sync::Arc;

use hero_domain::{
    ApiError, JobId, Node, NodeAnswer, NodeCall, NodeDecision, NodeFilter, NodeId, NodePage, NodeSelector,
    NodeTarget, Reason, Result, SignedHeartbeat, ports::Nodes,
};
use jsonrpsee::types::ErrorObjectOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, value::RawValue};

use crate::{JobParams, Session, error::Failure, handler::Fleet, method::Method, params::NoParams};

/// Which node: an id, a selector, or `"any"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeParam(pub NodeTarget);

impl<'de> Deserialize<'de> for NodeParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let target = match Value::deserialize(deserializer)? {
            Value::String(text) if text == "any" => NodeTarget::Fitting(NodeSelector::default()),
            Value::String(text) => NodeTarget::Id(text.parse().map_err(D::Error::custom)?),
            Value::Object(members) if members.len() == 1 && members.contains_key("job_id") => {
                let job_id = JobId::deserialize(&members["job_id"]).map_err(D::Error::custom)?;
                NodeTarget::OfJob { job_id }
            }
            value @ Value::Object(_) => {
                NodeTarget::Fitting(NodeSelector::deserialize(value).map_err(D::Error::custom)?)
            }
            _ => return Err(D::Error::custom("a node is its id, a selector (an object), or \"any\"")),
        };
        Ok(Self(target))
    }
}

impl Serialize for NodeParam {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            NodeTarget::Id(id) => id.serialize(serializer),
            NodeTarget::Fitting(selector) => selector.serialize(serializer),
            NodeTarget::OfJob { job_id } => serde_json::json!({"job_id": job_id}).serialize(serializer),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatParams {
    beat: Box<RawValue>,
    #[serde(default)]
    public_key: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeIdParams {
    node_id: NodeId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListNodesParams {
    #[serde(default)]
    filter: Option<NodeFilter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallNodeParams {
    node_id: NodeParam,
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    places: Option<JobId>,
}

pub(crate) async fn heartbeat<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: HeartbeatParams,
) -> Result<(), Failure> {
    let text = Box::<str>::from(params.beat).into_string();
    let beat = SignedHeartbeat { text, public_key: params.public_key, signature: params.signature };
    Ok(face.nodes().heartbeat(session.caller(), beat).await?)
}

pub(crate) async fn node_info<F: Fleet>(
    face: Arc<F>,
    session: Session,
    _: NoParams,
) -> Result<Node, Failure> {
    outside_circles(&session)?;
    Ok(face.nodes().info(session.caller()).await?)
}

pub(crate) async fn get_node<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: NodeIdParams,
) -> Result<Node, Failure> {
    outside_circles(&session)?;
    Ok(face.nodes().get(session.caller(), params.node_id).await?)
}

pub(crate) async fn list_nodes<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: ListNodesParams,
) -> Result<NodePage, Failure> {
    outside_circles(&session)?;
    Ok(face.nodes().list(session.caller(), params.filter.unwrap_or_default()).await?)
}

pub(crate) async fn call_node<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: CallNodeParams,
) -> Result<Box<RawValue>, Failure> {
    outside_circles(&session)?;
    let call = NodeCall {
        method: params.method,
        params: params.params.map(|params| Box::<str>::from(params).into_string()),
        timeout_ms: params.timeout_ms,
        places: params.places,
    };
    passed_back(face.nodes().call(session.caller(), params.node_id.0, call).await?)
}

pub(crate) async fn allow_node<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: NodeIdParams,
) -> Result<(), Failure> {
    Ok(face.nodes().decide(session.caller(), params.node_id, NodeDecision::Allow).await?)
}

pub(crate) async fn ban_node<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: NodeIdParams,
) -> Result<(), Failure> {
    Ok(face.nodes().decide(session.caller(), params.node_id, NodeDecision::Ban).await?)
}

pub(crate) async fn remove_node<F: Fleet>(
    face: Arc<F>,
    session: Session,
    params: NodeIdParams,
) -> Result<(), Failure> {
    Ok(face.nodes().decide(session.caller(), params.node_id, NodeDecision::Remove).await?)
}

/// Nodes serve many circles, so no circle has a say about them.
fn outside_circles(session: &Session) -> Result<()> {
    if session.caller().circle.is_none() {
        return Ok(());
    }
    Err(ApiError::new(Reason::ScopeInsufficient, "nodes are not a circle's affair; call at the root path"))
}

/// The node's answer as our own.
pub(crate) fn passed_back(answer: NodeAnswer) -> Result<Box<RawValue>, Failure> {
    match answer {
        NodeAnswer::Result(text) => Ok(RawValue::from_string(text).map_err(ApiError::internal)?),
        NodeAnswer::Error(text) => {
            Err(Failure::Remote(serde_json::from_str::<ErrorObjectOwned>(&text).map_err(ApiError::internal)?))
        }
    }
}

/// A job that is not here may have been given to another node: then the call goes there as it is. None: it was not,
/// or nobody knows.
pub(crate) async fn elsewhere<F: Fleet>(
    face: &F,
    session: &Session,
    entry: &'static Method,
    params: Option<&str>,
    error: &ApiError,
) -> Option<Result<Box<RawValue>, Failure>> {
    let is_of_a_job = entry.params.first().is_some_and(|param| param.name == "job_id");
    if error.reason() != Reason::JobNotFound || !is_of_a_job || session.caller().circle.is_some() {
        return None;
    }
    let target = NodeTarget::OfJob { job_id: error.job_id()? };
    let call = NodeCall {
        method: entry.name.to_owned(),
        params: params.map(str::to_owned),
        timeout_ms: None,
        places: None,
    };
    match face.nodes().call(session.caller(), target, call).await {
        Ok(answer) => Some(passed_back(answer)),
        Err(away) if matches!(away.reason(), Reason::NodeUnavailable | Reason::NodeTimeout) => {
            Some(Err(away.into()))
        }
        Err(_) => None,
    }
}

/// Gives a job to the node that it asks for, by `method` (create_job, submit_job); its id there.
pub(crate) async fn place<F: Fleet>(
    face: &F,
    session: &Session,
    method: &str,
    mut job: JobParams,
    node: NodeParam,
) -> Result<JobId, Failure> {
    outside_circles(session)?;
    let target = match node.0 {
        NodeTarget::Fitting(_) if job.idempotency_key.is_some() => {
            let words = "a job for any node has no idempotency key, since each node knows its own only; bring an id, \
                         or name one node";
            return Err(ApiError::new(Reason::InvalidParams, words).with_field("job.idempotency_key").into());
        }
        NodeTarget::Fitting(selector) => NodeTarget::Fitting(NodeSelector {
            script_type: selector.script_type.or(Some(job.script_type)),
            ..selector
        }),
        named => named,
    };
    let id = *job.id.get_or_insert_with(JobId::mint);
    job.caller_id.get_or_insert_with(|| session.caller().name.clone());
    let params = serde_json::to_string(&(&job,)).map_err(ApiError::internal)?;
    let call =
        NodeCall { method: method.to_owned(), params: Some(params), timeout_ms: None, places: Some(id) };
    let answer = passed_back(face.nodes().call(session.caller(), target, call).await?)?;
    Ok(serde_json::from_str(answer.get()).map_err(ApiError::internal)?)
}

/// Runs a job on the node that it asks for and returns its output.
pub(crate) async fn run<F: Fleet>(
    face: &F,
    session: &Session,
    job: JobParams,
    node: NodeParam,
) -> Result<String, Failure> {
    let id = place(face, session, "submit_job", job, node).await?;
    let of_job = |method: &str| NodeCall {
        method: method.to_owned(),
        params: Some(format!("[\"{id}\"]")),
        timeout_ms: None,
        places: None,
    };
    let target = NodeTarget::OfJob { job_id: id };
    passed_back(face.nodes().call(session.caller(), target.clone(), of_job("wait_job")).await?)?;
    let answer = face.nodes().call(session.caller(), target, of_job("get_job_output")).await?;
    Ok(serde_json::from_str(passed_back(answer)?.get()).map_err(ApiError::internal)?)
}
