//! Reading what scripts answer and refuse.

use hero_domain::{JobId, Timestamp};
use hero_redis::Value;

use crate::{Error, Result};

/// The values of an answer, in order.
pub(crate) struct Answer {
    values: std::vec::IntoIter<Value>,
    script: &'static str,
}

impl Answer {
    pub(crate) fn new(script: &'static str, value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self { values: values.into_iter(), script }),
            other => Err(corrupt(script, &format!("{other:?} is no list"))),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    pub(crate) fn remaining(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn number(&mut self) -> Result<i64> {
        match self.values.next() {
            Some(Value::Int(number)) => Ok(number),
            other => Err(corrupt(self.script, &format!("{other:?} is no number"))),
        }
    }

    pub(crate) fn count(&mut self) -> Result<usize> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| corrupt(self.script, &format!("{number} is no count")))
    }

    /// The next text, if it is there; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&mut self) -> Option<String> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Some(lossy(bytes)),
            Some(Value::SimpleString(text)) => Some(text),
            Some(Value::Int(number)) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(crate) fn id(&mut self) -> Result<JobId> {
        let text = self.text().unwrap_or_default();
        text.parse().map_err(|error| corrupt(self.script, &format!("{error}")))
    }
}

pub(crate) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

pub(crate) fn corrupt(key: &str, what: &str) -> Error {
    Error::Corrupt { key: key.to_owned(), what: what.to_owned() }
}

/// What a script refused; anything else as it is.
pub(crate) fn refusal(error: hero_redis::Error) -> Error {
    let hero_redis::Error::Refused { code, detail } = &error else { return error.into() };
    let mut words = detail.split_ascii_whitespace();
    let mut word = || words.next().unwrap_or_default();
    let known = match code.as_str() {
        "HERO_JOB_NOT_FOUND" => word().parse().ok().map(Error::JobNotFound),
        "HERO_ALREADY_STARTED" => word().parse().ok().map(Error::AlreadyStarted),
        "HERO_JOB_NOT_FAILED" => word().parse().ok().map(Error::JobNotFailed),
        "HERO_SCHEDULE_NOT_FOUND" => word().parse().ok().map(Error::ScheduleNotFound),
        "HERO_SCHEDULE_EXISTS" => word().parse().ok().map(Error::ScheduleExists),
        "HERO_TOO_MANY_SCHEDULES" => word().parse().ok().map(|most| Error::TooManySchedules { most }),
        "HERO_RUNNER_ALIVE" => word()
            .parse()
            .ok()
            .zip(word().parse().ok())
            .map(|(id, until)| Error::RunnerAlive { id, until: Timestamp::from_millis(until) }),
        "HERO_RUNNER_REPLACED" => word().parse().ok().map(Error::RunnerReplaced),
        "HERO_RUNNER_NOT_FOUND" => word().parse().ok().map(Error::RunnerNotFound),
        "HERO_JOB_EXISTS" => {
            word().parse().ok().zip(word().parse().ok()).map(|(index, id)| Error::JobExists { index, id })
        }
        "HERO_PREREQUISITE_NOT_FOUND" => word()
            .parse()
            .ok()
            .zip(word().parse().ok())
            .map(|(index, id)| Error::PrerequisiteNotFound { index, id }),
        "HERO_CONTEXT_FULL" => context_full(detail),
        _ => None,
    };
    known.unwrap_or_else(|| error.into())
}

/// The context is the rest of the words: it may have spaces.
fn context_full(detail: &str) -> Option<Error> {
    let mut words = detail.splitn(4, ' ');
    let (index, bytes, most) = (words.next()?, words.next()?, words.next()?);
    Some(Error::ContextFull {
        index: index.parse().ok()?,
        bytes: bytes.parse().ok()?,
        most: most.parse().ok()?,
        context: words.next()?.to_owned(),
    })
}
