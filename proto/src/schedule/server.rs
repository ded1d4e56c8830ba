//! Serves any implementation of the port of schedules.

use hero_domain::ports::Schedules;
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{
    call::serve,
    convert::schedule_id,
    limits::MAX_MESSAGE_BYTES,
    pb::schedule::v1::{
        self as pb,
        schedule_service_server::{ScheduleService, ScheduleServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a port of schedules.
#[derive(Debug)]
pub struct ScheduleFace<S>(S);

/// A tonic service over a port of schedules.
pub fn schedule_server<S: Schedules>(schedules: S) -> ScheduleServiceServer<ScheduleFace<S>> {
    ScheduleServiceServer::new(ScheduleFace(schedules))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[async_trait]
impl<S: Schedules> ScheduleService for ScheduleFace<S> {
    async fn create_schedule(
        &self,
        request: Request<pb::CreateScheduleRequest>,
    ) -> Answer<pb::CreateScheduleResponse> {
        serve(request, |caller, message| async move {
            let schedule = self.0.create(&caller, convert::new_schedule(message.schedule)?).await?;
            Ok(pb::CreateScheduleResponse { schedule: Some(convert::to_schedule(schedule)) })
        })
        .await
    }

    async fn list_schedules(
        &self,
        request: Request<pb::ListSchedulesRequest>,
    ) -> Answer<pb::ListSchedulesResponse> {
        serve(request, |caller, pb::ListSchedulesRequest {}| async move {
            let schedules = self.0.list(&caller).await?.into_iter().map(convert::to_schedule).collect();
            Ok(pb::ListSchedulesResponse { schedules })
        })
        .await
    }

    async fn get_schedule(
        &self,
        request: Request<pb::GetScheduleRequest>,
    ) -> Answer<pb::GetScheduleResponse> {
        serve(request, |caller, message| async move {
            let id = schedule_id(&message.schedule_id, "schedule_id")?;
            let schedule = self.0.get(&caller, id).await?;
            Ok(pb::GetScheduleResponse { schedule: Some(convert::to_schedule(schedule)) })
        })
        .await
    }

    async fn pause_schedule(
        &self,
        request: Request<pb::PauseScheduleRequest>,
    ) -> Answer<pb::PauseScheduleResponse> {
        serve(request, |caller, message| async move {
            let id = schedule_id(&message.schedule_id, "schedule_id")?;
            let schedule = self.0.pause(&caller, id, message.paused).await?;
            Ok(pb::PauseScheduleResponse { schedule: Some(convert::to_schedule(schedule)) })
        })
        .await
    }

    async fn run_schedule(
        &self,
        request: Request<pb::RunScheduleRequest>,
    ) -> Answer<pb::RunScheduleResponse> {
        serve(request, |caller, message| async move {
            let id = schedule_id(&message.schedule_id, "schedule_id")?;
            let job_id = self.0.run(&caller, id).await?.to_string();
            Ok(pb::RunScheduleResponse { job_id })
        })
        .await
    }

    async fn delete_schedule(
        &self,
        request: Request<pb::DeleteScheduleRequest>,
    ) -> Answer<pb::DeleteScheduleResponse> {
        serve(request, |caller, message| async move {
            self.0.delete(&caller, schedule_id(&message.schedule_id, "schedule_id")?).await?;
            Ok(pb::DeleteScheduleResponse {})
        })
        .await
    }
}
