//! The port of runners, asked over a channel.

use hero_domain::{Caller, Result, Runner, RunnerId, ports::Runners};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    convert::required,
    pb::runner::v1::{self as pb, runner_service_client::RunnerServiceClient},
};

/// The port of runners over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcRunners {
    client: RunnerServiceClient<Channel>,
    calls: Calls,
}

impl GrpcRunners {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        Self { client: RunnerServiceClient::new(channel), calls }
    }
}

impl Runners for GrpcRunners {
    async fn list(&self, caller: &Caller) -> Result<Vec<Runner>> {
        let request = self.calls.request(caller, self.calls.deadlines.call, pb::ListRunnersRequest {})?;
        let response = answer(self.client.clone().list_runners(request).await)?;
        response.runners.into_iter().map(convert::runner).collect::<Result<_>>().map_err(malformed)
    }

    async fn get(&self, caller: &Caller, id: RunnerId) -> Result<Runner> {
        let message = pb::GetRunnerRequest { runner_id: id.to_string() };
        let request = self.calls.request(caller, self.calls.deadlines.call, message)?;
        let response = answer(self.client.clone().get_runner(request).await)?;
        required(response.runner, "runner").and_then(convert::runner).map_err(malformed)
    }

    async fn drain(&self, caller: &Caller, id: RunnerId, draining: bool) -> Result<()> {
        let message = pb::DrainRunnerRequest { runner_id: id.to_string(), draining };
        let request = self.calls.request(caller, self.calls.deadlines.call, message)?;
        answer(self.client.clone().drain_runner(request).await).map(|_| ())
    }

    async fn remove(&self, caller: &Caller, id: RunnerId) -> Result<()> {
        let message = pb::RemoveRunnerRequest { runner_id: id.to_string() };
        let request = self.calls.request(caller, self.calls.deadlines.call, message)?;
        answer(self.client.clone().remove_runner(request).await).map(|_| ())
    }
}
