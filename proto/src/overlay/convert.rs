//! Between the messages of the overlay's contract and the domain.

use hero_domain::{
    ApiError, NodeAnswer, OverlayCall, OverlayMessage, OverlayState, OverlayStatus, Reason, Result,
};

use crate::{
    convert::{named_on_both_sides, required},
    pb::overlay::v1::{self as pb, answer::Answer},
};

named_on_both_sides!(to_state, state: OverlayState = pb::MessageState, InvalidParams {
    Pending = "MESSAGE_STATE_PENDING",
    Received = "MESSAGE_STATE_RECEIVED",
    Aborted = "MESSAGE_STATE_ABORTED",
    Unknown = "MESSAGE_STATE_UNKNOWN",
});

pub(crate) fn to_call(call: OverlayCall) -> pb::Call {
    let OverlayCall { to, topic, method, params, secret, timeout_ms } = call;
    pb::Call { destination: to.to_string(), topic, method, params, secret, timeout_ms }
}

pub(crate) fn call(message: Option<pb::Call>) -> Result<OverlayCall> {
    let pb::Call { destination, topic, method, params, secret, timeout_ms } = required(message, "call")?;
    let to = parsed(&destination, "destination")?;
    Ok(OverlayCall { to, topic, method, params, secret, timeout_ms })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, field: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| {
        ApiError::new(Reason::InvalidParams, error.to_string()).with_field(field.to_owned())
    })
}

pub(crate) fn to_answer(answer: NodeAnswer) -> pb::Answer {
    let answer = match answer {
        NodeAnswer::Result(text) => Answer::Result(text),
        NodeAnswer::Error(text) => Answer::Error(text),
    };
    pb::Answer { answer: Some(answer) }
}

pub(crate) fn answer(message: Option<pb::Answer>) -> Result<NodeAnswer> {
    Ok(match required(required(message, "answer")?.answer, "answer.answer")? {
        Answer::Result(text) => NodeAnswer::Result(text),
        Answer::Error(text) => NodeAnswer::Error(text),
    })
}

pub(crate) fn to_status(status: OverlayStatus) -> pb::StatusResponse {
    let OverlayStatus { public_key, ip, subnet, peers, topic, message } = status;
    let message = message.map(|OverlayMessage { id, state, answer }| pb::Message {
        id,
        state: to_state(state).into(),
        answer: answer.map(to_answer),
    });
    let ip = ip.map(|ip| ip.to_string());
    pb::StatusResponse { public_key: public_key.to_string(), ip, subnet, peers, topic, message }
}

pub(crate) fn status(response: pb::StatusResponse) -> Result<OverlayStatus> {
    let pb::StatusResponse { public_key, ip, subnet, peers, topic, message: told } = response;
    Ok(OverlayStatus {
        public_key: parsed(&public_key, "public_key")?,
        ip: ip.map(|ip| parsed(&ip, "ip")).transpose()?,
        subnet,
        peers,
        topic,
        message: told.map(message).transpose()?,
    })
}

fn message(message: pb::Message) -> Result<OverlayMessage> {
    let answered = message.answer.map(|answered| answer(Some(answered))).transpose()?;
    Ok(OverlayMessage { id: message.id, state: state(message.state, "message.state")?, answer: answered })
}

#[cfg(test)]
mod tests {
    use hero_domain::{NodeAnswer, OverlayCall, OverlayMessage, OverlayState, OverlayStatus};

    use super::{answer, call, status, to_answer, to_call, to_status};

    #[test]
    fn what_the_overlay_carries_survives() {
        let asked = OverlayCall {
            to: "mycelium://[56d:524:53e6:1e4b::1]".parse().unwrap(),
            topic: Some("other.rpc".into()),
            method: "get_job".into(),
            params: Some(r#"["j"]"#.into()),
            secret: Some("s".into()),
            timeout_ms: Some(9),
        };
        assert_eq!(call(Some(to_call(asked.clone()))).unwrap(), asked);
        for answered in [NodeAnswer::Result("1".into()), NodeAnswer::Error("{}".into())] {
            assert_eq!(answer(Some(to_answer(answered.clone()))).unwrap(), answered);
            let told = OverlayStatus {
                public_key: "ab".repeat(32).parse().unwrap(),
                ip: "56d::1".parse().ok(),
                subnet: "56d::/64".into(),
                peers: 2,
                topic: "supervisor.rpc".into(),
                message: Some(OverlayMessage {
                    id: "0123456789abcdef".into(),
                    state: OverlayState::Received,
                    answer: Some(answered),
                }),
            };
            assert_eq!(status(to_status(told.clone())).unwrap(), told);
        }
        assert_eq!(call(None).unwrap_err().field(), Some("call"));
        let nowhere = crate::pb::overlay::v1::Call { destination: "10.0.0.7".into(), ..Default::default() };
        assert_eq!(call(Some(nowhere)).unwrap_err().field(), Some("destination"));
    }
}
