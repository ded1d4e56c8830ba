//! Waiting for work, and for what a runner is told.
//!
//! A list has a connection of its own that blocks in `BLMOVE`: the id goes from the queue into the runner's
//! in-flight list in one step, so it cannot get lost, and exactly one runner is woken.

use std::time::Duration;

use hero_domain::JobId;
use hero_redis::{Blocking, Cmd, FromRedisValue, Link, cmd};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{Lane, Session, Store, api::Result, keys};

/// How long a blocking read waits inside Redis before it asks again.
const BLOCK: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A blocking read that is repeated for ever: reconnects by itself, with growing pauses.
pub(crate) struct Repeated {
    link: Link,
    what: &'static str,
    connection: Option<Blocking>,
    pause: Duration,
}

impl Repeated {
    pub(crate) fn new(link: &Link, what: &'static str) -> Self {
        Self { link: link.clone(), what, connection: None, pause: FIRST_PAUSE }
    }

    /// One try; none after a failure and a pause, which the caller repeats.
    pub(crate) async fn call<T: FromRedisValue>(&mut self, call: &Cmd) -> Option<T> {
        match self.try_call(call).await {
            Ok(answer) => {
                self.pause = FIRST_PAUSE;
                Some(answer)
            }
            Err(error) => {
                self.connection = None;
                tracing::warn!(
                    what = self.what,
                    error = &error as &dyn std::error::Error,
                    pause_ms = self.pause.as_millis() as u64,
                    "a blocking read failed and will be repeated"
                );
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                None
            }
        }
    }

    async fn try_call<T: FromRedisValue>(&mut self, call: &Cmd) -> hero_redis::Result<T> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.link.blocking().await?),
        };
        connection.call(call, BLOCK).await
    }
}

/// The wait for work of one lane: blocking connections of its own, reconnecting by themselves.
pub struct Work {
    ids: mpsc::Receiver<JobId>,
    wanted: watch::Sender<bool>,
    _readers: JoinSet<()>,
}

/// While this is there, ids are taken from the queues.
struct Wanting<'a>(&'a watch::Sender<bool>);

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Work {
    pub(crate) fn start(store: &Store, session: &Session, lane: &Lane) -> Self {
        let lists = keys::lists(lane, false);
        let (sender, ids) = mpsc::channel(lists.len());
        let wanted = watch::Sender::new(false);
        let mut readers = JoinSet::new();
        for list in lists {
            let inflight = keys::hand(&session.runner, lane);
            readers.spawn(read_list(store.clone(), list, inflight, wanted.clone(), sender.clone()));
        }
        Self { ids, wanted, _readers: readers }
    }

    /// The next id that was moved into the runner's in-flight list; pass it to [`crate::JobStore::exchange`]
    /// as `taken`. Only while this is being awaited are ids taken from the queues; one that a connection was
    /// just moving when the wait was dropped comes out of the next call, or of [`Work::moved`].
    ///
    /// # Errors
    /// None at present: it reconnects by itself for as long as it is awaited.
    pub async fn next(&mut self) -> Result<JobId> {
        if let Ok(id) = self.ids.try_recv() {
            return Ok(id);
        }
        self.wanted.send_replace(true);
        let _wanting = Wanting(&self.wanted);
        match self.ids.recv().await {
            Some(id) => Ok(id),
            // The readers only end with this value.
            None => std::future::pending().await,
        }
    }

    /// An id that was moved already.
    pub fn try_moved(&mut self) -> Option<JobId> {
        self.ids.try_recv().ok()
    }

    /// An id that was moved after a wait had been dropped, without taking more: await it while no slot is
    /// free, and hand what comes back by an exchange that wants none.
    pub async fn moved(&mut self) -> JobId {
        match self.ids.recv().await {
            Some(id) => id,
            None => std::future::pending().await,
        }
    }
}

async fn read_list(
    store: Store,
    list: String,
    inflight: String,
    wanted: watch::Sender<bool>,
    ids: mpsc::Sender<JobId>,
) {
    let mut take = cmd("BLMOVE");
    take.arg(&list).arg(&inflight).arg("LEFT").arg("RIGHT").arg(BLOCK.as_secs());
    let mut repeated = Repeated::new(store.link(), "wait for work");
    let mut is_wanted = wanted.subscribe();
    loop {
        if is_wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
            return;
        }
        let taken = match repeated.call::<Option<String>>(&take).await {
            Some(taken) => taken,
            None if *is_wanted.borrow() => take_from_full(&store, &list, &inflight).await,
            None => None,
        };
        let Some(taken) = taken else { continue };
        // The others stop as well: whoever waits looks at the queues as a whole next.
        wanted.send_replace(false);
        match taken.parse() {
            Ok(id) => {
                if ids.send(id).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(
                    list,
                    error = &error as &dyn std::error::Error,
                    "dropped what is no job id from a queue"
                );
                let mut drop = cmd("LREM");
                drop.arg(&inflight).arg(1).arg(&taken);
                let _dropped: Option<i64> = repeated.call(&drop).await;
                wanted.send_replace(true);
            }
        }
    }
}

/// Redis that has used up its memory refuses the move, though nothing frees memory but jobs that run: a script
/// may make it. It does not block, so it is asked in the pauses of the blocking read.
async fn take_from_full(store: &Store, list: &str, inflight: &str) -> Option<String> {
    let script = &store.scripts().take;
    let mut take = script.command(&[], 2, 256);
    take.arg(list).arg(inflight);
    store.link().run(script, &take).await.ok().flatten()
}

/// What a runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlMessage {
    /// Kill this job: it was stopped or deleted.
    Stop(JobId),
    /// Take no new jobs (true), or take them again (false).
    Drain(bool),
}

impl ControlMessage {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ')? {
            ("stop", id) => id.parse().ok().map(Self::Stop),
            ("drain", flag) => Some(Self::Drain(flag == "1")),
            _ => None,
        }
    }
}

/// The messages to one runner. What gets lost on the way is said again by every renewal of its lease.
pub struct Control {
    messages: mpsc::Receiver<ControlMessage>,
    _reader: JoinSet<()>,
}

impl Control {
    pub(crate) fn start(link: &Link, session: &Session) -> Self {
        let (sender, messages) = mpsc::channel(16);
        let mut repeated = Repeated::new(link, "wait for control messages");
        let mut pop = cmd("BLPOP");
        pop.arg(keys::control(&session.runner)).arg(BLOCK.as_secs());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            loop {
                let Some(Some((_, text))) = repeated.call::<Option<(String, String)>>(&pop).await else {
                    continue;
                };
                match ControlMessage::parse(&text) {
                    Some(message) => {
                        if sender.send(message).await.is_err() {
                            return;
                        }
                    }
                    None => tracing::warn!(text, "dropped a control message that is not known"),
                }
            }
        });
        Self { messages, _reader: reader }
    }

    /// The next message; waits, and reconnects by itself.
    pub async fn next(&mut self) -> ControlMessage {
        match self.messages.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }
}
