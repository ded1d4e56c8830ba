//! The queues of the contract, each with a consumer of its own. An item is moved, not popped, to where it is worked
//! on, and leaves that place with the very script that puts it where it belongs.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use hero_runtime::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    keys,
    ledger::{Accepted, Delivery, Held, Kind, Memory, Parcel, next_items},
    message::{Invalid, Message},
    outbox::dispatch,
    relay::{Shared, destination_of, expires_ms, invalid_request, now_s},
    stats::{self, Event},
};

/// The most items that are fetched at once.
const AT_ONCE: usize = 32;
/// How long one wait for an item takes.
const WAIT: Duration = Duration::from_secs(5);
/// The pause while a service does not keep up with its queue.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Local,
    Remote,
    Reply,
    Rpc,
}

impl Queue {
    pub(crate) fn key(self) -> String {
        match self {
            Self::Local => keys::LOCAL.to_owned(),
            Self::Remote => keys::REMOTE.to_owned(),
            Self::Reply => keys::REPLY.to_owned(),
            Self::Rpc => keys::command(keys::RPC_COMMAND),
        }
    }

    /// How many items may be fetched at once, and are worked on side by side on one processor.
    const fn at_once(self) -> usize {
        match self {
            Self::Local | Self::Reply => AT_ONCE,
            // Each may take long.
            Self::Remote | Self::Rpc => 1,
        }
    }
}

/// The consumer of one queue. Clones share the bound on what is worked on.
#[derive(Clone)]
pub(crate) struct Consumer {
    relay: Shared,
    queue: Queue,
    most: u32,
    places: Arc<Semaphore>,
}

impl Consumer {
    pub(crate) fn new(relay: &Shared, queue: Queue, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self { relay: Arc::clone(relay), queue, most: u32::try_from(most).unwrap_or(u32::MAX), places }
    }

    /// Consumes until the shutdown; fails when the connection does.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let queue = self.queue.key();
        // When nobody works on anything, whatever is there was lost by a kill or with a connection.
        let all = self.places.acquire_many(self.most).await?;
        let recovered = self.relay.ledger.recover(&queue).await?;
        if recovered > 0 {
            tracing::info!(queue, recovered, "items that were worked on are worked on again");
        }
        drop(all);
        let mut waiter = self.relay.ledger.waiter().await?;
        // More when there were more the last time.
        let mut wanted = 1;
        loop {
            let first = Arc::clone(&self.places).acquire_owned().await?;
            let others = wanted.min(1 + self.places.available_permits()) - 1;
            let others = Arc::clone(&self.places).acquire_many_owned(u32::try_from(others)?).await?;
            let next = next_items(&queue, WAIT, 1 + others.num_permits());
            let items: Vec<Option<Vec<u8>>> = tokio::select! {
                items = waiter.call_all(&next, WAIT) => items?,
                () = shutdown.requested() => break,
            };
            let asked = items.len();
            let items: Vec<Vec<u8>> = items.into_iter().flatten().collect();
            wanted = if items.len() < asked { items.len().max(1) } else { 2 * asked };
            wanted = wanted.min(self.queue.at_once());
            if !items.is_empty() {
                tokio::spawn(handle_all(Arc::clone(&self.relay), self.queue, items, first, others));
            }
        }
        // What is being worked on gets to its end, if the grace lasts.
        tokio::select! {
            _ = self.places.acquire_many(self.most) => {}
            () = shutdown.grace_over() => {}
        }
        Ok(())
    }
}

/// Works on items side by side, so that what they ask of Redis goes there together; each gives up its place when it is
/// done.
async fn handle_all(
    relay: Shared,
    queue: Queue,
    items: Vec<Vec<u8>>,
    first: OwnedSemaphorePermit,
    mut others: OwnedSemaphorePermit,
) {
    let places = std::iter::once(first).chain(std::iter::from_fn(|| others.split(1)));
    let work: Vec<_> = items.iter().zip(places).collect();
    drop(others);
    let each = work.into_iter().map(|(item, place)| {
        let relay = &relay;
        async move {
            handle(relay, queue, item).await;
            drop(place);
        }
    });
    join_all(each).await;
}

async fn handle(relay: &Shared, queue: Queue, item: &[u8]) {
    let key = queue.key();
    let processing = keys::processing(&key);
    let held = Held { processing: &processing, item };
    let message = match Message::from_json(item) {
        Ok(message) => message,
        Err(error) => return relay.bury(held, &key, format!("no message: {error}"), item, "").await,
    };
    match queue {
        Queue::Local => local(relay, held, message).await,
        Queue::Remote => remote(relay, held, message).await,
        Queue::Reply => reply(relay, held, message).await,
        Queue::Rpc => crate::rpc::serve(relay, held, message).await,
    }
}

/// A request of a local program.
async fn local(relay: &Shared, held: Held<'_>, message: Message) {
    if let Some(why) = invalid_request(&message) {
        return refuse(relay, held, message, why).await;
    }
    if !keys::is_return_queue(&message.ret) {
        let why = "the return queue is a control key of the bus".to_owned();
        return relay.bury(held, keys::LOCAL, why, held.item, "").await;
    }
    accept(relay, held, message).await;
}

/// Takes a valid request in and sends it; the uids by destination.
pub(crate) async fn accept(relay: &Shared, held: Held<'_>, message: Message) -> Option<Vec<String>> {
    let record = Message {
        uid: String::new(),
        src: 0,
        now: now_s(),
        pxy: false,
        err: String::new(),
        sig: String::new(),
        ..message
    };
    let (text, expires_ms) = (record.to_json(), expires_ms(&record));
    let request = Accepted { text: &text, ret: &record.ret, expires_ms };
    let uids = relay.insist("number", || relay.ledger.uids(&record.dst)).await?;
    relay.insist("accept", || relay.ledger.accept(&uids, held, &request)).await?;
    let record = Arc::new(record);
    for (uid, dst) in uids.iter().zip(&record.dst) {
        stats::count(Event::Accepted);
        dispatch(relay, *dst, Kind::Request, uid, Some(Arc::clone(&record)));
    }
    Some(uids)
}

/// An invalid request is told so, where that cannot loop.
async fn refuse(relay: &Shared, held: Held<'_>, message: Message, why: String) {
    let why = format!("received invalid message: {why}");
    if !keys::is_return_queue(&message.ret) {
        return relay.bury(held, keys::LOCAL, why, held.item, "").await;
    }
    let ret = message.ret.clone();
    let answer = Message { now: now_s(), err: why.clone(), ..message };
    if relay.insist("refuse", || relay.ledger.refuse(held, &ret, &answer)).await.is_some() {
        stats::count(Event::Failed);
        relay.waiters.wake(&ret);
    } else if !relay.shutdown.is_requested() {
        relay.bury(held, keys::LOCAL, why, held.item, "").await;
    }
}

/// A request of another twin that an old daemon left behind, checked when it came.
async fn remote(relay: &Shared, held: Held<'_>, message: Message) {
    let why = message.validate().err().map(|invalid| invalid.to_string());
    if let Some(why) = why.or_else(|| keys::refused_command(&message.cmd).map(str::to_owned)) {
        return relay.bury(held, keys::REMOTE, why, held.item, "").await;
    }
    let text = message.to_json();
    let accept = &relay.config.accept;
    loop {
        let memory =
            Memory { of: format!("{}.{}", message.src, message.uid), what: "", seconds: accept.memory_s };
        let parcel = Parcel {
            cmd: &message.cmd,
            message: &text,
            memory: (!message.uid.is_empty()).then_some(memory),
            proxy: None,
            max_queued: accept.max_queued,
            newest_first: accept.newest_first,
        };
        match relay.insist("deliver", || relay.ledger.deliver(held, &parcel)).await {
            Some(Delivery::Full) => {}
            Some(_) => return stats::count(Event::Received),
            None => return,
        }
        tokio::select! {
            () = tokio::time::sleep(FULL_PAUSE) => {}
            () = relay.shutdown.requested() => return,
        }
    }
}

/// A reply of a local service: for another twin, or for this one.
async fn reply(relay: &Shared, held: Held<'_>, message: Message) {
    let Some(dst) = message.dst.first().copied() else {
        return relay.bury(held, keys::REPLY, "missing twin destination".to_owned(), held.item, "").await;
    };
    let why = match message.validate() {
        // What it asks for itself is not used.
        Err(invalid) if invalid != Invalid::NoReturnQueue => invalid.to_string(),
        _ if message.pxy => {
            let is_queue = message.ret.parse::<uuid::Uuid>().is_ok();
            let put =
                || async { if is_queue { relay.ledger.proxied(held, &message).await } else { Ok(false) } };
            match relay.insist("proxied", put).await {
                Some(true) => return stats::count(Event::Replied),
                Some(false) => "nobody waits in this return queue".to_owned(),
                None => return,
            }
        }
        _ if dst == relay.me && destination_of(&message.uid) == Some(message.src) => {
            let uid = &message.uid;
            relay.insist("answer", || relay.answer(held, uid, &message, Event::Answered)).await;
            return;
        }
        _ if dst == relay.me => format!("twin {} was not asked under uid {}", message.src, message.uid),
        _ if message.src == relay.me => return forward(relay, held, dst, message).await,
        _ => format!("twin {} is neither its source nor its destination; swap src and dst", relay.me),
    };
    relay.bury(held, keys::REPLY, why, held.item, "").await;
}

/// A reply goes to the twin that asked.
pub(crate) async fn forward(relay: &Shared, held: Held<'_>, dst: i64, message: Message) {
    let id = format!("{dst}:{}", message.uid);
    let record = Message { now: now_s(), sig: String::new(), ..message };
    if relay.insist("reply", || relay.ledger.answer(held, &id, &record)).await.is_some() {
        dispatch(relay, dst, Kind::Reply, &id, Some(Arc::new(record)));
    }
}
