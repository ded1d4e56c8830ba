//! The figures of an overview.

use std::sync::Arc;

use hero_domain::{
    CircleKey, ErrorKind, FailureLine, FlowSample, JobCounts, JobId, LaneStats, RunnerCounts, ScriptType,
    Stats, StoreStats, Timestamp,
    ports::{Jobs, Ports},
};
use serde::Serialize;

use crate::{Session, error::Failure, handler::Face, params::NoParams};

/// The figures. Every member is always there; what has no value is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::Stats")]
pub struct StatsView {
    pub at: Timestamp,
    pub jobs: JobCountsView,
    pub lanes: Vec<LaneView>,
    pub runners: RunnerCountsView,
    pub flow: Vec<FlowView>,
    pub failures: Vec<FailureView>,
    pub store: Option<StoreView>,
}

/// How many jobs there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::JobCounts")]
pub struct JobCountsView {
    pub kept: u64,
    pub queued: u64,
    pub delayed: Option<u64>,
    pub waiting: Option<u64>,
    pub started: Option<u64>,
    pub failed: Option<u64>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::LaneStats")]
pub struct LaneView {
    pub script_type: ScriptType,
    pub circle: Option<CircleKey>,
    pub waiting: u64,
    pub oldest_ms: Option<u64>,
    pub runners: u32,
}

/// How many runners there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::RunnerCounts")]
pub struct RunnerCountsView {
    pub alive: u32,
    pub draining: u32,
    pub lost: u32,
    pub slots: u32,
    pub busy: u32,
}

/// Jobs in and out, a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::FlowSample")]
pub struct FlowView {
    pub at: Timestamp,
    pub created: f64,
    pub ended: f64,
}

/// A job that ended in error, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::FailureLine")]
pub struct FailureView {
    pub job_id: JobId,
    pub script_type: ScriptType,
    pub context_id: String,
    pub error_kind: Option<ErrorKind>,
    pub error: String,
    pub finished_at: Option<Timestamp>,
}

/// What holds the jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the members are those of hero_domain::StoreStats")]
pub struct StoreView {
    pub version: String,
    pub used_bytes: u64,
    pub max_bytes: Option<u64>,
    pub machine_bytes: u64,
    pub persistence: &'static str,
    pub is_saved: bool,
    pub warnings: Vec<String>,
}

impl From<Stats> for StatsView {
    fn from(stats: Stats) -> Self {
        let JobCounts { kept, queued, delayed, waiting, started, failed } = stats.jobs;
        let RunnerCounts { alive, draining, lost, slots, busy } = stats.runners;
        Self {
            at: stats.at,
            jobs: JobCountsView { kept, queued, delayed, waiting, started, failed },
            lanes: stats.lanes.into_iter().map(LaneView::from).collect(),
            runners: RunnerCountsView { alive, draining, lost, slots, busy },
            flow: stats.flow.into_iter().map(FlowView::from).collect(),
            failures: stats.failures.into_iter().map(FailureView::from).collect(),
            store: stats.store.map(StoreView::from),
        }
    }
}

impl From<LaneStats> for LaneView {
    fn from(lane: LaneStats) -> Self {
        let LaneStats { script_type, circle, waiting, oldest_ms, runners } = lane;
        Self { script_type, circle, waiting, oldest_ms, runners }
    }
}

impl From<FlowSample> for FlowView {
    fn from(sample: FlowSample) -> Self {
        let FlowSample { at, created, ended } = sample;
        Self { at, created, ended }
    }
}

impl From<FailureLine> for FailureView {
    fn from(line: FailureLine) -> Self {
        let FailureLine { job_id, script_type, context_id, error_kind, error, finished_at } = line;
        Self { job_id, script_type, context_id, error_kind, error, finished_at }
    }
}

impl From<StoreStats> for StoreView {
    fn from(store: StoreStats) -> Self {
        Self {
            version: store.version,
            used_bytes: store.used_bytes,
            max_bytes: store.max_bytes,
            machine_bytes: store.machine_bytes,
            persistence: store.persistence.as_str(),
            is_saved: store.is_saved,
            warnings: store.warnings,
        }
    }
}

pub(crate) async fn stats<P: Ports>(
    face: Arc<Face<P>>,
    session: Session,
    _: NoParams,
) -> Result<StatsView, Failure> {
    Ok(face.jobs().stats(session.caller()).await?.into())
}
