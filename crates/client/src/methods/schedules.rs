//! Schedules.

use serde_json::{Value, json};

use crate::{Client, JobId, NewSchedule, Result, Schedule, ScheduleId};

impl Client {
    /// Stores a schedule.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn create_schedule(&self, schedule: &NewSchedule) -> Result<Schedule> {
        self.tell("create_schedule", json!({ "schedule": schedule })).await
    }

    /// The schedules that this client may see, the oldest first.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn list_schedules(&self) -> Result<Vec<Schedule>> {
        self.ask("list_schedules", Value::Null).await
    }

    /// One of them.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn get_schedule(&self, id: ScheduleId) -> Result<Schedule> {
        self.ask("get_schedule", json!({ "schedule_id": id })).await
    }

    /// Pauses a schedule (true), or lets it go on from now (false).
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn pause_schedule(&self, id: ScheduleId, paused: bool) -> Result<Schedule> {
        self.ask("pause_schedule", json!({ "schedule_id": id, "paused": paused })).await
    }

    /// Starts the schedule's job now.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn run_schedule(&self, id: ScheduleId) -> Result<JobId> {
        self.tell("run_schedule", json!({ "schedule_id": id })).await
    }

    /// Removes a schedule; the jobs that it started stay.
    ///
    /// # Errors
    /// See [`Error`](crate::Error).
    pub async fn delete_schedule(&self, id: ScheduleId) -> Result<()> {
        self.tell("delete_schedule", json!({ "schedule_id": id })).await
    }
}
