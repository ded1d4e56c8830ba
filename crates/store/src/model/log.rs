//! Logs.

use hero_domain::{JobId, JobStatus, LogLine, LogPage, LogStream};

use super::state::State;
use crate::{
    Error,
    api::{Confine, LogAppended, Result, Said},
};

impl State {
    pub(super) fn append_log(
        &mut self,
        id: JobId,
        attempt: u32,
        before: u64,
        lines: &[(LogStream, String)],
        max_bytes: usize,
    ) -> LogAppended {
        let now = self.now;
        let Some(record) = self.jobs.get_mut(&id) else { return LogAppended::Refused };
        if record.job.status != JobStatus::Started || record.job.attempt != attempt {
            return LogAppended::Refused;
        }
        let logged = if record.logged.0 == attempt { record.logged.1 } else { 0 };
        let again = usize::try_from(logged.saturating_sub(before)).unwrap_or(usize::MAX);
        if !record.is_log_full && again < lines.len() {
            record.logged = (attempt, before + lines.len() as u64);
        }
        for (stream, text) in lines.iter().skip(again) {
            if record.is_log_full {
                return LogAppended::Full;
            }
            let bytes: usize = record.log.iter().map(|line| line.text.len()).sum();
            let (stream, text) = if bytes + text.len() <= max_bytes {
                (*stream, text.clone())
            } else {
                record.is_log_full = true;
                (LogStream::Log, format!("log limit of {max_bytes} bytes reached"))
            };
            record.log.push(LogLine { stream, at: now, text });
        }
        if record.is_log_full { LogAppended::Full } else { LogAppended::Taken }
    }

    pub(super) fn say(&mut self, id: JobId, attempt: u32, said: &Said) -> bool {
        let Some(record) = self.jobs.get_mut(&id) else { return false };
        if record.job.status != JobStatus::Started || record.job.attempt != attempt {
            return false;
        }
        let Said { progress, result } = said.clone();
        record.job.progress = progress.or(record.job.progress.take());
        record.job.result = result.or(record.job.result.take());
        true
    }

    pub(super) fn read_log(
        &self,
        id: JobId,
        confine: Confine<'_>,
        from: Option<&str>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        let log = &self.visible(id, confine)?.log;
        let unknown = |_| Error::LogPlaceUnknown(from.unwrap_or_default().to_owned());
        let begin: usize = from.unwrap_or("0").parse().map_err(unknown)?;
        let mut bytes = 0;
        let mut page = LogPage::default();
        for (index, line) in log.iter().enumerate().skip(begin) {
            if bytes >= max_bytes {
                page.next = Some(index.to_string());
                break;
            }
            bytes += line.text.len();
            page.lines.push(line.clone());
        }
        Ok(page)
    }
}
