//! The port of the message bus, asked over a channel.

use std::time::Duration;

use hero_domain::{ApiError, BusReply, BusRequest, Caller, DeadMessage, Reason, Result, ports::Bus};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer},
    limits::{MAX_MESSAGE_BYTES, check_size},
    pb::bus::v1::{self as pb, bus_service_client::BusServiceClient},
};

/// The port of the message bus over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcBus {
    /// None: this node has no relay.
    client: Option<BusServiceClient<Channel>>,
    calls: Calls,
}

impl GrpcBus {
    /// A client on the relay's channel; without one every call says what to configure.
    #[must_use]
    pub fn with_calls(channel: Option<Channel>, calls: Calls) -> Self {
        let client = channel.map(|channel| {
            BusServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        });
        Self { client, calls }
    }

    fn client(&self) -> Result<BusServiceClient<Channel>> {
        self.client.clone().ok_or_else(|| {
            ApiError::new(
                Reason::UpstreamUnavailable,
                "this node has no message bus; start a msgbus-relay and name it in `msgbus_relay`",
            )
        })
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }
}

impl Bus for GrpcBus {
    async fn call(
        &self,
        caller: &Caller,
        request: BusRequest,
        wait: Option<Duration>,
    ) -> Result<Vec<BusReply>> {
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let message = pb::CallRequest { request: Some(convert::to_request(request)), wait_ms };
        check_size(&message, Reason::InvalidParams, "data")?;
        let request = self.calls.request(caller, self.calls.deadlines.of_wait(wait), message)?;
        Ok(convert::replies(answer(self.client()?.call(request).await)?.replies))
    }

    async fn send(&self, caller: &Caller, request: BusRequest) -> Result<String> {
        let message = pb::SendRequest { request: Some(convert::to_request(request)) };
        check_size(&message, Reason::InvalidParams, "data")?;
        let request = self.request(caller, message)?;
        Ok(answer(self.client()?.send(request).await)?.id)
    }

    async fn result(&self, caller: &Caller, id: String) -> Result<Vec<BusReply>> {
        let request = self.request(caller, pb::ResultRequest { id })?;
        Ok(convert::replies(answer(self.client()?.result(request).await)?.replies))
    }

    async fn list_dead(&self, caller: &Caller, limit: u32) -> Result<Vec<DeadMessage>> {
        let request = self.request(caller, pb::ListDeadRequest { limit })?;
        Ok(convert::dead(answer(self.client()?.list_dead(request).await)?.messages))
    }

    async fn requeue_dead(&self, caller: &Caller, ids: Vec<String>) -> Result<u64> {
        let request = self.request(caller, pb::RequeueDeadRequest { ids })?;
        Ok(answer(self.client()?.requeue_dead(request).await)?.count)
    }
}
