//! What feeds are made of: the events that are kept, what jobs are like, and the news of a log.

use hero_domain::{
    DEFAULT_CALLER, DEFAULT_CONTEXT, JobDigest, JobEvent, JobEventKind, JobId, JobStatus, LogNews, Progress,
    Timestamp,
};
use hero_redis::{cmd, pipe};

use crate::{Confine, Error, Result, Store, keys, record::status};

/// Events that one read brings.
const EVENTS_A_READ: usize = 100;
/// Jobs that one call asks for.
const JOBS_A_CALL: usize = 500;
/// Bytes of an error's words in a digest; the job has all of them.
const ERROR_BYTES: usize = 1 << 10;

const FIELDS: [&str; 12] = [
    "script_type",
    "status",
    "context_id",
    "caller_id",
    "created_at",
    "attempt",
    "runner_id",
    "said",
    "progress",
    "progress_text",
    "error_kind",
    "error",
];

impl Store {
    /// The id of the latest event.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn last_event(&self) -> Result<String> {
        let mut call = cmd("XREVRANGE");
        call.arg(keys::EVENTS).arg("+").arg("-").arg("COUNT").arg(1);
        let last: Vec<(String, Vec<String>)> = self.link().call(&call).await?;
        Ok(last.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }

    /// A piece of the events that are kept, from this one on; whether more may follow.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::EventGone`] when what followed is not kept any more.
    pub async fn events_from(&self, id: &str) -> Result<(Vec<JobEvent>, bool)> {
        let mut call = cmd("XRANGE");
        call.arg(keys::EVENTS).arg(id).arg("+").arg("COUNT").arg(EVENTS_A_READ);
        let entries: Vec<(String, Vec<String>)> = self.link().call(&call).await?;
        let has_more = entries.len() == EVENTS_A_READ;
        Ok((entries.into_iter().filter_map(|(id, fields)| event(id, &fields)).collect(), has_more))
    }

    /// Fails unless everything that happened after this event is kept; after `0-0` it is what is kept that counts.
    ///
    /// # Errors
    /// [`Error::EventGone`], [`Error::Unavailable`].
    pub async fn check_kept(&self, id: &str) -> Result<()> {
        let mut call = cmd("XRANGE");
        call.arg(keys::EVENTS).arg("-").arg("+").arg("COUNT").arg(1);
        let first: Vec<(String, Vec<String>)> = self.link().call(&call).await?;
        match first.first() {
            Some((first, _)) if parts(id) != (0, 0) && parts(id) < parts(first) => {
                Err(Error::EventGone(id.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// What these jobs are like, in their order; none: it is gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn digests(&self, ids: &[JobId]) -> Result<Vec<Option<JobDigest>>> {
        let mut digests = Vec::with_capacity(ids.len());
        for ids in ids.chunks(JOBS_A_CALL) {
            let mut calls = pipe();
            for id in ids {
                calls.cmd("HMGET").arg(keys::job(*id)).arg(&FIELDS);
            }
            let found: Vec<[Option<String>; FIELDS.len()]> = self.link().call_all(&calls).await?;
            digests.extend(ids.iter().zip(found).map(|(id, fields)| digest(*id, fields)));
        }
        Ok(digests)
    }

    /// Has what comes into the log of a job announced from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn announce_log(&self, id: JobId) -> Result<()> {
        let script = &self.scripts().follow;
        let mut call = script.command(&[], 1, 64);
        call.arg(id.to_string());
        self.run("follow", script, &call).await.map(|_| ())
    }

    /// The next news of a log after `place`, at most about `max_bytes` of text; none: there is none at the moment.
    ///
    /// # Errors
    /// [`Error::JobNotFound`], [`Error::LogPlaceUnknown`], [`Error::Unavailable`].
    pub async fn log_news(
        &self,
        id: JobId,
        confine: Confine<'_>,
        place: Option<&str>,
        max_bytes: usize,
    ) -> Result<Option<LogNews>> {
        // The status first: an end that is seen here has all of its lines before it.
        let status = self.visible_status(id, confine).await?;
        let (page, last) = self.read_piece(id, place, max_bytes).await?;
        let ended = (page.next.is_none() && status.is_ended()).then_some(status);
        if page.lines.is_empty() && ended.is_none() {
            return Ok(None);
        }
        Ok(Some(LogNews { lines: page.lines, place: last.or_else(|| place.map(str::to_owned)), ended }))
    }
}

/// An event as it is kept; none: it is not one of ours.
pub(crate) fn event(id: String, fields: &[String]) -> Option<JobEvent> {
    let [_, kind, _, ids] = fields else { return None };
    let kind = JobEventKind::from_name(kind)?;
    Some(JobEvent { id, kind, jobs: ids.split(' ').filter_map(|id| id.parse().ok()).collect() })
}

/// Milliseconds and sequence of an id; what is no id comes first.
fn parts(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap_or((id, "0"));
    (ms.parse().unwrap_or(0), seq.parse().unwrap_or(0))
}

fn digest(id: JobId, fields: [Option<String>; FIELDS.len()]) -> Option<JobDigest> {
    let [
        script_type,
        status_text,
        context_id,
        caller_id,
        created_at,
        attempt,
        runner_id,
        said,
        progress,
        progress_text,
        error_kind,
        error,
    ] = fields.map(|field| field.filter(|text| !text.is_empty()));
    let status = status(status_text.as_deref());
    let attempt: u32 = parsed(attempt.as_deref()).unwrap_or(0);
    // What an earlier attempt said is over.
    let has_said = status != JobStatus::Dispatched && parsed(said.as_deref()) == Some(attempt);
    let per_mille: Option<u16> = parsed(progress.as_deref()).filter(|_| has_said);
    let minted = || id.minted_at_millis().map(Timestamp::from_millis);
    Some(JobDigest {
        status,
        script_type: parsed(script_type.as_deref())?,
        context_id: context_id.unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()),
        caller_id: caller_id.unwrap_or_else(|| DEFAULT_CALLER.to_owned()),
        created_at: parsed(created_at.as_deref()).or_else(minted).unwrap_or_default(),
        attempt,
        runner_id: parsed(runner_id.as_deref()),
        progress: per_mille.map(|per_mille| Progress { per_mille, text: progress_text.unwrap_or_default() }),
        error_kind: parsed(error_kind.as_deref()),
        error: error.map(cut),
    })
}

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

fn cut(mut text: String) -> String {
    let end = (0..=ERROR_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use hero_domain::JobEventKind;

    use super::{cut, event, parts};

    #[test]
    fn ids_have_an_order_and_other_texts_come_first() {
        assert!(parts("9-2") < parts("10-0") && parts("10-2") < parts("10-10") && parts("x") < parts("0-1"));
    }

    #[test]
    fn an_event_is_read_or_left_alone() {
        let fields =
            |kind: &str| ["k", kind, "ids", "x 0193e2d0-7c7a-7b0e-8f8e-0123456789ab"].map(String::from);
        let read = event("1-0".into(), &fields("queued")).unwrap();
        assert_eq!((read.kind, read.jobs.len()), (JobEventKind::Queued, 1));
        assert_eq!(event("1-0".into(), &fields("burnt")), None);
        assert_eq!(event("1-0".into(), &[]), None);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(cut("ü".repeat(1_000)).len(), 1_024);
        assert_eq!(cut("short".into()), "short");
    }
}
