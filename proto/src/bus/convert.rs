//! Between the messages of the bus' contract and the domain.

use hero_domain::{BusReply, BusRequest, DeadMessage, Result};

use crate::{convert::required, pb::bus::v1 as pb};

pub(crate) fn to_request(request: BusRequest) -> pb::Request {
    let BusRequest { twins, command, data, expires_s, retries } = request;
    pb::Request { twins, command, data, expires_s, retries }
}

pub(crate) fn request(message: Option<pb::Request>) -> Result<BusRequest> {
    let pb::Request { twins, command, data, expires_s, retries } = required(message, "request")?;
    Ok(BusRequest { twins, command, data, expires_s, retries })
}

pub(crate) fn to_replies(replies: Vec<BusReply>) -> Vec<pb::Reply> {
    let one = |BusReply { twin, uid, data, error }| pb::Reply { twin, uid, data, error };
    replies.into_iter().map(one).collect()
}

pub(crate) fn replies(messages: Vec<pb::Reply>) -> Vec<BusReply> {
    let one = |pb::Reply { twin, uid, data, error }| BusReply { twin, uid, data, error };
    messages.into_iter().map(one).collect()
}

pub(crate) fn to_dead(messages: Vec<DeadMessage>) -> Vec<pb::DeadMessage> {
    let one = |DeadMessage { id, queue, why, message }| pb::DeadMessage { id, queue, why, message };
    messages.into_iter().map(one).collect()
}

pub(crate) fn dead(messages: Vec<pb::DeadMessage>) -> Vec<DeadMessage> {
    let one = |pb::DeadMessage { id, queue, why, message }| DeadMessage { id, queue, why, message };
    messages.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use hero_domain::{BusReply, BusRequest, DeadMessage};

    use super::{dead, replies, request, to_dead, to_replies, to_request};

    #[test]
    fn what_the_bus_carries_survives() {
        let asked = BusRequest {
            twins: vec![1, 2],
            command: "echo".into(),
            data: vec![0, 255],
            expires_s: 60,
            retries: 3,
        };
        assert_eq!(request(Some(to_request(asked.clone()))).unwrap(), asked);
        let told = |error: Option<&str>| BusReply {
            twin: 2,
            uid: "2.7".into(),
            data: vec![1],
            error: error.map(str::to_owned),
        };
        let answers = vec![told(None), told(Some("no"))];
        assert_eq!(replies(to_replies(answers.clone())), answers);
        let letters =
            vec![DeadMessage { id: "1".into(), queue: "q".into(), why: "w".into(), message: "m".into() }];
        assert_eq!(dead(to_dead(letters.clone())), letters);
        assert_eq!(request(None).unwrap_err().field(), Some("request"));
    }
}
