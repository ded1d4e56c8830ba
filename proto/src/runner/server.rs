//! Serves any implementation of the port of runners.

use hero_domain::ports::Runners;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    convert::runner_id,
    pb::runner::v1::{
        self as pb,
        runner_service_server::{RunnerService, RunnerServiceServer},
    },
};

/// The gRPC face of a port of runners.
#[derive(Debug)]
pub struct RunnerFace<R>(R);

/// A tonic service over a port of runners.
pub fn runner_server<R: Runners>(runners: R) -> RunnerServiceServer<RunnerFace<R>> {
    RunnerServiceServer::new(RunnerFace(runners))
}

#[async_trait]
impl<R: Runners> RunnerService for RunnerFace<R> {
    async fn list_runners(
        &self,
        request: Request<pb::ListRunnersRequest>,
    ) -> Result<Response<pb::ListRunnersResponse>, Status> {
        serve(request, |caller, pb::ListRunnersRequest {}| async move {
            let runners = self.0.list(&caller).await?.into_iter().map(convert::to_runner).collect();
            Ok(pb::ListRunnersResponse { runners })
        })
        .await
    }

    async fn get_runner(
        &self,
        request: Request<pb::GetRunnerRequest>,
    ) -> Result<Response<pb::GetRunnerResponse>, Status> {
        serve(request, |caller, message| async move {
            let runner = self.0.get(&caller, runner_id(&message.runner_id, "runner_id")?).await?;
            Ok(pb::GetRunnerResponse { runner: Some(convert::to_runner(runner)) })
        })
        .await
    }

    async fn drain_runner(
        &self,
        request: Request<pb::DrainRunnerRequest>,
    ) -> Result<Response<pb::DrainRunnerResponse>, Status> {
        serve(request, |caller, message| async move {
            let id = runner_id(&message.runner_id, "runner_id")?;
            self.0.drain(&caller, id, message.draining).await?;
            Ok(pb::DrainRunnerResponse {})
        })
        .await
    }

    async fn remove_runner(
        &self,
        request: Request<pb::RemoveRunnerRequest>,
    ) -> Result<Response<pb::RemoveRunnerResponse>, Status> {
        serve(request, |caller, message| async move {
            self.0.remove(&caller, runner_id(&message.runner_id, "runner_id")?).await?;
            Ok(pb::RemoveRunnerResponse {})
        })
        .await
    }
}
