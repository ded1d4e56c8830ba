//! The port of schedules, asked over a channel.

use hero_domain::{Caller, JobId, NewSchedule, Reason, Result, Schedule, ScheduleId, ports::Schedules};
use tonic::transport::Channel;

use super::convert;
use crate::{
    call::{Calls, answer, malformed},
    convert::job_id,
    limits::{MAX_MESSAGE_BYTES, check_size},
    pb::schedule::v1::{self as pb, schedule_service_client::ScheduleServiceClient},
};

/// The port of schedules over gRPC. Cheap to clone; all clones share the channel.
#[derive(Debug, Clone)]
pub struct GrpcSchedules {
    client: ScheduleServiceClient<Channel>,
    calls: Calls,
}

impl GrpcSchedules {
    /// A client on a channel, with default deadlines.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self::with_calls(channel, Calls::default())
    }

    /// A client with deadlines and a trace of its own.
    #[must_use]
    pub fn with_calls(channel: Channel, calls: Calls) -> Self {
        let client = ScheduleServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, calls }
    }

    fn request<T>(&self, caller: &Caller, message: T) -> Result<tonic::Request<T>> {
        self.calls.request(caller, self.calls.deadlines.call, message)
    }
}

impl Schedules for GrpcSchedules {
    async fn create(&self, caller: &Caller, schedule: NewSchedule) -> Result<Schedule> {
        let message = pb::CreateScheduleRequest { schedule: Some(convert::to_new_schedule(schedule)) };
        check_size(&message, Reason::ScriptTooLarge, "job.script")?;
        let request = self.request(caller, message)?;
        let response = answer(self.client.clone().create_schedule(request).await)?;
        convert::schedule(response.schedule).map_err(malformed)
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Schedule>> {
        let request = self.request(caller, pb::ListSchedulesRequest {})?;
        let response = answer(self.client.clone().list_schedules(request).await)?;
        let schedules = response.schedules.into_iter().map(|it| convert::schedule(Some(it)));
        schedules.collect::<Result<_>>().map_err(malformed)
    }

    async fn get(&self, caller: &Caller, id: ScheduleId) -> Result<Schedule> {
        let request = self.request(caller, pb::GetScheduleRequest { schedule_id: id.to_string() })?;
        let response = answer(self.client.clone().get_schedule(request).await)?;
        convert::schedule(response.schedule).map_err(malformed)
    }

    async fn pause(&self, caller: &Caller, id: ScheduleId, paused: bool) -> Result<Schedule> {
        let message = pb::PauseScheduleRequest { schedule_id: id.to_string(), paused };
        let request = self.request(caller, message)?;
        let response = answer(self.client.clone().pause_schedule(request).await)?;
        convert::schedule(response.schedule).map_err(malformed)
    }

    async fn run(&self, caller: &Caller, id: ScheduleId) -> Result<JobId> {
        let request = self.request(caller, pb::RunScheduleRequest { schedule_id: id.to_string() })?;
        let response = answer(self.client.clone().run_schedule(request).await)?;
        job_id(&response.job_id, "job_id").map_err(malformed)
    }

    async fn delete(&self, caller: &Caller, id: ScheduleId) -> Result<()> {
        let request = self.request(caller, pb::DeleteScheduleRequest { schedule_id: id.to_string() })?;
        answer(self.client.clone().delete_schedule(request).await).map(|_| ())
    }
}
