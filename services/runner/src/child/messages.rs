//! What a script tells the runner over descriptor 3, by the `hero` module of its language: one JSON object a line.
//!
//! ```json
//! {"log": "any text, its lines become lines of the job's log"}
//! {"progress": {"fraction": 0.5, "text": "half way"}}
//! {"result": {"any": ["JSON", 1, null]}}
//! {"invalid": "line 2, column 5: why the source is no program"}
//! {"ended": 0}
//! ```
//!
//! `result` may come more than once, the last one counts; it is bounded as the output is. `invalid` counts when the
//! child then ends with a status that is not 0. `ended`, with its status, counts when it then closes its outputs, and is
//! what a child says that has nothing more to do than to let the kernel clear it away. A line that is none of these, or longer than
//! [`LINE_BYTES`] without being a result, is dropped, and the log says so once. A script that tells lies here tells
//! them about its own job only: no other job's descriptor is within its reach.

use hero_domain::LogStream;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::output::TooLarge;
use crate::{attempt::Run, engine::OutputLimits};

/// A line is no longer than this, unless it is a result.
pub(crate) const LINE_BYTES: usize = 64 << 10;
/// What the words around a result take.
const AROUND_A_RESULT: usize = 1 << 10;

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Message {
    /// For the job's log.
    Log(String),
    /// How far the script is.
    Progress(Progress),
    /// What it came to.
    Result(Value),
    /// The source is no program.
    Invalid(String),
    /// It ends with this status.
    Ended(u8),
}

/// How far a script is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Progress {
    /// From 0 to 1.
    pub(crate) fraction: f64,
    /// In words.
    #[serde(default)]
    pub(crate) text: String,
}

/// What a script told until its end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Why its source is no program.
    pub(crate) invalid: Option<String>,
    /// The status that it says it ends with.
    pub(super) ended: Option<u8>,
    /// A line was dropped, and the log has been told.
    has_dropped: bool,
}

impl Told {
    async fn hear(&mut self, line: &[u8], run: &Run) {
        match serde_json::from_slice(line) {
            Ok(Message::Result(value)) => {
                if let Err(why) = run.result(value.to_string()) {
                    self.drop_line(run, &why).await;
                }
            }
            Ok(_) | Err(_) if line.len() > LINE_BYTES => self.drop_line(run, "it is too long").await,
            Ok(Message::Log(text)) => run.log(LogStream::Log, text).await,
            Ok(Message::Progress(progress)) if (0.0..=1.0).contains(&progress.fraction) => {
                run.progress(progress.fraction, &progress.text);
            }
            Ok(Message::Progress(_)) => self.drop_line(run, "a fraction lies between 0 and 1").await,
            Ok(Message::Invalid(why)) => self.invalid = Some(why),
            Ok(Message::Ended(status)) => self.ended = Some(status),
            Err(error) => self.drop_line(run, &error.to_string()).await,
        }
    }

    async fn drop_line(&mut self, run: &Run, why: &str) {
        if !std::mem::replace(&mut self.has_dropped, true) {
            run.log(LogStream::Log, format!("a message of the script was dropped: {why}")).await;
        }
    }
}

/// Reads to the end.
pub(super) async fn listen(
    from: &mut (impl AsyncRead + Unpin),
    told: &mut Told,
    run: &Run,
    limits: OutputLimits,
) -> Result<(), TooLarge> {
    let mut buffer = Vec::new();
    loop {
        // An error on a pipe is its end.
        let read = from.read_buf(&mut buffer).await.unwrap_or(0);
        let mut rest = &buffer[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            told.hear(&rest[..end], run).await;
            rest = &rest[end + 1..];
        }
        if rest.len() > limits.max_output_bytes + AROUND_A_RESULT {
            return Err(TooLarge);
        }
        let heard = buffer.len() - rest.len();
        buffer.drain(..heard);
        if read == 0 {
            return Ok(());
        }
    }
}
