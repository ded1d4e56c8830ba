//! Listing jobs, newest first, in bounded steps.
//!
//! All jobs are in an index in the order of creation, and once more in that of their context. The rare states
//! have indexes of their own; what runs is in the in-flight lists.

use hero_domain::{
    DEFAULT_CALLER, DEFAULT_CONTEXT, ErrorKind, JobFilter, JobId, JobLimits, JobPage, JobStatus, ScriptType,
    Timestamp,
};
use hero_redis::{cmd, pipe};

use crate::{Error, Result, Store, keys, record::status};

/// Jobs that one step looks at.
const A_STEP: usize = 500;
/// How far a job's time and that of its index entry may be apart: both are taken in one script.
const SLACK_MS: i64 = 1_000;

/// A place in the order of creation: milliseconds and sequence of the index entry.
type Place = (i64, u64);

struct Details {
    script_type: Option<ScriptType>,
    status: JobStatus,
    error_kind: Option<ErrorKind>,
    caller_id: String,
    context_id: String,
    created_at: Timestamp,
    place: Place,
}

/// The page that is being filled: one id more than asked for, to know whether there is more.
struct Filling<'a> {
    filter: &'a JobFilter,
    cursor: Option<Place>,
    limit: usize,
    ids: Vec<JobId>,
}

impl Filling<'_> {
    fn is_full(&self) -> bool {
        self.ids.len() > self.limit
    }

    fn add(&mut self, id: JobId, job: &Details) {
        if !self.is_full() && self.matches(job) {
            self.ids.push(id);
        }
    }

    fn matches(&self, job: &Details) -> bool {
        let filter = self.filter;
        self.cursor.is_none_or(|cursor| job.place < cursor)
            && filter.status.is_none_or(|it| it == job.status)
            && filter.error_kind.is_none_or(|it| Some(it) == job.error_kind)
            && filter.script_type.is_none_or(|it| Some(it) == job.script_type)
            && filter.context_id.as_ref().is_none_or(|it| *it == job.context_id)
            && filter.caller_id.as_ref().is_none_or(|it| *it == job.caller_id)
            && filter.created_after.is_none_or(|it| job.created_at >= it)
            && filter.created_before.is_none_or(|it| job.created_at <= it)
    }

    fn into_page(mut self) -> JobPage {
        let is_last = !self.is_full();
        self.ids.truncate(self.limit);
        let next_cursor = if is_last { None } else { self.ids.last().copied() };
        JobPage { ids: self.ids, next_cursor }
    }
}

fn place(entry: &str) -> Option<Place> {
    let (ms, seq) = entry.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// The score that the scripts give a job in the index of a rare state.
fn score((ms, seq): Place) -> i64 {
    ms * 1000 + i64::try_from(seq).unwrap_or(999).min(999)
}

impl Store {
    pub(crate) async fn list_jobs(&self, filter: &JobFilter) -> Result<JobPage> {
        let cursor = match filter.cursor {
            Some(id) => Some(self.place_of(id).await?),
            None => None,
        };
        let limit = filter.limit.unwrap_or(JobLimits::default().default_list_page);
        let mut page = Filling { filter, cursor, limit, ids: Vec::new() };
        // Only a job in error has a kind of error.
        match filter.status.or(filter.error_kind.map(|_| JobStatus::Error)) {
            Some(JobStatus::Started) => self.list_running(&mut page).await?,
            Some(JobStatus::Error) => self.list_rare(&mut page, keys::ERRORS).await?,
            Some(JobStatus::WaitingForPrerequisites) => self.list_rare(&mut page, keys::WAITING).await?,
            Some(JobStatus::Dispatched | JobStatus::Finished) | None => self.list_index(&mut page).await?,
        }
        Ok(page.into_page())
    }

    async fn place_of(&self, cursor: JobId) -> Result<Place> {
        let entry: Option<String> = self.link().call(cmd("HGET").arg(keys::job(cursor)).arg("entry")).await?;
        entry.as_deref().and_then(place).ok_or(Error::CursorUnknown(cursor))
    }

    /// Walks the order of creation back from its end, or from the cursor.
    async fn list_index(&self, page: &mut Filling<'_>) -> Result<()> {
        let index = page.filter.context_id.as_deref().map_or(keys::INDEX.to_owned(), keys::context_index);
        let oldest = page
            .filter
            .created_after
            .map_or("-".to_owned(), |at| (at.as_millis() - SLACK_MS).max(0).to_string());
        let mut from = match (page.cursor, page.filter.created_before) {
            (Some((ms, seq)), _) => format!("({ms}-{seq}"),
            (None, Some(at)) => at.as_millis().saturating_add(SLACK_MS).max(0).to_string(),
            (None, None) => "+".to_owned(),
        };
        let step = (page.limit + 1).clamp(50, A_STEP);
        loop {
            let mut range = cmd("XREVRANGE");
            range.arg(&index).arg(&from).arg(&oldest).arg("COUNT").arg(step);
            let entries: Vec<(String, Vec<String>)> = self.link().call(&range).await?;
            let Some((last, _)) = entries.last() else { return Ok(()) };
            from = format!("({last}");
            let is_end = entries.len() < step;
            let (places, ids): (Vec<Option<Place>>, Vec<JobId>) = entries
                .iter()
                .filter_map(|(entry, fields)| Some((place(entry), fields.get(1)?.parse::<JobId>().ok()?)))
                .unzip();
            for ((id, place), job) in ids.iter().zip(places).zip(self.details(&ids).await?) {
                // An entry of another place is that of an expired job whose id has come again.
                if let Some(job) = job.filter(|job| Some(job.place) == place) {
                    page.add(*id, &job);
                }
            }
            if is_end || page.is_full() {
                return Ok(());
            }
        }
    }

    /// Walks the index of a rare state.
    async fn list_rare(&self, page: &mut Filling<'_>, index: &str) -> Result<()> {
        let newest = page.cursor.map_or("+inf".to_owned(), |place| score(place).to_string());
        let mut offset = 0;
        loop {
            let mut range = cmd("ZREVRANGEBYSCORE");
            range.arg(index).arg(&newest).arg("-inf").arg("LIMIT").arg(offset).arg(A_STEP);
            let names: Vec<String> = self.link().call(&range).await?;
            offset += names.len();
            let ids: Vec<JobId> = names.iter().filter_map(|name| name.parse().ok()).collect();
            for (id, job) in ids.iter().zip(self.details(&ids).await?) {
                if let Some(job) = job {
                    page.add(*id, &job);
                }
            }
            if names.len() < A_STEP || page.is_full() {
                return Ok(());
            }
        }
    }

    /// Looks into the in-flight lists of all runners.
    async fn list_running(&self, page: &mut Filling<'_>) -> Result<()> {
        let runners = self.runner_ids().await?;
        if runners.is_empty() {
            return Ok(());
        }
        let mut lists = pipe();
        for runner in &runners {
            lists.cmd("LRANGE").arg(keys::inflight(runner)).arg(0).arg(-1);
        }
        let lists: Vec<Vec<String>> = self.link().call_all(&lists).await?;
        let ids: Vec<JobId> = lists.iter().flatten().filter_map(|id| id.parse().ok()).collect();
        let jobs = ids.iter().zip(self.details(&ids).await?);
        let mut jobs: Vec<(JobId, Details)> = jobs.filter_map(|(id, job)| Some((*id, job?))).collect();
        jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.place));
        for (id, job) in &jobs {
            page.add(*id, job);
        }
        Ok(())
    }

    /// What a filter looks at, for each id; none for a job that is gone.
    async fn details(&self, ids: &[JobId]) -> Result<Vec<Option<Details>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut calls = pipe();
        for id in ids {
            let fields =
                ["script_type", "status", "caller_id", "context_id", "created_at", "entry", "error_kind"];
            calls.cmd("HMGET").arg(keys::job(*id)).arg(&fields);
        }
        let found: Vec<[Option<String>; 7]> = self.link().call_all(&calls).await?;
        Ok(found.into_iter().map(details).collect())
    }
}

fn details(
    [script_type, status_text, caller, context, created_at, entry, error_kind]: [Option<String>; 7],
) -> Option<Details> {
    let script_type = script_type?;
    let place = entry.as_deref().and_then(place)?;
    Some(Details {
        script_type: script_type.parse().ok(),
        status: status(status_text.as_deref()),
        error_kind: error_kind.and_then(|kind| kind.parse().ok()),
        caller_id: caller.unwrap_or_else(|| DEFAULT_CALLER.to_owned()),
        context_id: context.unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()),
        created_at: created_at.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::from_millis(place.0)),
        place,
    })
}
