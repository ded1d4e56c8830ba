//! Schedules in Redis: a hash each, and one set by the time that each is to be looked at.

use std::collections::{BTreeMap, HashMap};

use hero_domain::{
    CatchUp, CircleKey, JobId, NewJob, Overlap, Priority, Schedule, ScheduleId, ScriptType, Timestamp,
};
use hero_redis::{Value, cmd, pipe};
use serde::{Deserialize, Serialize};

use crate::{
    Confine, Created, DueSchedules, Error, Fired, Firing, Result, ScheduleLimits, ScheduleStore, Store,
    answer::{corrupt, lossy},
    keys,
};

/// Schedules that one look finds.
const A_LOOK: usize = 100;
/// A budget of bytes that nothing exceeds, so that bytes are counted.
const NO_BUDGET: &str = "9007199254740991";

/// The job of a schedule, as it is kept. What makes sense for one job only is not in it.
#[derive(Serialize, Deserialize)]
struct Template {
    script: String,
    script_type: ScriptType,
    caller_id: String,
    context_id: String,
    circle: Option<CircleKey>,
    timeout_s: u32,
    retries: u32,
    retry_backoff_ms: u64,
    max_deliveries: u32,
    priority: Priority,
    env_vars: BTreeMap<String, String>,
    retention_s: u32,
}

impl From<&NewJob> for Template {
    fn from(job: &NewJob) -> Self {
        Self {
            script: job.script.clone(),
            script_type: job.script_type,
            caller_id: job.caller_id.clone(),
            context_id: job.context_id.clone(),
            circle: job.circle.clone(),
            timeout_s: job.timeout_s,
            retries: job.retries,
            retry_backoff_ms: job.retry_backoff_ms,
            max_deliveries: job.max_deliveries,
            priority: job.priority,
            env_vars: job.env_vars.clone(),
            retention_s: job.retention_s,
        }
    }
}

impl From<Template> for NewJob {
    fn from(template: Template) -> Self {
        Self {
            caller_id: template.caller_id,
            context_id: template.context_id,
            circle: template.circle,
            timeout_s: template.timeout_s,
            retries: template.retries,
            retry_backoff_ms: template.retry_backoff_ms,
            max_deliveries: template.max_deliveries,
            priority: template.priority,
            env_vars: template.env_vars,
            retention_s: template.retention_s,
            ..Self::new(template.script_type, template.script)
        }
    }
}

impl Store {
    async fn read_schedules(&self, ids: &[ScheduleId]) -> Result<Vec<Schedule>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut reads = pipe();
        for id in ids {
            reads.cmd("HGETALL").arg(keys::schedule(*id));
        }
        let found: Vec<HashMap<String, String>> = self.link().call_all(&reads).await?;
        let found = ids.iter().zip(found).filter(|(_, fields)| !fields.is_empty());
        found.map(|(id, fields)| schedule(*id, &fields)).collect()
    }
}

fn schedule(id: ScheduleId, fields: &HashMap<String, String>) -> Result<Schedule> {
    let key = keys::schedule(id);
    let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let time = |name: &str| text(name).parse().ok().map(Timestamp::from_millis);
    let damaged = |error: serde_json::Error| corrupt(&key, &format!("its job: {error}"));
    let template: Template = serde_json::from_str(text("job")).map_err(damaged)?;
    let is_paused = text("paused") == "1";
    Ok(Schedule {
        id,
        cron: text("cron").to_owned(),
        time_zone: text("time_zone").to_owned(),
        overlap: text("overlap").parse().unwrap_or(Overlap::Skip),
        catch_up: text("catch_up").parse().unwrap_or(CatchUp::Skip),
        job: template.into(),
        is_paused,
        created_at: time("created_at").unwrap_or_default(),
        next_due: time("due"),
        next_times: Vec::new(),
        last_due: time("last_due"),
        last_job: text("last_job").parse().ok(),
        started: text("started").parse().unwrap_or_default(),
        skipped: text("skipped").parse().unwrap_or_default(),
    })
}

fn millis(at: Option<Timestamp>) -> String {
    at.map(|at| at.as_millis().to_string()).unwrap_or_default()
}

impl ScheduleStore for Store {
    async fn create_schedule(&self, schedule: &Schedule, limits: ScheduleLimits) -> Result<()> {
        let script = &self.scripts().schedule_create;
        let job = serde_json::to_string(&Template::from(&schedule.job))
            .map_err(|error| corrupt(&keys::schedule(schedule.id), &error.to_string()))?;
        let mut call = script.command(&[], 15, job.len() + 512);
        call.arg(schedule.id.to_string()).arg(&schedule.job.context_id).arg(millis(schedule.next_due));
        call.arg(limits.per_context).arg(limits.in_all);
        call.arg("cron").arg(&schedule.cron).arg("time_zone").arg(&schedule.time_zone);
        call.arg("overlap").arg(schedule.overlap.as_key());
        call.arg("catch_up").arg(schedule.catch_up.as_key()).arg("job").arg(job);
        self.run("schedule_create", script, &call).await?;
        Ok(())
    }

    async fn schedule(&self, id: ScheduleId, confine: Confine<'_>) -> Result<Schedule> {
        let found = self.read_schedules(&[id]).await?.pop();
        found
            .filter(|it| confine.is_none_or(|only| only == it.job.context_id))
            .ok_or(Error::ScheduleNotFound(id))
    }

    async fn schedules(&self, confine: Confine<'_>) -> Result<Vec<Schedule>> {
        let names: Vec<String> = match confine {
            Some(context) => self.link().call(cmd("SMEMBERS").arg(keys::context_schedules(context))).await?,
            None => self.link().call(cmd("ZRANGE").arg(keys::SCHEDULES).arg(0).arg(-1)).await?,
        };
        let mut ids: Vec<ScheduleId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        let mut all = Vec::with_capacity(ids.len());
        for some in ids.chunks(A_LOOK) {
            all.extend(self.read_schedules(some).await?);
        }
        Ok(all)
    }

    async fn pause_schedule(
        &self,
        id: ScheduleId,
        confine: Confine<'_>,
        next: Option<Option<Timestamp>>,
    ) -> Result<()> {
        let script = &self.scripts().schedule_pause;
        let mut call = script.command(&[], 4, 128);
        call.arg(id.to_string()).arg(confine.unwrap_or_default());
        call.arg(if next.is_none() { "1" } else { "" }).arg(millis(next.flatten()));
        self.run("schedule_pause", script, &call).await?;
        Ok(())
    }

    async fn delete_schedule(&self, id: ScheduleId, confine: Confine<'_>) -> Result<()> {
        let script = &self.scripts().schedule_delete;
        let mut call = script.command(&[], 2, 128);
        call.arg(id.to_string()).arg(confine.unwrap_or_default());
        self.run("schedule_delete", script, &call).await?;
        Ok(())
    }

    async fn due_schedules(&self) -> Result<DueSchedules> {
        let now = self.now().await?;
        let mut first = cmd("ZRANGE");
        first.arg(keys::SCHEDULES).arg(0).arg(A_LOOK).arg("WITHSCORES");
        let first: Vec<(String, f64)> = self.link().call(&first).await?;
        let is_due = |(_, score): &&(String, f64)| *score <= now.as_millis() as f64;
        let due: Vec<ScheduleId> =
            first.iter().take(A_LOOK).take_while(is_due).filter_map(|(name, _)| name.parse().ok()).collect();
        let next_look = first.iter().take_while(is_due).take(A_LOOK).count();
        // Milliseconds of any year that this runs in fit an f64 exactly; a paused one has none.
        let next_look = first.get(next_look).map(|(_, score)| *score).filter(|score| score.is_finite());
        let next_look = next_look.map(|score| Timestamp::from_millis(score as i64));
        Ok(DueSchedules { now, schedules: self.read_schedules(&due).await?, next_look })
    }

    async fn fire(&self, schedule: &Schedule, firing: &Firing) -> Result<Fired> {
        let script = &self.scripts().schedule_fire;
        let id = firing.due.map_or_else(JobId::mint, |due| schedule.id.job_due_at(due));
        let mut call = script.command(&[], 48, schedule.job.script.len() + 512);
        // A time is not refused: what is too much is let go of by the sweep.
        let budget = self.context_budget().map(|_| NO_BUDGET).unwrap_or_default();
        call.arg("1").arg("").arg(1).arg(budget);
        let created = [Created { id, is_new: true }];
        self.write_group(&mut call, std::slice::from_ref(&schedule.job), &mut created.iter());
        call.arg(schedule.id.to_string()).arg(millis(Some(firing.expected)));
        call.arg(millis(firing.due)).arg(millis(firing.next)).arg(id.to_string());
        let answer = match self.run("schedule_fire", script, &call).await? {
            Value::BulkString(text) => lossy(text),
            Value::SimpleString(text) => text,
            _ => return Ok(Fired::Started(id)),
        };
        Ok(match answer.as_str() {
            "left out" => Fired::LeftOut,
            "waits" => Fired::Waits,
            _ => Fired::Overtaken,
        })
    }
}
