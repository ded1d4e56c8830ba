//! A runner as the store knows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CircleKey, Job, RunnerId, ScriptType, Timestamp};

/// Whether a runner can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerState {
    /// Its lease runs.
    Alive,
    /// Its lease runs, but it takes no new jobs.
    Draining,
    /// Its lease is over; its jobs are being requeued.
    Lost,
}

impl RunnerState {
    /// The lower-case name: `alive`, `draining`, `lost`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// A runner: what it serves, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: RunnerId,
    /// The script types that it serves.
    pub script_types: Vec<ScriptType>,
    /// The circles that it serves; empty: the shared pool.
    pub circles: Vec<CircleKey>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// How many of each type; empty when it does not say.
    pub slots_by_type: BTreeMap<ScriptType, u32>,
    /// The types that it was to serve and cannot, each with the reason.
    pub not_offered: BTreeMap<ScriptType, String>,
    /// How many jobs of one context run at once, on all runners together, as it was told; none: there is no such
    /// limit. A circle may have its own.
    pub max_running_per_context: Option<u32>,
    /// How many it runs now.
    pub busy: u32,
    /// The host that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The sandbox of its scripts: the layers in force, in words; empty when it does not say.
    pub sandbox: String,
    /// When it signed in.
    pub started_at: Timestamp,
    /// When it renewed its lease last.
    pub last_seen_at: Timestamp,
    /// Until when its jobs are its own.
    pub lease_until: Timestamp,
    /// Whether it can be counted on.
    pub state: RunnerState,
}

impl Runner {
    /// Whether this is one of those that could take the job, if it took jobs now.
    #[must_use]
    pub fn is_in_reach_of(&self, job: &Job) -> bool {
        let is_its_pool = match &job.circle {
            None => self.circles.is_empty(),
            Some(circle) => self.circles.contains(circle),
        };
        is_its_pool && self.script_types.contains(&job.script_type)
    }

    /// Whether it could take the job now or in a while.
    #[must_use]
    pub fn could_take(&self, job: &Job) -> bool {
        self.state == RunnerState::Alive && self.is_in_reach_of(job)
    }
}
