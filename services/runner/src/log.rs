//! A job's log on its way to the store: lines are gathered while a call to the store is in flight, and written
//! in the next one; so a line is on its way at once when the store is idle, and a flood becomes few large calls.
//! The end of the attempt is reported by the log's writer when there are lines, so that it comes after them.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use hero_domain::LogStream;
use hero_store::{JobStore, LogAppended, Outcome, Said};
use hero_telemetry::{Attributes, metrics, names};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, mpsc};
use tracing::Instrument;

use crate::{
    attempt::{Attempt, Order},
    backoff::Backoff,
};

/// A job waits to log more while so many bytes of its lines wait for the store.
const MAX_PENDING_BYTES: usize = 1 << 20;
/// A call to the store takes about so many bytes of lines at most.
const MAX_CALL_BYTES: usize = 256 << 10;
/// A longer line is cut into several.
const MAX_LINE_BYTES: usize = 16 << 10;

/// What a script says about itself is written so often at most; what it says in between is superseded.
const SAY_EVERY: Duration = Duration::from_millis(100);

/// What an append needs from its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Append {
    /// Nothing: a writer is at it, or the log takes no more.
    Done,
    /// A writer has to be started.
    WakeWriter,
}

/// The lines of one attempt that wait for the store.
#[derive(Debug, Default)]
pub(crate) struct JobLog {
    state: Mutex<State>,
    room: Condvar,
    room_async: Notify,
    /// There is something new for a writer that pauses.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<(LogStream, String)>,
    bytes: usize,
    /// How many lines the writer has taken.
    taken: u64,
    /// A writer has been asked for and has not gone yet.
    is_writing: bool,
    /// The store takes no more: the log is full, or the attempt is not ours.
    is_closed: bool,
    /// What the script has said about itself, and no call has taken with it yet.
    said: Option<Said>,
    said_at: Option<Instant>,
    end: Option<Outcome>,
}

/// What the writer does next.
pub(crate) enum Next {
    /// Writes these lines, before which so many others of the attempt were written.
    Write(u64, Vec<(LogStream, String)>),
    /// Keeps what the script said about itself.
    Say(Said),
    /// Waits for news, at most so long.
    Pause(Duration),
    /// Reports the end, for all lines are written.
    End(Outcome),
    /// Goes; the next line starts another.
    Rest,
}

impl JobLog {
    /// Adds text; each of its lines becomes a line of the log.
    pub(crate) fn append(&self, stream: LogStream, text: String) -> Append {
        let mut state = self.state.lock();
        if state.is_closed {
            return Append::Done;
        }
        state.push(stream, text);
        self.ask_for_writer(&mut state)
    }

    /// Adds what the script says about itself; the latest word counts.
    pub(crate) fn say(&self, said: Said) -> Append {
        let mut state = self.state.lock();
        let before = state.said.take().unwrap_or_default();
        let latest =
            Said { progress: said.progress.or(before.progress), result: said.result.or(before.result) };
        state.said = Some(latest);
        self.ask_for_writer(&mut state)
    }

    fn ask_for_writer(&self, state: &mut State) -> Append {
        if std::mem::replace(&mut state.is_writing, true) {
            self.news.notify_one();
            return Append::Done;
        }
        Append::WakeWriter
    }

    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().bytes < MAX_PENDING_BYTES
    }

    /// Resolves when the writer has taken lines after this call.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.room_async.notified()
    }

    /// Waits for room; false when there is none after `longest`.
    pub(crate) fn wait_for_room(&self, longest: Duration) -> bool {
        let mut state = self.state.lock();
        if state.bytes >= MAX_PENDING_BYTES {
            self.room.wait_for(&mut state, longest);
        }
        state.bytes < MAX_PENDING_BYTES
    }

    /// Keeps the end for the writer; gives it back when there is no writer and the caller has to report it.
    pub(crate) fn end(&self, outcome: Outcome) -> Option<Outcome> {
        let mut state = self.state.lock();
        if state.is_writing {
            state.end = Some(outcome);
            self.news.notify_one();
            return None;
        }
        Some(outcome)
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.lines = Vec::new();
        state.bytes = 0;
        drop(state);
        self.announce_room();
    }

    /// Takes the next piece of work.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if state.lines.is_empty() {
            if let Some(next) = state.next_word() {
                return next;
            }
            return match state.end.take() {
                Some(outcome) => Next::End(outcome),
                None => {
                    state.is_writing = false;
                    Next::Rest
                }
            };
        }
        let before = state.taken;
        let lines = state.take();
        drop(state);
        self.announce_room();
        Next::Write(before, lines)
    }

    /// Waits for news, at most so long.
    pub(crate) async fn pause(&self, longest: Duration) {
        let _ = tokio::time::timeout(longest, self.news.notified()).await;
    }

    fn announce_room(&self) {
        self.room.notify_all();
        self.room_async.notify_waiters();
    }
}

impl State {
    /// What the script said about itself, when it is time to write it.
    fn next_word(&mut self) -> Option<Next> {
        self.said.as_ref()?;
        let since = self.said_at.map_or(SAY_EVERY, |at| at.elapsed());
        if since < SAY_EVERY && self.end.is_none() {
            return Some(Next::Pause(SAY_EVERY - since));
        }
        self.said_at = Some(Instant::now());
        self.said.take().map(Next::Say)
    }

    fn push(&mut self, stream: LogStream, text: String) {
        if text.len() <= MAX_LINE_BYTES && !text.contains('\n') {
            self.bytes += text.len() + 1;
            self.lines.push((stream, text));
            return;
        }
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            let mut rest = line;
            while rest.len() > MAX_LINE_BYTES {
                let cut = (0..=MAX_LINE_BYTES).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
                let (piece, tail) = rest.split_at(cut);
                self.push(stream, piece.to_owned());
                rest = tail;
            }
            self.push(stream, rest.to_owned());
        }
    }

    fn take(&mut self) -> Vec<(LogStream, String)> {
        let mut bytes = 0;
        let count = self
            .lines
            .iter()
            .take_while(|(_, text)| {
                let is_first = bytes == 0;
                bytes += text.len() + 1;
                is_first || bytes <= MAX_CALL_BYTES
            })
            .count();
        let rest = self.lines.split_off(count);
        let lines = std::mem::replace(&mut self.lines, rest);
        self.taken += lines.len() as u64;
        self.bytes -= lines.iter().map(|(_, text)| text.len() + 1).sum::<usize>();
        lines
    }
}

/// Starts a writer for each attempt that has lines, until the runner is gone.
pub(crate) async fn write_logs<S: JobStore + Clone>(
    store: S,
    max_log_bytes: usize,
    mut logging: mpsc::UnboundedReceiver<Arc<Attempt>>,
) {
    while let Some(attempt) = logging.recv().await {
        let span = tracing::Span::current();
        // A task each: one job whose log is slow must not hold up the others' ends.
        tokio::spawn(write_log(store.clone(), max_log_bytes, attempt).instrument(span));
    }
}

async fn write_log<S: JobStore>(store: S, max_log_bytes: usize, attempt: Arc<Attempt>) {
    loop {
        match attempt.log.next() {
            Next::Write(before, lines) => write_lines(&store, max_log_bytes, &attempt, before, &lines).await,
            Next::Say(said) => write_said(&store, &attempt, &said).await,
            Next::Pause(longest) => attempt.log.pause(longest).await,
            Next::End(outcome) => return attempt.report(outcome),
            Next::Rest => return,
        }
    }
}

/// Writes lines however long the store is away; gives up when the attempt is not the runner's any more.
async fn write_lines<S: JobStore>(
    store: &S,
    max_log_bytes: usize,
    attempt: &Attempt,
    before: u64,
    lines: &[(LogStream, String)],
) {
    let mut backoff = Backoff::default();
    while attempt.ordered() != Order::Abandon {
        match store.append_log(attempt.id(), attempt.number(), before, lines, max_log_bytes).await {
            Ok(LogAppended::Taken) => return,
            Ok(LogAppended::Full) => return attempt.log.close(),
            Ok(LogAppended::Refused) => {
                metrics().runner_refused.add(lines.len() as u64, &Attributes::new(&[(names::KIND, "line")]));
                attempt.log.close();
                // Another attempt has taken over, or the job is gone: nobody wants the rest.
                return attempt.order(Order::Abandon);
            }
            Err(hero_store::Error::Unavailable { .. } | hero_store::Error::Full) => backoff.pause().await,
            Err(error) => {
                tracing::error!(job_id = %attempt.id(), %error, lines = lines.len(), "log lines lost");
                return;
            }
        }
    }
    attempt.log.close();
}

/// Keeps what the script said about itself, however long the store is away.
async fn write_said<S: JobStore>(store: &S, attempt: &Attempt, said: &Said) {
    let mut backoff = Backoff::default();
    while attempt.ordered() != Order::Abandon {
        match store.say(attempt.id(), attempt.number(), said).await {
            Ok(true) => return,
            Ok(false) => return attempt.order(Order::Abandon),
            Err(hero_store::Error::Unavailable { .. } | hero_store::Error::Full) => backoff.pause().await,
            Err(error) => {
                tracing::error!(job_id = %attempt.id(), %error, "a job's progress or result is lost");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::LogStream::Log;
    use hero_domain::Progress;
    use hero_store::{Outcome, Said};

    use super::{Append, JobLog, MAX_CALL_BYTES, MAX_LINE_BYTES, MAX_PENDING_BYTES, Next};

    fn written(log: &JobLog) -> Vec<String> {
        match log.next() {
            Next::Write(_, lines) => lines.into_iter().map(|(_, text)| text).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn only_the_first_line_asks_for_a_writer_until_it_has_gone() {
        let log = JobLog::default();
        assert_eq!(log.append(Log, "a".into()), Append::WakeWriter);
        assert_eq!(log.append(Log, "b".into()), Append::Done);
        assert_eq!(written(&log), ["a", "b"]);
        assert_eq!(log.append(Log, "c".into()), Append::Done);
        assert_eq!(written(&log), ["c"]);
        assert!(matches!(log.next(), Next::Rest));
        assert_eq!(log.append(Log, "d".into()), Append::WakeWriter);
    }

    #[test]
    fn the_end_comes_after_the_lines() {
        let log = JobLog::default();
        assert_eq!(log.end(Outcome::HandedBack), Some(Outcome::HandedBack));
        log.append(Log, "a".into());
        assert_eq!(log.end(Outcome::HandedBack), None);
        assert_eq!(written(&log), ["a"]);
        assert!(matches!(log.next(), Next::End(Outcome::HandedBack)));
    }

    #[test]
    fn the_latest_word_is_written_now_and_then_and_before_the_end() {
        let log = JobLog::default();
        let progress = |fraction| Said { progress: Some(Progress::new(fraction, "")), result: None };
        let result = |text: &str| Said { progress: None, result: Some(text.to_owned()) };
        assert_eq!(log.say(progress(0.1)), Append::WakeWriter);
        assert!(matches!(log.next(), Next::Say(said) if said == progress(0.1)));
        assert_eq!(log.say(progress(0.2)), Append::Done);
        log.say(result("1"));
        log.say(progress(0.3));
        assert!(matches!(log.next(), Next::Pause(_)), "not again at once");
        log.append(Log, "a".into());
        assert_eq!(written(&log), ["a"], "lines wait for nothing");
        assert_eq!(log.end(Outcome::HandedBack), None);
        let both = Said { result: result("1").result, ..progress(0.3) };
        assert!(matches!(log.next(), Next::Say(said) if said == both));
        assert!(matches!(log.next(), Next::End(Outcome::HandedBack)));
    }

    #[test]
    fn text_is_cut_into_lines_of_bounded_length() {
        let log = JobLog::default();
        log.append(Log, "one\n\ntwo\n".into());
        assert_eq!(written(&log), ["one", "", "two"]);
        let long = "é".repeat(MAX_LINE_BYTES);
        log.append(Log, long.clone());
        let lines = written(&log);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        assert_eq!(lines.concat(), long);
    }

    #[test]
    fn calls_are_bounded_and_room_comes_back() {
        let log = JobLog::default();
        let line = "x".repeat(MAX_LINE_BYTES - 1);
        while log.has_room() {
            log.append(Log, line.clone());
        }
        assert!(!log.wait_for_room(std::time::Duration::from_millis(1)));
        let mut calls = 0;
        while !written(&log).is_empty() {
            calls += 1;
        }
        assert_eq!(calls, MAX_PENDING_BYTES / MAX_CALL_BYTES);
        assert!(log.has_room());
    }

    #[test]
    fn a_closed_log_keeps_nothing() {
        let log = JobLog::default();
        log.append(Log, "a".into());
        log.close();
        assert_eq!(log.append(Log, "b".into()), Append::Done);
        assert!(written(&log).is_empty());
    }
}
