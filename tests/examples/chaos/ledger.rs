//! What was acknowledged, what is expected of it, what has been seen of it, and every promise found broken.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;

/// How a job ends when no fault stands in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Finished, with this output.
    Output(String),
    /// Error, of this kind.
    Kind(&'static str),
    /// Stopped, unless it came to its end before.
    StoppedOr(String),
    /// Stored, and never started.
    Created,
}

/// An acknowledged job.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) expect: Expect,
    /// A line is added to this file by every attempt.
    pub(crate) effect: Option<PathBuf>,
    pub(crate) prerequisites: Vec<String>,
    /// The start of it was acknowledged.
    pub(crate) is_started: bool,
    /// Ends that were announced.
    pub(crate) ends: u32,
    /// What its record said once it had ended.
    pub(crate) ended: Option<Ended>,
}

/// What must never change once a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    status: Value,
    error_kind: Value,
    output: Value,
    attempt: Value,
    finished_at: Value,
}

#[derive(Default)]
struct State {
    jobs: HashMap<String, Entry>,
    /// Ends announced before their job was acknowledged.
    early: HashMap<String, u32>,
    broken: Vec<String>,
    has_gap: bool,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<State>>);

impl Entry {
    pub(crate) fn new(expect: Expect) -> Self {
        Self { expect, effect: None, prerequisites: Vec::new(), is_started: true, ends: 0, ended: None }
    }
}

impl Ended {
    /// None for a job that has not ended.
    pub(crate) fn of(job: &Value) -> Option<Self> {
        let field = |name: &str| job[name].clone();
        (job["status"] == "Finished" || job["status"] == "Error").then(|| Self {
            status: field("status"),
            error_kind: field("error_kind"),
            output: field("output"),
            attempt: field("attempt"),
            finished_at: field("finished_at"),
        })
    }
}

impl Ledger {
    pub(crate) fn acknowledge(&self, id: &str, mut entry: Entry) {
        let mut state = self.0.lock();
        entry.ends = state.early.remove(id).unwrap_or(0);
        if state.jobs.insert(id.to_owned(), entry).is_some() {
            state.broken.push(format!("{id}: one id was given to two jobs"));
        }
    }

    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.lock().jobs.get_mut(id) {
            change(entry);
        }
    }

    /// The end of a job was announced.
    pub(crate) fn announce(&self, id: &str) {
        let mut state = self.0.lock();
        match state.jobs.get_mut(id) {
            Some(entry) => entry.ends += 1,
            None => *state.early.entry(id.to_owned()).or_default() += 1,
        }
    }

    /// Compares a job that was read with what was read of it before.
    pub(crate) fn see(&self, id: &str, job: &Value) {
        let Some(now) = Ended::of(job) else {
            let before = self.0.lock().jobs.get(id).and_then(|entry| entry.ended.clone());
            if before.is_some() {
                self.broke(format!("{id}: it had ended, and is {} again", job["status"]));
            }
            return;
        };
        let mut state = self.0.lock();
        let Some(entry) = state.jobs.get_mut(id) else { return };
        match &entry.ended {
            Some(before) if *before != now => {
                let words = format!("{id}: its result changed from {before:?} to {now:?}");
                state.broken.push(words);
            }
            Some(_) => {}
            None => entry.ended = Some(now),
        }
    }

    pub(crate) fn broke(&self, words: String) {
        self.0.lock().broken.push(words);
    }

    /// Announcements may have been missed: their number proves nothing any more.
    pub(crate) fn missed_announcements(&self) {
        self.0.lock().has_gap = true;
    }

    pub(crate) fn has_gap(&self) -> bool {
        self.0.lock().has_gap
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.0.lock().broken.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().jobs.len()
    }

    /// Jobs whose end has not been heard of.
    pub(crate) fn open(&self) -> usize {
        self.unfinished().len()
    }

    /// Started jobs whose end has not been heard of.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let state = self.0.lock();
        let open = state.jobs.iter().filter(|(_, it)| it.is_started && it.ends == 0 && it.ended.is_none());
        open.map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn all(&self) -> Vec<(String, Entry)> {
        self.0.lock().jobs.iter().map(|(id, entry)| (id.clone(), entry.clone())).collect()
    }
}
