//! The methods of schedules.

use std::sync::Arc;

use hero_domain::{
    ApiError, JobId, Reason,
    ports::{Ports, Schedules},
};

use crate::{
    Session,
    error::Failure,
    handler::Face,
    params::{NoParams, OneScheduleParams, PauseParams, ScheduleIdParams},
    view::ScheduleView,
};

pub(crate) async fn create_schedule<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: OneScheduleParams,
) -> Result<ScheduleView, Failure> {
    if params.schedule.job.node.is_some() {
        let words = "a schedule starts its jobs on its own node; create it on the node that they are for";
        return Err(ApiError::new(Reason::InvalidParams, words).with_field("schedule.job.node").into());
    }
    let schedule = params.schedule.into_schedule(&session);
    let created = face.schedules().create(session.caller(), schedule).await.map_err(of_schedule_param)?;
    Ok(created.into())
}

/// The port names the field of the schedule; the caller gave that as its param `schedule`.
fn of_schedule_param(error: ApiError) -> ApiError {
    let Some(field) = error.field() else { return error };
    let path = format!("schedule.{field}");
    error.with_field(path)
}

pub(crate) async fn list_schedules<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    _: NoParams,
) -> Result<Vec<ScheduleView>, Failure> {
    let schedules = face.schedules().list(session.caller()).await?;
    Ok(schedules.into_iter().map(ScheduleView::from).collect())
}

pub(crate) async fn get_schedule<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ScheduleIdParams,
) -> Result<ScheduleView, Failure> {
    Ok(face.schedules().get(session.caller(), params.schedule_id).await?.into())
}

pub(crate) async fn pause_schedule<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: PauseParams,
) -> Result<ScheduleView, Failure> {
    let paused = params.paused.unwrap_or(true);
    Ok(face.schedules().pause(session.caller(), params.schedule_id, paused).await?.into())
}

pub(crate) async fn run_schedule<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ScheduleIdParams,
) -> Result<JobId, Failure> {
    Ok(face.schedules().run(session.caller(), params.schedule_id).await?)
}

pub(crate) async fn delete_schedule<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    params: ScheduleIdParams,
) -> Result<(), Failure> {
    Ok(face.schedules().delete(session.caller(), params.schedule_id).await?)
}
