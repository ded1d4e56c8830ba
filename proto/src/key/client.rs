//! The port of keys, asked over a channel.

use hero_domain::{Caller, Result, ports::Keys};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    pb::key::v1::{IdentifyRequest, key_service_client::KeyServiceClient},
};

/// The port of keys over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcKeys {
    client: KeyServiceClient<Channel>,
    calls: Calls,
}

impl GrpcKeys {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        Self { client: KeyServiceClient::new(channel), calls }
    }
}

impl Keys for GrpcKeys {
    async fn identify(&self, secret: Option<&str>) -> Result<Caller> {
        let message = IdentifyRequest { secret: secret.map(str::to_owned) };
        let request = self.calls.anonymous(self.calls.deadlines.call, message);
        let response = answer(self.client.clone().identify(request).await)?;
        convert::caller(response.caller).map_err(malformed)
    }
}
