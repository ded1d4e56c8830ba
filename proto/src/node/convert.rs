//! Nodes, in both directions.

use hero_domain::{
    ApiError, Node, NodeAnswer, NodeCall, NodeChange, NodeDecision, NodeFilter, NodePage, NodeSelector,
    NodeSort, NodeState, NodeTarget, Reason, Result, SignedHeartbeat, Standing,
};

use crate::{
    convert::{circle_key, from_timestamp, job_id, named_on_both_sides, node_id, required, timestamp},
    job::{script_type, to_script_type},
    pb::node::v1::{self as pb, call_node_request::Target, call_node_response::Answer},
};

named_on_both_sides!(to_state, state: NodeState = pb::NodeState, InvalidParams {
    Alive = "NODE_STATE_ALIVE",
    Suspect = "NODE_STATE_SUSPECT",
    Dead = "NODE_STATE_DEAD",
    Gone = "NODE_STATE_GONE",
});
named_on_both_sides!(to_standing, standing: Standing = pb::Standing, InvalidParams {
    Known = "STANDING_KNOWN",
    Allowed = "STANDING_ALLOWED",
    Banned = "STANDING_BANNED",
});
named_on_both_sides!(to_sort, sort: NodeSort = pb::NodeSort, InvalidParams {
    NodeId = "NODE_SORT_NODE_ID",
    Name = "NODE_SORT_NAME",
    FreeSlots = "NODE_SORT_FREE_SLOTS",
    Load = "NODE_SORT_LOAD",
    LastSeen = "NODE_SORT_LAST_SEEN",
});
named_on_both_sides!(to_decision, decision: NodeDecision = pb::NodeDecision, InvalidParams {
    Allow = "NODE_DECISION_ALLOW",
    Ban = "NODE_DECISION_BAN",
    Remove = "NODE_DECISION_REMOVE",
});

pub(crate) fn to_heartbeat(beat: SignedHeartbeat) -> pb::HeartbeatRequest {
    pb::HeartbeatRequest { beat: beat.text, public_key: beat.public_key, signature: beat.signature }
}

pub(crate) fn heartbeat(message: pb::HeartbeatRequest) -> SignedHeartbeat {
    SignedHeartbeat { text: message.beat, public_key: message.public_key, signature: message.signature }
}

fn to_change(change: NodeChange) -> pb::NodeChange {
    pb::NodeChange {
        at: Some(from_timestamp(change.at)),
        state: to_state(change.state).into(),
        why: change.why,
    }
}

fn change(change: pb::NodeChange) -> Result<NodeChange> {
    Ok(NodeChange {
        at: timestamp(required(change.at, "history.at")?, "history.at")?,
        state: state(change.state, "history.state")?,
        why: change.why,
    })
}

pub(crate) fn to_node(node: Node) -> Result<pb::Node> {
    Ok(pb::Node {
        beat: serde_json::to_string(&node.beat).map_err(ApiError::internal)?,
        state: to_state(node.state).into(),
        standing: to_standing(node.standing).into(),
        public_key: node.public_key,
        first_seen: Some(from_timestamp(node.first_seen)),
        last_seen: Some(from_timestamp(node.last_seen)),
        twin_since: node.twin_since.map(from_timestamp),
        history: node.history.into_iter().map(to_change).collect(),
    })
}

pub(crate) fn node(node: Option<pb::Node>) -> Result<Node> {
    let node = required(node, "node")?;
    let refused =
        |error: serde_json::Error| ApiError::new(Reason::InvalidParams, error.to_string()).with_field("beat");
    Ok(Node {
        beat: serde_json::from_str(&node.beat).map_err(refused)?,
        state: state(node.state, "state")?,
        standing: standing(node.standing, "standing")?,
        public_key: node.public_key,
        first_seen: timestamp(required(node.first_seen, "first_seen")?, "first_seen")?,
        last_seen: timestamp(required(node.last_seen, "last_seen")?, "last_seen")?,
        twin_since: node.twin_since.map(|since| timestamp(since, "twin_since")).transpose()?,
        history: node.history.into_iter().map(change).collect::<Result<_>>()?,
    })
}

pub(crate) fn to_filter(filter: NodeFilter) -> pb::ListNodesRequest {
    pb::ListNodesRequest {
        script_type: filter.script_type.map(|value| to_script_type(value).into()),
        circle: filter.circle.map(|key| key.to_string()),
        free_slots: filter.free_slots,
        label: filter.label,
        state: filter.state.map(|value| to_state(value).into()),
        sort: filter.sort.map(|value| to_sort(value).into()),
        page_size: filter.limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        cursor: filter.cursor.map(|id| id.to_string()),
        twin_id: filter.twin_id,
        twin_key: filter.twin_key,
    }
}

pub(crate) fn filter(filter: pb::ListNodesRequest) -> Result<NodeFilter> {
    Ok(NodeFilter {
        script_type: filter.script_type.map(|value| script_type(value, "script_type")).transpose()?,
        circle: filter.circle.map(|key| circle_key(&key, "circle")).transpose()?,
        free_slots: filter.free_slots,
        label: filter.label,
        state: filter.state.map(|value| state(value, "state")).transpose()?,
        sort: filter.sort.map(|value| sort(value, "sort")).transpose()?,
        limit: filter.page_size.map(|limit| limit as usize),
        cursor: filter.cursor.map(|id| node_id(&id, "cursor")).transpose()?,
        twin_id: filter.twin_id,
        twin_key: filter.twin_key,
    })
}

pub(crate) fn to_page(page: NodePage) -> Result<pb::ListNodesResponse> {
    Ok(pb::ListNodesResponse {
        nodes: page.nodes.into_iter().map(to_node).collect::<Result<_>>()?,
        total: page.total,
        next_cursor: page.next_cursor.map(|id| id.to_string()),
    })
}

pub(crate) fn page(page: pb::ListNodesResponse) -> Result<NodePage> {
    Ok(NodePage {
        nodes: page.nodes.into_iter().map(|it| node(Some(it))).collect::<Result<_>>()?,
        total: page.total,
        next_cursor: page.next_cursor.map(|id| node_id(&id, "next_cursor")).transpose()?,
    })
}

fn to_selector(selector: NodeSelector) -> pb::NodeSelector {
    pb::NodeSelector {
        script_type: selector.script_type.map(|value| to_script_type(value).into()),
        circle: selector.circle.map(|key| key.to_string()),
        free_slots: selector.free_slots,
        label: selector.label,
        except: selector.except.iter().map(ToString::to_string).collect(),
    }
}

fn selector(selector: pb::NodeSelector) -> Result<NodeSelector> {
    Ok(NodeSelector {
        script_type: selector
            .script_type
            .map(|value| script_type(value, "selector.script_type"))
            .transpose()?,
        circle: selector.circle.map(|key| circle_key(&key, "selector.circle")).transpose()?,
        free_slots: selector.free_slots,
        label: selector.label,
        except: selector.except.iter().map(|id| node_id(id, "selector.except")).collect::<Result<_>>()?,
    })
}

pub(crate) fn to_call(target: NodeTarget, call: NodeCall) -> pb::CallNodeRequest {
    let target = match target {
        NodeTarget::Id(id) => Target::NodeId(id.to_string()),
        NodeTarget::Fitting(selector) => Target::Selector(to_selector(selector)),
        NodeTarget::OfJob { job_id } => Target::OfJob(job_id.to_string()),
    };
    pb::CallNodeRequest {
        target: Some(target),
        method: call.method,
        params: call.params,
        timeout_ms: call.timeout_ms,
        places: call.places.map(|id| id.to_string()),
    }
}

pub(crate) fn call(message: pb::CallNodeRequest) -> Result<(NodeTarget, NodeCall)> {
    let target = match required(message.target, "target")? {
        Target::NodeId(id) => NodeTarget::Id(node_id(&id, "node_id")?),
        Target::Selector(message) => NodeTarget::Fitting(selector(message)?),
        Target::OfJob(id) => NodeTarget::OfJob { job_id: job_id(&id, "of_job")? },
    };
    let call = NodeCall {
        method: message.method,
        params: message.params,
        timeout_ms: message.timeout_ms,
        places: message.places.map(|id| job_id(&id, "places")).transpose()?,
    };
    Ok((target, call))
}

pub(crate) fn to_answer(answer: NodeAnswer) -> pb::CallNodeResponse {
    let answer = match answer {
        NodeAnswer::Result(text) => Answer::Result(text),
        NodeAnswer::Error(text) => Answer::Error(text),
    };
    pb::CallNodeResponse { answer: Some(answer) }
}

pub(crate) fn node_answer(message: pb::CallNodeResponse) -> Result<NodeAnswer> {
    Ok(match required(message.answer, "answer")? {
        Answer::Result(text) => NodeAnswer::Result(text),
        Answer::Error(text) => NodeAnswer::Error(text),
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{
        JobId, Node, NodeAnswer, NodeCall, NodeChange, NodeFilter, NodePage, NodeSelector, NodeSort,
        NodeState, NodeTarget, ScriptType, Standing, Timestamp,
    };

    use super::{call, filter, node_answer, page, to_answer, to_call, to_filter, to_page};
    use crate::pb::node::v1 as pb;

    fn node() -> Node {
        let text = r#"{"node_id": "a", "name": "kitchen", "slots": 4, "twin_id": 7, "started_at_ms": 5,
            "counter": 1, "sent_at_ms": 6, "interval_ms": 10000, "machine": {"load": 0.5}}"#;
        Node {
            beat: serde_json::from_str(text).unwrap(),
            state: NodeState::Suspect,
            standing: Standing::Allowed,
            public_key: Some("ab".into()),
            first_seen: Timestamp::from_millis(1),
            last_seen: Timestamp::from_millis(2),
            twin_since: Some(Timestamp::from_millis(1)),
            history: vec![NodeChange {
                at: Timestamp::from_millis(1),
                state: NodeState::Alive,
                why: "first heard of".into(),
            }],
        }
    }

    #[test]
    fn a_page_of_nodes_survives() {
        let whole = NodePage { nodes: vec![node()], total: 9, next_cursor: Some("a".parse().unwrap()) };
        assert_eq!(page(to_page(whole.clone()).unwrap()).unwrap(), whole);
    }

    #[test]
    fn a_filter_and_a_call_survive() {
        let whole = NodeFilter {
            script_type: Some(ScriptType::Python),
            circle: Some(format!("02{}", "ab".repeat(32)).parse().unwrap()),
            free_slots: Some(1),
            label: Some("zone=b".into()),
            state: Some(NodeState::Gone),
            sort: Some(NodeSort::Load),
            limit: Some(5),
            cursor: Some("b".parse().unwrap()),
            twin_id: Some(7),
            twin_key: Some("ab".into()),
        };
        assert_eq!(filter(to_filter(whole.clone())).unwrap(), whole);
        let selector = NodeSelector {
            script_type: Some(ScriptType::V),
            free_slots: Some(2),
            except: vec!["c".parse().unwrap()],
            ..NodeSelector::default()
        };
        let of_job = JobId::mint();
        for target in [
            NodeTarget::Id("a".parse().unwrap()),
            NodeTarget::Fitting(selector),
            NodeTarget::OfJob { job_id: of_job },
        ] {
            let whole = NodeCall {
                method: "vm_list".into(),
                params: Some("[1]".into()),
                timeout_ms: Some(5),
                places: Some(of_job),
            };
            assert_eq!(call(to_call(target.clone(), whole.clone())).unwrap(), (target, whole));
        }
        for answer in [NodeAnswer::Error("{}".into()), NodeAnswer::Result("null".into())] {
            assert_eq!(node_answer(to_answer(answer.clone())).unwrap(), answer);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = call(pb::CallNodeRequest::default()).unwrap_err();
        assert_eq!(refused.field(), Some("target"));
        let of = pb::ListNodesRequest { state: Some(9), ..pb::ListNodesRequest::default() };
        assert_eq!(filter(of).unwrap_err().field(), Some("state"));
    }
}
