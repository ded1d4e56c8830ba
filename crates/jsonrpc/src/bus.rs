//! The methods of the message bus.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_domain::{
    ApiError, BusReply, BusRequest, Reason,
    ports::{Bus, Ports},
};
use serde::{Deserialize, Serialize};

use crate::{Session, error::Failure, handler::Face};

/// The order of the fields is the order of the positional parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallParams {
    twins: Vec<u32>,
    command: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(default)]
    expires: Option<u32>,
    #[serde(default)]
    retries: Option<u32>,
    #[serde(default)]
    timeout: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendParams {
    twins: Vec<u32>,
    command: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(default)]
    expires: Option<u32>,
    #[serde(default)]
    retries: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResultParams {
    id: String,
}

impl SendParams {
    fn into_request(self) -> Result<BusRequest, ApiError> {
        let refuse =
            |words: &str| ApiError::new(Reason::InvalidParams, words.to_owned()).with_field("data_base64");
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => return Err(refuse("is given beside data; give one of them")),
            (text, None) => text.unwrap_or_default().into_bytes(),
            (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).map_err(|_| refuse("is not base64"))?,
        };
        Ok(BusRequest {
            twins: self.twins,
            command: self.command,
            data,
            expires_s: self.expires.unwrap_or_default(),
            retries: self.retries.unwrap_or_default(),
        })
    }
}

/// The answer of one twin. Every member is always there; what has no value is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BusReplyView {
    /// The twin that was asked.
    pub twin: u32,
    /// The id that the bus gave the request to this twin.
    pub uid: String,
    /// What the service said, if that is text.
    pub data: Option<String>,
    /// What it said, if that is no text.
    pub data_base64: Option<String>,
    /// Why there is no answer of the service.
    pub error: Option<String>,
}

impl From<BusReply> for BusReplyView {
    fn from(reply: BusReply) -> Self {
        let (data, data_base64) = match String::from_utf8(reply.data) {
            Ok(text) => (reply.error.is_none().then_some(text), None),
            Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
        };
        Self { twin: reply.twin, uid: reply.uid, data, data_base64, error: reply.error }
    }
}

fn views(replies: Vec<BusReply>) -> Vec<BusReplyView> {
    replies.into_iter().map(BusReplyView::from).collect()
}

pub(crate) async fn bus_call<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: CallParams,
) -> Result<Vec<BusReplyView>, Failure> {
    let CallParams { twins, command, data, data_base64, expires, retries, timeout } = params;
    let params = SendParams { twins, command, data, data_base64, expires, retries };
    let wait = timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let replies = face.bus().call(session.caller(), params.into_request()?, wait).await?;
    Ok(views(replies))
}

pub(crate) async fn bus_send<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: SendParams,
) -> Result<String, Failure> {
    Ok(face.bus().send(session.caller(), params.into_request()?).await?)
}

pub(crate) async fn bus_result<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ResultParams,
) -> Result<Vec<BusReplyView>, Failure> {
    Ok(views(face.bus().result(session.caller(), params.id).await?))
}
