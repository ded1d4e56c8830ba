//! The forward socket as a doorbell. The daemon writes a message to it and waits for an answer; closed without a
//! byte, the message goes to the inbox instead, where it has its sender and its id. So the socket only says that
//! it is time to look, and every message takes the same way in.

use std::sync::Arc;

use futures::StreamExt as _;
use hero_runtime::{Listener, Shutdown};
use tokio::sync::Notify;

/// Rings until the shutdown; nobody waits for what is written to the socket.
pub(crate) async fn serve(
    mut listener: Listener,
    bell: Arc<Notify>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            accepted = listener.next() => match accepted {
                Some(Ok(stream)) => {
                    drop(stream);
                    bell.notify_one();
                }
                Some(Err(error)) => tracing::warn!(%error, "a ring was not heard"),
                None => return Ok(()),
            },
            () = shutdown.draining() => return Ok(()),
        }
    }
}
