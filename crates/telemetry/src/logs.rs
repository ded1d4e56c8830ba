//! Log lines on stderr: for people on a terminal, JSON for everything else.

use std::io::{IsTerminal as _, stderr};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry::LookupSpan, reload};

use crate::{Error, LogFormat, Result};

type SetFilter = dyn Fn(EnvFilter) -> Result<()> + Send + Sync;

/// Changes what is logged while the process runs.
pub(crate) struct LogFilter {
    set: Box<SetFilter>,
}

impl LogFilter {
    pub(crate) fn set(&self, filter: &str) -> Result<()> {
        (self.set)(parse(filter)?)
    }
}

pub(crate) fn parse(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(filter).map_err(|source| Error::Filter { filter: filter.to_owned(), source })
}

/// The layer that writes log lines, and the handle on its filter.
pub(crate) fn layer<S>(filter: &str, format: LogFormat) -> Result<(impl Layer<S>, LogFilter)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let is_pretty = match format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = if is_pretty {
        fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()).with_target(false).boxed()
    } else {
        fmt::layer().with_writer(stderr).json().flatten_event(true).with_span_list(false).boxed()
    };
    let set = move |filter| handle.reload(filter).map_err(|_| Error::NoLogs);
    Ok((lines.with_filter(filter), LogFilter { set: Box::new(set) }))
}
