//! The methods of the overlay.

use std::sync::Arc;

use hero_domain::{
    Destination, NodeAnswer, OverlayCall, OverlayKey, OverlayMessage, OverlayState, OverlayStatus,
    ports::{Overlay, Ports},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Session, error::Failure, handler::Face, nodes::passed_back};

/// The order of the fields is the order of the positional parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallParams {
    destination: Destination,
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    topic: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendParams {
    destination: Destination,
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    topic: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusParams {
    #[serde(default)]
    id: Option<String>,
}

impl SendParams {
    fn into_call(self, timeout_ms: Option<u64>) -> OverlayCall {
        OverlayCall {
            to: self.destination,
            topic: self.topic,
            method: self.method,
            params: self.params.map(|params| Box::<str>::from(params).into_string()),
            secret: None,
            timeout_ms,
        }
    }
}

/// This node in the overlay. Every member is always there; what has no value is null.
#[derive(Debug, Clone, Serialize)]
pub struct MyceliumStatusView {
    /// Its public key.
    pub public_key: OverlayKey,
    /// Its address.
    pub ip: Option<std::net::Ipv6Addr>,
    /// The network that is all its own.
    pub subnet: String,
    /// The peers that it has a living connection to.
    pub peers: u32,
    /// The topic that requests come in on.
    pub topic: String,
    /// The message that was asked about.
    pub message: Option<MyceliumMessageView>,
}

/// A message that was sent.
#[derive(Debug, Clone, Serialize)]
pub struct MyceliumMessageView {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: OverlayState,
    /// What came of the call.
    pub result: Option<Box<RawValue>>,
    /// The other node's own error.
    pub error: Option<Box<RawValue>>,
}

fn view(status: OverlayStatus) -> Result<MyceliumStatusView, hero_domain::ApiError> {
    let OverlayStatus { public_key, ip, subnet, peers, topic, message } = status;
    let message = message.map(message_view).transpose()?;
    Ok(MyceliumStatusView { public_key, ip, subnet, peers, topic, message })
}

fn message_view(message: OverlayMessage) -> Result<MyceliumMessageView, hero_domain::ApiError> {
    let raw = |text: String| RawValue::from_string(text).map_err(hero_domain::ApiError::internal);
    let (result, error) = match message.answer {
        None => (None, None),
        Some(NodeAnswer::Result(text)) => (Some(raw(text)?), None),
        Some(NodeAnswer::Error(text)) => (None, Some(raw(text)?)),
    };
    Ok(MyceliumMessageView { id: message.id, state: message.state, result, error })
}

pub(crate) async fn mycelium_call<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: CallParams,
) -> Result<Box<RawValue>, Failure> {
    let CallParams { destination, method, params, timeout_ms, topic } = params;
    let call = SendParams { destination, method, params, topic }.into_call(timeout_ms);
    passed_back(face.overlay().call(session.caller(), call).await?)
}

pub(crate) async fn mycelium_send<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: SendParams,
) -> Result<String, Failure> {
    Ok(face.overlay().send(session.caller(), params.into_call(None)).await?)
}

pub(crate) async fn mycelium_status<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: StatusParams,
) -> Result<MyceliumStatusView, Failure> {
    Ok(view(face.overlay().status(session.caller(), params.id).await?)?)
}
