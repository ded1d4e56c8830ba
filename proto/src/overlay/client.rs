//! The port of the overlay, asked over a channel.

use std::time::Duration;

use hero_domain::{ApiError, Caller, NodeAnswer, OverlayCall, OverlayStatus, Reason, Result, ports::Overlay};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    limits::{MAX_MESSAGE_BYTES, check_size},
    pb::overlay::v1::{self as pb, overlay_service_client::OverlayServiceClient},
};

/// The port of the overlay over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcOverlay {
    /// None: this node has no bridge.
    client: Option<OverlayServiceClient<Channel>>,
    calls: Calls,
}

impl GrpcOverlay {
    /// A client on the bridge's channel; without one every call says what to configure.
    #[must_use]
    pub fn with_calls(channel: Option<Channel>, calls: Calls) -> Self {
        let client = channel.map(|channel| {
            OverlayServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        });
        Self { client, calls }
    }

    fn client(&self) -> Result<OverlayServiceClient<Channel>> {
        self.client.clone().ok_or_else(|| {
            ApiError::new(
                Reason::UpstreamUnavailable,
                "this node is not in the Mycelium overlay; start a mycelium-bridge and name it in `mycelium_bridge`",
            )
        })
    }
}

impl Overlay for GrpcOverlay {
    async fn call(&self, caller: &Caller, call: OverlayCall) -> Result<NodeAnswer> {
        // The bridge has a bound of its own for a call that names none.
        let deadline = self.calls.deadlines.of_wait(call.timeout_ms.map(Duration::from_millis));
        let message = pb::CallRequest { call: Some(convert::to_call(call)) };
        check_size(&message, Reason::InvalidParams, "params")?;
        let request = self.calls.request(caller, deadline, message)?;
        convert::answer(answer(self.client()?.call(request).await)?.answer).map_err(malformed)
    }

    async fn send(&self, caller: &Caller, call: OverlayCall) -> Result<String> {
        let message = pb::SendRequest { call: Some(convert::to_call(call)) };
        check_size(&message, Reason::InvalidParams, "params")?;
        let request = self.calls.request(caller, self.calls.deadlines.call, message)?;
        Ok(answer(self.client()?.send(request).await)?.id)
    }

    async fn status(&self, caller: &Caller, message_id: Option<String>) -> Result<OverlayStatus> {
        let message = pb::StatusRequest { message_id };
        let request = self.calls.request(caller, self.calls.deadlines.call, message)?;
        convert::status(answer(self.client()?.status(request).await)?).map_err(malformed)
    }
}
