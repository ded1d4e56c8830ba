//! The figures of an overview: lengths of what is there anyway, read in a fixed number of round trips. Nothing is
//! counted while jobs run, and nothing is scanned, so that a million jobs are told as fast as ten.

use std::collections::HashMap;

use hero_domain::{
    CircleKey, FailureLine, JobCounts, JobId, LaneStats, Persistence, Runner, RunnerCounts, RunnerState,
    ScriptType, Stats, StoreStats, Timestamp, first_line,
};
use hero_redis::{Value, cmd, pipe};

use crate::{Lane, Result, Store, fitness, keys};

/// Failures that are told.
const FAILURES: usize = 10;
/// Entries of the index of failures that are looked at for those of a circle.
const FAILURES_LOOKED_AT: usize = 200;

/// How many jobs have come since the store was made, and how many of them have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// When.
    pub at: Timestamp,
    /// How many have been created; it only grows, unless all jobs are removed.
    pub created: u64,
    /// How many wait or run.
    pub open: u64,
}

impl Store {
    /// The figures of the whole store, or of one circle. `circles` are those whose queues are looked at beside
    /// those that a runner serves. The flow is left empty.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable).
    pub async fn stats(&self, circle: Option<&CircleKey>, circles: &[CircleKey]) -> Result<Stats> {
        let mut runners = self.all_runners().await?;
        if let Some(circle) = circle {
            runners.retain(|runner| runner.circles.contains(circle));
        }
        let at = self.now().await?;
        let lanes = self.lanes(circle, circles, &runners, at).await?;
        let queued = lanes.iter().map(|lane| lane.waiting).sum();
        let jobs = match circle {
            None => self.counts(&runners, queued).await?,
            Some(circle) => {
                let index = keys::context_index(circle.as_str());
                let kept = self.link().call(cmd("XLEN").arg(index)).await?;
                JobCounts { kept, queued, ..JobCounts::default() }
            }
        };
        let failures = self.failures(circle.map(CircleKey::as_str)).await?;
        let store = if circle.is_none() { Some(self.store_stats().await?) } else { None };
        Ok(Stats { at, jobs, lanes, runners: count(&runners), flow: Vec::new(), failures, store })
    }

    /// What rates are made of; none: this Redis does not tell (before 7.0), or no job was ever created.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable).
    pub async fn tally(&self) -> Result<Option<Tally>> {
        let mut look = cmd("XINFO");
        look.arg("STREAM").arg(keys::INDEX);
        let created = match self.link().call::<HashMap<String, Value>>(&look).await {
            Ok(told) => match told.get("entries-added") {
                Some(Value::Int(added)) => u64::try_from(*added).unwrap_or_default(),
                _ => return Ok(None),
            },
            Err(error) if error.is_away() => return Err(error.into()),
            // There is no such key yet.
            Err(_) => return Ok(None),
        };
        let at = self.now().await?;
        let queued = self.queue_depths().await?.iter().map(|depth| depth.waiting).sum();
        let jobs = self.counts(&self.all_runners().await?, queued).await?;
        let open = [jobs.delayed, jobs.waiting, jobs.started].into_iter().flatten().sum::<u64>() + queued;
        Ok(Some(Tally { at, created, open }))
    }

    async fn counts(&self, runners: &[Runner], queued: u64) -> Result<JobCounts> {
        let mut lengths = pipe();
        lengths.cmd("XLEN").arg(keys::INDEX);
        for index in [keys::DELAYED, keys::WAITING, keys::ERRORS] {
            lengths.cmd("ZCARD").arg(index);
        }
        for runner in runners {
            lengths.cmd("LLEN").arg(keys::inflight(&runner.id));
        }
        let lengths: Vec<u64> = self.link().call_all(&lengths).await?;
        let (fixed, held) = lengths.split_at(4);
        Ok(JobCounts {
            kept: fixed[0],
            queued,
            delayed: Some(fixed[1]),
            waiting: Some(fixed[2]),
            started: Some(held.iter().sum()),
            failed: Some(fixed[3]),
        })
    }

    async fn lanes(
        &self,
        circle: Option<&CircleKey>,
        circles: &[CircleKey],
        runners: &[Runner],
        now: Timestamp,
    ) -> Result<Vec<LaneStats>> {
        let mut reached: Vec<Option<CircleKey>> = match circle {
            Some(circle) => vec![Some(circle.clone())],
            None => {
                runners.iter().flat_map(|runner| &runner.circles).chain(circles).cloned().map(Some).collect()
            }
        };
        if circle.is_none() {
            reached.push(None);
        }
        reached.sort_unstable();
        reached.dedup();
        let mut lanes = Vec::with_capacity(reached.len() * ScriptType::ALL.len());
        let mut looks = pipe();
        let mut lists_of = Vec::new();
        for circle in reached {
            for script_type in ScriptType::ALL {
                let lane = Lane { script_type: *script_type, circle: circle.clone() };
                let lists = keys::lists(&lane, false);
                for list in &lists {
                    looks.cmd("LLEN").arg(list);
                    looks.cmd("LINDEX").arg(list).arg(0);
                }
                lists_of.push(lists.len());
                lanes.push(lane);
            }
        }
        let looks: Vec<Value> = self.link().call_all(&looks).await?;
        let mut looks = looks.chunks_exact(2);
        let mut told = Vec::new();
        let mut heads: Vec<(usize, String)> = Vec::new();
        for (lane, lists) in lanes.into_iter().zip(lists_of) {
            let mut waiting = 0;
            for look in looks.by_ref().take(lists) {
                waiting += number(&look[0]);
                if let Some(head) = text(&look[1]).filter(|id| id.parse::<JobId>().is_ok()) {
                    heads.push((told.len(), head));
                }
            }
            let Lane { script_type, circle } = lane;
            let serving = serving(runners, script_type, circle.as_ref());
            if circle.is_none() || waiting > 0 || serving > 0 {
                told.push(LaneStats { script_type, circle, waiting, oldest_ms: None, runners: serving });
            }
        }
        self.ages(&mut told, &heads, now).await?;
        Ok(told)
    }

    /// How long the first job of each list has waited.
    async fn ages(&self, lanes: &mut [LaneStats], heads: &[(usize, String)], now: Timestamp) -> Result<()> {
        if heads.is_empty() {
            return Ok(());
        }
        let mut calls = pipe();
        for (_, id) in heads {
            calls.cmd("HGET").arg([keys::JOB, id].concat()).arg("queued_at");
        }
        let since: Vec<Option<String>> = self.link().call_all(&calls).await?;
        for ((lane, _), since) in heads.iter().zip(since) {
            let Some(since) = since.and_then(|at| at.parse::<Timestamp>().ok()) else { continue };
            let age = u64::try_from(now.millis_since(since)).unwrap_or_default();
            let oldest = &mut lanes[*lane].oldest_ms;
            *oldest = Some(oldest.map_or(age, |other| other.max(age)));
        }
        Ok(())
    }

    /// The latest failures; of a context, those among the latest of all.
    async fn failures(&self, context: Option<&str>) -> Result<Vec<FailureLine>> {
        let looked_at = if context.is_some() { FAILURES_LOOKED_AT } else { FAILURES };
        let mut latest = cmd("ZREVRANGE");
        latest.arg(keys::ERRORS).arg(0).arg(looked_at - 1);
        let ids: Vec<String> = self.link().call(&latest).await?;
        let ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut calls = pipe();
        for id in &ids {
            let fields = ["script_type", "context_id", "error_kind", "error", "finished_at"];
            calls.cmd("HMGET").arg(keys::job(*id)).arg(&fields);
        }
        let found: Vec<[Option<String>; 5]> = self.link().call_all(&calls).await?;
        let lines = ids.into_iter().zip(found).filter_map(|(id, fields)| failure(id, fields));
        Ok(lines.filter(|line| context.is_none_or(|it| it == line.context_id)).take(FAILURES).collect())
    }

    async fn store_stats(&self) -> Result<StoreStats> {
        let info: String = self.link().call(&cmd("INFO")).await?;
        let save = fitness::snapshots(self.link()).await;
        Ok(judge(self.address(), &info, save.as_deref()))
    }
}

/// What Redis says about itself.
fn judge(address: &str, info: &str, save: Option<&str>) -> StoreStats {
    let facts: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let number = |name: &str| facts.get(name).and_then(|text| text.parse::<u64>().ok());
    let is_ok = |name: &str| facts.get(name).is_none_or(|text| *text == "ok");
    let persistence = match (facts.get("aof_enabled"), save) {
        (Some(&"1"), _) => Persistence::Log,
        (_, Some("")) => Persistence::Off,
        _ => Persistence::Snapshots,
    };
    let warnings = match fitness::judge(address, info, save) {
        Ok(fitness) => fitness.warnings,
        Err(error) => vec![error.to_string()],
    };
    StoreStats {
        version: facts.get("redis_version").copied().unwrap_or_default().to_owned(),
        used_bytes: number("used_memory").unwrap_or_default(),
        max_bytes: number("maxmemory").filter(|bytes| *bytes > 0),
        machine_bytes: number("total_system_memory").unwrap_or_default(),
        persistence,
        is_saved: match persistence {
            Persistence::Off => false,
            Persistence::Snapshots => is_ok("rdb_last_bgsave_status"),
            Persistence::Log => is_ok("aof_last_write_status") && is_ok("aof_last_bgrewrite_status"),
        },
        warnings,
    }
}

fn failure(
    job_id: JobId,
    [script_type, context_id, error_kind, error, finished_at]: [Option<String>; 5],
) -> Option<FailureLine> {
    Some(FailureLine {
        job_id,
        script_type: script_type?.parse().ok()?,
        context_id: context_id.unwrap_or_else(|| hero_domain::DEFAULT_CONTEXT.to_owned()),
        error_kind: error_kind.and_then(|kind| kind.parse().ok()),
        error: first_line(error.as_deref().unwrap_or_default()),
        finished_at: finished_at.and_then(|at| at.parse().ok()),
    })
}

fn serving(runners: &[Runner], script_type: ScriptType, circle: Option<&CircleKey>) -> u32 {
    let serves = |runner: &&Runner| {
        let is_in_reach = match circle {
            None => runner.circles.is_empty(),
            Some(circle) => runner.circles.contains(circle),
        };
        is_in_reach && runner.state == RunnerState::Alive && runner.script_types.contains(&script_type)
    };
    u32::try_from(runners.iter().filter(serves).count()).unwrap_or(u32::MAX)
}

fn count(runners: &[Runner]) -> RunnerCounts {
    let mut counts = RunnerCounts::default();
    for runner in runners {
        match runner.state {
            RunnerState::Alive => {
                counts.alive += 1;
                counts.slots += runner.slots;
                counts.busy += runner.busy;
            }
            RunnerState::Draining => {
                counts.draining += 1;
                counts.busy += runner.busy;
            }
            RunnerState::Lost => counts.lost += 1,
        }
    }
    counts
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::Persistence;

    use super::judge;

    #[test]
    fn what_redis_says_about_itself_is_understood() {
        let info = "redis_version:7.0.15\r\nrole:master\r\nused_memory:1000\r\nmaxmemory:4000\r\n\
                    maxmemory_policy:noeviction\r\ntotal_system_memory:9000\r\naof_enabled:1\r\n\
                    aof_last_write_status:ok\r\naof_last_bgrewrite_status:ok\r\nrdb_last_bgsave_status:err\r\n";
        let told = judge("here", info, Some(""));
        assert_eq!((told.used_bytes, told.max_bytes, told.machine_bytes), (1_000, Some(4_000), 9_000));
        assert_eq!((told.persistence, told.is_saved, told.warnings.len()), (Persistence::Log, true, 0));
        let without = info.replace("aof_enabled:1", "aof_enabled:0").replace("maxmemory:4000", "maxmemory:0");
        let told = judge("here", &without, Some("3600 1"));
        assert_eq!((told.max_bytes, told.persistence), (None, Persistence::Snapshots));
        assert!(!told.is_saved, "the last snapshot failed");
        let told = judge("here", &without, Some(""));
        assert_eq!((told.persistence, told.is_saved), (Persistence::Off, false));
        assert!(told.warnings[0].contains("loses every job"), "{told:?}");
    }
}
