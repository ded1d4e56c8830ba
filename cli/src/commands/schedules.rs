//! Jobs that are started by the clock.

use serde_json::{Value, json};

use super::script;
use crate::{
    args::{NewSchedule, Schedule},
    failure::Result,
    node::Node,
    show::{Show, age, json, note, say, text},
};

pub(crate) async fn schedule(node: &Node, show: Show, schedule: &Schedule) -> Result {
    match schedule {
        Schedule::New(new) => create(node, show, new).await,
        Schedule::Ls => list(node, show).await,
        Schedule::Show(it) => {
            let schedule = node.call("get_schedule", json!([it.schedule_id])).await?;
            one(show, &schedule);
            Ok(())
        }
        Schedule::Run(it) => {
            let job = node.call("run_schedule", json!([it.schedule_id])).await?;
            if show.json {
                json(&json!({"job_id": job}))
            } else {
                say(job.as_str().unwrap_or_default())
            }
            Ok(())
        }
        Schedule::Pause(it) => pause(node, show, &it.schedule_id, true).await,
        Schedule::Resume(it) => pause(node, show, &it.schedule_id, false).await,
        Schedule::Rm(it) => {
            node.call("delete_schedule", json!([it.schedule_id])).await?;
            note("removed; the jobs that it started stay");
            Ok(())
        }
    }
}

async fn create(node: &Node, show: Show, new: &NewSchedule) -> Result {
    let mut params = json!({"cron": new.cron, "time_zone": new.time_zone, "job": script::job(&new.script)?});
    for (name, value) in [("overlap", &new.overlap), ("catch_up", &new.catch_up)] {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    let schedule = node.call("create_schedule", json!([params])).await?;
    one(show, &schedule);
    Ok(())
}

async fn pause(node: &Node, show: Show, id: &str, paused: bool) -> Result {
    let schedule = node.call("pause_schedule", json!([id, paused])).await?;
    one(show, &schedule);
    Ok(())
}

async fn list(node: &Node, show: Show) -> Result {
    let schedules = node.call("list_schedules", json!([])).await?;
    if show.json {
        json(&schedules);
        return Ok(());
    }
    let row = |schedule: &Value| {
        let of = |name| text(schedule, name).unwrap_or_default().to_owned();
        let paused = schedule["paused"] == true;
        vec![
            of("id"),
            of("cron"),
            of("time_zone"),
            if paused { "paused".to_owned() } else { age(text(schedule, "next_due")) },
            age(text(schedule, "last_due")),
            schedule["started"].to_string(),
            schedule["skipped"].to_string(),
        ]
    };
    let rows = schedules.as_array().into_iter().flatten().map(row).collect();
    let header = ["SCHEDULE", "CRON", "TIME ZONE", "NEXT", "LAST", "STARTED", "SKIPPED"];
    show.table(&header, rows, "no schedules; `hero schedule new --cron '0 9 * * *' FILE` makes one");
    Ok(())
}

fn one(show: Show, schedule: &Value) {
    if show.json {
        return json(schedule);
    }
    let of = |name| text(schedule, name).map(str::to_owned);
    let times: Vec<&str> =
        schedule["next_times"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    show.facts(&[
        ("schedule", of("id")),
        ("cron", of("cron")),
        ("time zone", of("time_zone")),
        ("overlap", of("overlap")),
        ("catch up", of("catch_up")),
        ("state", Some(if schedule["paused"] == true { "paused" } else { "on" }.to_owned())),
        ("next", (!times.is_empty()).then(|| times.join("\n"))),
        ("last", of("last_due")),
        ("last job", of("last_job_id")),
        ("started", Some(schedule["started"].to_string())),
        ("skipped", Some(schedule["skipped"].to_string())),
        ("script", text(&schedule["job"], "script").map(str::to_owned)),
    ]);
}
