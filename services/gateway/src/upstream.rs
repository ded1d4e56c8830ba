//! Whether the supervisor is there: readiness follows it.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use hero_domain::ports::Ports;
use hero_runtime::{Condition, Shutdown};

use crate::auth::{Authenticator, Probe};

/// The pause between two looks at a supervisor that answers.
const STEADY: Duration = Duration::from_secs(5);
/// The pause after a look that found nobody; the first ones are short, so that a start is not held up.
const FIRST: Duration = Duration::from_millis(50);

/// Looks after the supervisor until the shutdown; fails when it may not be served at all.
pub(crate) async fn watch<P: Ports>(
    auth: Arc<Authenticator<P>>,
    condition: Condition,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut pause = FIRST;
    loop {
        match auth.probe().await {
            Ok(Probe::Fine) => {
                condition.ready();
                pause = FIRST;
            }
            Ok(Probe::Open) => {
                condition.unready("the supervisor has no secret configured");
                bail!(
                    "this gateway listens where others can reach it, but the supervisor has no secret configured, so \
                     everybody could run scripts here; configure a secret there, listen on 127.0.0.1, or say \
                     --insecure-no-auth if that is wanted"
                );
            }
            Err(error) => {
                condition.unready(format!("the supervisor does not answer: {error}"));
                pause = (pause * 2).min(STEADY);
            }
        }
        let pause = if condition.is_ready() { STEADY } else { pause };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.draining() => return Ok(()),
        }
    }
}
