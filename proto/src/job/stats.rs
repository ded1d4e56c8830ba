//! The figures of an overview, in both directions.

use hero_domain::{
    FailureLine, FlowSample, JobCounts, LaneStats, Persistence, Result, RunnerCounts, Stats, StoreStats,
};

use super::convert::{error_kind, script_type, to_error_kind, to_script_type};
use crate::{
    convert::{circle_key, from_timestamp, job_id, named_on_both_sides, required, timestamp},
    pb::job::v1 as pb,
};

named_on_both_sides!(to_persistence, persistence: Persistence = pb::Persistence, InvalidParams {
    Off = "PERSISTENCE_OFF",
    Snapshots = "PERSISTENCE_SNAPSHOTS",
    Log = "PERSISTENCE_LOG",
});

pub(crate) fn to_stats(stats: Stats) -> pb::GetStatsResponse {
    let JobCounts { kept, queued, delayed, waiting, started, failed } = stats.jobs;
    let RunnerCounts { alive, draining, lost, slots, busy } = stats.runners;
    pb::GetStatsResponse {
        at: Some(from_timestamp(stats.at)),
        jobs: Some(pb::JobCounts { kept, queued, delayed, waiting, started, failed }),
        lanes: stats.lanes.into_iter().map(to_lane).collect(),
        runners: Some(pb::RunnerCounts { alive, draining, lost, slots, busy }),
        flow: stats.flow.into_iter().map(to_flow).collect(),
        failures: stats.failures.into_iter().map(to_failure).collect(),
        store: stats.store.map(to_store),
    }
}

pub(crate) fn stats(stats: pb::GetStatsResponse) -> Result<Stats> {
    let pb::JobCounts { kept, queued, delayed, waiting, started, failed } = required(stats.jobs, "jobs")?;
    let pb::RunnerCounts { alive, draining, lost, slots, busy } = required(stats.runners, "runners")?;
    Ok(Stats {
        at: timestamp(required(stats.at, "at")?, "at")?,
        jobs: JobCounts { kept, queued, delayed, waiting, started, failed },
        lanes: stats.lanes.into_iter().map(lane).collect::<Result<_>>()?,
        runners: RunnerCounts { alive, draining, lost, slots, busy },
        flow: stats.flow.into_iter().map(flow).collect::<Result<_>>()?,
        failures: stats.failures.into_iter().map(failure).collect::<Result<_>>()?,
        store: stats.store.map(store).transpose()?,
    })
}

fn to_lane(lane: LaneStats) -> pb::LaneStats {
    let LaneStats { script_type, circle, waiting, oldest_ms, runners } = lane;
    let script_type = to_script_type(script_type).into();
    pb::LaneStats { script_type, circle: circle.map(|key| key.to_string()), waiting, oldest_ms, runners }
}

fn lane(lane: pb::LaneStats) -> Result<LaneStats> {
    let pb::LaneStats { script_type: kind, circle, waiting, oldest_ms, runners } = lane;
    let circle = circle.map(|key| circle_key(&key, "lanes.circle")).transpose()?;
    Ok(LaneStats {
        script_type: script_type(kind, "lanes.script_type")?,
        circle,
        waiting,
        oldest_ms,
        runners,
    })
}

fn to_flow(sample: FlowSample) -> pb::FlowSample {
    let FlowSample { at, created, ended } = sample;
    pb::FlowSample { at: Some(from_timestamp(at)), created, ended }
}

fn flow(sample: pb::FlowSample) -> Result<FlowSample> {
    let pb::FlowSample { at, created, ended } = sample;
    Ok(FlowSample { at: timestamp(required(at, "flow.at")?, "flow.at")?, created, ended })
}

fn to_failure(line: FailureLine) -> pb::FailureLine {
    pb::FailureLine {
        job_id: line.job_id.to_string(),
        script_type: to_script_type(line.script_type).into(),
        context_id: line.context_id,
        error_kind: line.error_kind.map(|kind| to_error_kind(kind).into()),
        error: line.error,
        finished_at: line.finished_at.map(from_timestamp),
    }
}

fn failure(line: pb::FailureLine) -> Result<FailureLine> {
    Ok(FailureLine {
        job_id: job_id(&line.job_id, "failures.job_id")?,
        script_type: script_type(line.script_type, "failures.script_type")?,
        context_id: line.context_id,
        error_kind: line.error_kind.map(|kind| error_kind(kind, "failures.error_kind")).transpose()?,
        error: line.error,
        finished_at: line.finished_at.map(|at| timestamp(at, "failures.finished_at")).transpose()?,
    })
}

fn to_store(store: StoreStats) -> pb::StoreStats {
    pb::StoreStats {
        version: store.version,
        used_bytes: store.used_bytes,
        max_bytes: store.max_bytes,
        machine_bytes: store.machine_bytes,
        persistence: to_persistence(store.persistence).into(),
        is_saved: store.is_saved,
        warnings: store.warnings,
    }
}

fn store(store: pb::StoreStats) -> Result<StoreStats> {
    Ok(StoreStats {
        version: store.version,
        used_bytes: store.used_bytes,
        max_bytes: store.max_bytes,
        machine_bytes: store.machine_bytes,
        persistence: persistence(store.persistence, "store.persistence")?,
        is_saved: store.is_saved,
        warnings: store.warnings,
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{
        ErrorKind, FailureLine, FlowSample, JobCounts, JobId, LaneStats, Persistence, RunnerCounts,
        ScriptType, Stats, StoreStats, Timestamp,
    };

    use super::{stats, to_stats};
    use crate::pb::job::v1 as pb;

    fn example() -> Stats {
        let circle = Some(format!("02{}", "ab".repeat(32)).parse().unwrap());
        Stats {
            at: Timestamp::from_millis(9),
            jobs: JobCounts {
                kept: 6,
                queued: 1,
                delayed: Some(2),
                waiting: Some(3),
                started: Some(4),
                failed: Some(5),
            },
            lanes: vec![LaneStats {
                script_type: ScriptType::V,
                circle,
                waiting: 7,
                oldest_ms: Some(8),
                runners: 1,
            }],
            runners: RunnerCounts { alive: 1, draining: 2, lost: 3, slots: 4, busy: 5 },
            flow: vec![FlowSample { at: Timestamp::from_millis(1), created: 1.5, ended: 0.5 }],
            failures: vec![FailureLine {
                job_id: JobId::mint(),
                script_type: ScriptType::Python,
                context_id: "here".into(),
                error_kind: Some(ErrorKind::Timeout),
                error: "late".into(),
                finished_at: Some(Timestamp::from_millis(2)),
            }],
            store: Some(StoreStats {
                version: "7.0".into(),
                used_bytes: 1,
                max_bytes: Some(2),
                machine_bytes: 3,
                persistence: Persistence::Log,
                is_saved: true,
                warnings: vec!["careful".into()],
            }),
        }
    }

    #[test]
    fn figures_survive() {
        for stats_in in [example(), Stats { store: None, ..example() }, Stats::default()] {
            assert_eq!(stats(to_stats(stats_in.clone())).unwrap(), stats_in);
        }
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        let whole = to_stats(example());
        for (field, case) in [
            ("at", pb::GetStatsResponse { at: None, ..whole.clone() }),
            ("jobs", pb::GetStatsResponse { jobs: None, ..whole.clone() }),
            ("runners", pb::GetStatsResponse { runners: None, ..whole }),
        ] {
            assert_eq!(stats(case).unwrap_err().field(), Some(field));
        }
    }
}
