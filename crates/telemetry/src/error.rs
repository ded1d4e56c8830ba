//! What can go wrong while telemetry is set up.

/// Why telemetry could not be set up or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A log filter that cannot be read.
    #[error(
        "`{filter}` is not a log filter: write a level (info) or levels by target (info,hero_store=debug)"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What the parser says.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no log output in this process whose filter could be changed.
    #[error("the log filter cannot be changed: this process has not set up its logs")]
    NoLogs,
    /// Telemetry was set up before.
    #[error("telemetry is set up once in a process, and it was set up before")]
    AlreadySetUp,
    /// An exporter could not be made.
    #[error("cannot export telemetry to {endpoint}: {message}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// Why not.
        message: String,
    },
    /// The metrics could not be written.
    #[error("cannot write the metrics: {0}")]
    Metrics(String),
}
