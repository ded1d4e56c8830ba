//! Whether a Redis is fit to keep jobs.

/// What a check of Redis found: fit, with warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitness {
    /// The server's version.
    pub version: String,
    /// What an operator should know, in words.
    pub warnings: Vec<String>,
}
