//! Waiting on a condition instead of for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Waits until the condition holds, looking again and again.
///
/// # Panics
/// It does not hold within `longest`; the message names it.
pub async fn eventually<F, C>(what: &str, longest: Duration, mut condition: C)
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    let begin = Instant::now();
    while !condition().await {
        assert!(begin.elapsed() < longest, "not within {longest:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
