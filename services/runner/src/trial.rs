//! Engines on trial: a job goes in, its end and its log come out, without a store.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hero_domain::{ErrorKind, JobId, LogStream, ScriptType};
use hero_store::{Claimed, Outcome, Said};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    attempt::{Attempt, Ended, Order, Reports, Run},
    engine::Engine,
    log::Next,
};

/// A job with a script.
pub(crate) fn job(script_type: ScriptType, script: &str) -> Claimed {
    Claimed {
        id: JobId::mint(),
        attempt: 1,
        script_type,
        script: script.to_owned(),
        caller_id: "alice".to_owned(),
        context_id: "lab".to_owned(),
        timeout: Duration::from_secs(60),
        env_vars: BTreeMap::new(),
        traceparent: None,
    }
}

/// A line of a log, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) stream: LogStream,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// A job in an engine.
pub(crate) struct Trial {
    pub(crate) attempt: Arc<Attempt>,
    ended: mpsc::UnboundedReceiver<Ended>,
    lines: Arc<Mutex<Vec<Line>>>,
    said: Arc<Mutex<Said>>,
}

/// How a trial ended.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) lines: Vec<Line>,
    pub(crate) said: Said,
}

impl Trial {
    /// Starts a job.
    pub(crate) fn start(engine: &dyn Engine, job: Claimed) -> Self {
        let (ended_sender, ended) = mpsc::unbounded_channel();
        let (logging, mut logs) = mpsc::unbounded_channel::<Arc<Attempt>>();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        tokio::spawn(async move {
            while let Some(attempt) = logs.recv().await {
                loop {
                    match attempt.log.next() {
                        Next::Write(_, new) => {
                            written.lock().extend(new.into_iter().map(|(stream, text)| Line {
                                stream,
                                text,
                                at: Instant::now(),
                            }))
                        }
                        Next::Say(said) => {
                            let mut all = heard.lock();
                            all.progress = said.progress.or(all.progress.take());
                            all.result = said.result.or(all.result.take());
                        }
                        Next::Pause(longest) => attempt.log.pause(longest).await,
                        Next::End(outcome) => break attempt.report(outcome),
                        Next::Rest => break,
                    }
                }
            }
        });
        let run = Run::new(job, Reports { ended: ended_sender, logging }, Span::none());
        let attempt = Arc::clone(run.attempt());
        engine.start(run);
        Self { attempt, ended, lines, said }
    }

    /// Waits until a line has come that contains this text.
    pub(crate) async fn logged(&self, text: &str) -> Line {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(line) = self.lines.lock().iter().find(|line| line.text.contains(text)) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no line with `{text}` in {:?}", self.lines.lock());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Gives an order and says how long the end took from there.
    pub(crate) async fn order(self, order: Order) -> (Verdict, Duration) {
        let ordered = Instant::now();
        self.attempt.order(order);
        (self.ended().await, ordered.elapsed())
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Verdict {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.ended.recv()).await;
        let outcome = ended.expect("it ends").expect("an engine reports").outcome;
        let lines = self.lines.lock().clone();
        let said = self.said.lock().clone();
        Verdict { outcome, lines, said }
    }
}

impl Verdict {
    /// The output of a job that must have finished.
    #[track_caller]
    pub(crate) fn output(&self) -> &str {
        match &self.outcome {
            Outcome::Finished { output } => output,
            other => panic!("it should have finished: {other:?}"),
        }
    }

    /// The error of a job that must have failed in this way.
    #[track_caller]
    pub(crate) fn error(&self, expected: ErrorKind) -> &str {
        match &self.outcome {
            Outcome::Failed { kind, error, .. } if *kind == expected => error,
            other => panic!("it should have failed as {expected}: {other:?}"),
        }
    }

    /// The texts of one stream.
    pub(crate) fn texts(&self, stream: LogStream) -> Vec<&str> {
        self.lines.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect()
    }
}
