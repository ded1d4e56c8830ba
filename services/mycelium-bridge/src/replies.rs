//! Answers on their way: each is followed until it arrived or its deadline passed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hero_client::mycelium::{Daemon, MessageState};
use hero_runtime::Shutdown;
use tokio::sync::mpsc;

use crate::{
    config::RepliesConfig,
    memory::{Memory, Ticket},
    stats::Outgoing,
};

/// Answers that are asked about in one request.
const AT_ONCE: usize = 100;
/// The longest pause between two looks at one answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An answer that is on its way, or still has to go there.
pub(crate) struct Reply {
    pub(crate) ticket: Ticket,
    pub(crate) text: Arc<[u8]>,
    /// Whether the daemon has it.
    pub(crate) is_sent: bool,
}

struct Followed {
    reply: Reply,
    deadline: Instant,
    look_at: Instant,
    pause: Duration,
}

/// Hands an answer to the daemon; a daemon that is away gets it when it is back.
pub(crate) async fn send(daemon: &Daemon, ticket: &Ticket, text: &[u8]) -> bool {
    match daemon.reply(&ticket.id, &ticket.from, text).await {
        Ok(()) => {
            Outgoing::Sent.count();
            true
        }
        Err(error) => {
            tracing::debug!(%error, id = ticket.id, "the daemon did not take an answer");
            false
        }
    }
}

/// Follows answers until the end of the process; what is left then is in Redis.
pub(crate) async fn follow(
    daemon: Daemon,
    memory: Memory,
    config: RepliesConfig,
    mut replies: mpsc::UnboundedReceiver<Reply>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let first = Duration::from_millis(config.look_ms);
    let mut followed: Vec<Followed> = Vec::new();
    loop {
        let next = followed.iter().map(|reply| reply.look_at).min();
        let look = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reply = replies.recv() => match reply {
                Some(reply) => {
                    let now = Instant::now();
                    let pause = if reply.is_sent { first } else { Duration::ZERO };
                    let deadline = now + Duration::from_millis(config.deadline_ms);
                    followed.push(Followed { reply, deadline, look_at: now + pause, pause: first });
                }
                // Nobody answers any more; what was sent gets a last look.
                None => {
                    look_at(&daemon, &memory, &mut followed, true).await;
                    return Ok(());
                }
            },
            () = look => look_at(&daemon, &memory, &mut followed, false).await,
            () = shutdown.grace_over() => return Ok(()),
        }
    }
}

async fn look_at(daemon: &Daemon, memory: &Memory, followed: &mut Vec<Followed>, all: bool) {
    // Answers that come together are asked about together.
    let soon = Instant::now() + Duration::from_millis(20);
    let mut due: Vec<Followed> = Vec::new();
    let mut index = 0;
    while index < followed.len() && due.len() < AT_ONCE {
        if all || followed[index].look_at <= soon {
            due.push(followed.swap_remove(index));
        } else {
            index += 1;
        }
    }
    let asked: Vec<String> =
        due.iter().filter(|it| it.reply.is_sent).map(|it| it.reply.ticket.id.clone()).collect();
    let states = daemon.states(&asked).await;
    let mut states =
        states.map(Vec::into_iter).unwrap_or_else(|_| vec![MessageState::Pending; asked.len()].into_iter());
    let mut finished = Vec::new();
    for mut it in due {
        let state = if it.reply.is_sent { states.next() } else { Some(MessageState::Unknown) };
        match state.unwrap_or(MessageState::Pending) {
            MessageState::Received => {
                Outgoing::Received.count();
                finished.push(it.reply.ticket);
                continue;
            }
            _ if Instant::now() >= it.deadline => {
                Outgoing::GivenUp.count();
                tracing::warn!(id = it.reply.ticket.id, to = %it.reply.ticket.from, "an answer did not arrive in time");
                finished.push(it.reply.ticket);
                continue;
            }
            state @ (MessageState::Aborted | MessageState::Unknown) => {
                let was_sent = it.reply.is_sent;
                match state {
                    MessageState::Aborted => Outgoing::Aborted.count(),
                    _ if was_sent => Outgoing::Forgotten.count(),
                    _ => {}
                }
                it.reply.is_sent = send(daemon, &it.reply.ticket, &it.reply.text).await;
                Outgoing::SentAgain.count();
            }
            MessageState::Pending => Outgoing::Pending.count(),
        }
        it.look_at = Instant::now() + it.pause;
        it.pause = (it.pause * 2).min(LONGEST_PAUSE);
        followed.push(it);
    }
    if !finished.is_empty()
        && let Err(error) = memory.finish(&finished).await
    {
        // They are sent once more after the next start, and the receiver knows them by their id.
        tracing::debug!(%error, "it was not noted that answers arrived");
    }
}
