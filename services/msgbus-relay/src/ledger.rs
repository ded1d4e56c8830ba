//! What the bus keeps in Redis, and the only way to change it. Every change of more than one key is one script,
//! so a kill at any moment leaves each message in exactly one place.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hero_redis::{Blocking, Error, Function, Library, Link, Pipeline, Result, Script, cmd, pipe};
use serde::{Deserialize, Serialize};

use crate::{keys, message::Message, numbers::Numbers};

/// How long answers are kept in a return queue, as the contract says.
pub(crate) const RETURN_QUEUE_S: u64 = 1_800;
/// For how long a return queue that was given out may be written and read.
const PROXY_S: u64 = 2 * RETURN_QUEUE_S;
/// Dead letters that are kept.
const MAX_DEAD: usize = 10_000;
/// Items that one call moves at the start.
const RECOVERED_AT_ONCE: usize = 1_000;
/// Bytes of a message from which on it goes past the scripts: Redis' Lua reads each byte of every text that it is given,
/// which for 64 KiB costs more than all else that Redis does for the message.
const LONG: usize = 4 << 10;
/// How long a parcel is kept that no script has picked up.
const PARCEL_S: u64 = 60;
/// How long a claim lasts: far longer than any attempt, so that only what was lost is claimed again.
const LEASE: Duration = Duration::from_secs(600);

/// The keys and scripts of the bus on one Redis. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger {
    link: Link,
    scripts: Arc<Scripts>,
    numbers: Arc<Numbers>,
}

macro_rules! scripts {
    ($($name:ident),+) => {
        struct Scripts {
            $($name: Script,)+
        }

        const FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            flags: &[],
            body: include_str!(concat!("scripts/", stringify!($name), ".lua")),
        }),+];

        impl Scripts {
            fn of(library: &Library) -> Self {
                Self { $($name: library.script(stringify!($name)),)+ }
            }
        }
    };
}

scripts!(take, deliver, proxied, retry, claim, bury, recover, requeue);

/// Where an item is that is being worked on; nowhere, if it did not come from a queue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held<'a> {
    pub(crate) processing: &'a str,
    pub(crate) item: &'a [u8],
}

/// Which of the two kinds of message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Request,
    Reply,
}

impl Kind {
    const fn schedule(self) -> &'static str {
        match self {
            Self::Request => keys::OUTBOX,
            Self::Reply => keys::ANSWERS_DUE,
        }
    }

    const fn records(self) -> &'static str {
        match self {
            Self::Request => keys::BACKLOG,
            Self::Reply => keys::ANSWERS,
        }
    }
}

/// A request to be taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// Its record, as the backlog keeps it.
    pub(crate) text: &'a str,
    pub(crate) ret: &'a str,
    pub(crate) expires_ms: i64,
}

/// A request that got its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) accepted_ms: i64,
    pub(crate) ret: String,
}

/// How handing a request to its service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    Done,
    /// It was there before, and this is what was remembered of it.
    Repeated(String),
    Full,
}

/// A request on its way to the queue of its service.
pub(crate) struct Parcel<'a> {
    pub(crate) cmd: &'a str,
    pub(crate) message: &'a str,
    /// What is remembered of it, by whom and for how long; none: nothing.
    pub(crate) memory: Option<Memory<'a>>,
    /// The return queue that was given out for it.
    pub(crate) proxy: Option<&'a str>,
    pub(crate) max_queued: usize,
    pub(crate) newest_first: bool,
}

pub(crate) struct Memory<'a> {
    pub(crate) of: String,
    pub(crate) what: &'a str,
    pub(crate) seconds: u64,
}

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is tried again after this pause.
    After(Duration),
    /// It was the last attempt.
    Last,
    /// Nobody waits for it any more.
    Over,
}

/// Bounds of the attempts to send a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    pub(crate) more: i64,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) until_ms: i64,
}

/// An item that nothing could be done with, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    /// When, ms.
    pub(crate) at: i64,
    /// Where it came from and goes back to.
    pub(crate) queue: String,
    pub(crate) why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<String>,
    /// Instead of `item`, if that is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item_base64: Option<String>,
}

impl DeadLetter {
    pub(crate) fn new(queue: &str, why: String, item: &[u8]) -> Self {
        let text = str::from_utf8(item).ok().map(str::to_owned);
        let item_base64 = text.is_none().then(|| BASE64_STANDARD.encode(item));
        let id = uuid::Uuid::now_v7().to_string();
        Self { id, at: now_ms(), queue: queue.to_owned(), why, item: text, item_base64 }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.item, &self.item_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(encoded)) => BASE64_STANDARD.decode(encoded).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }
}

impl Ledger {
    pub(crate) fn new(link: Link) -> Self {
        let shared = [&keys::as_lua(), include_str!("scripts/items.lua")].concat();
        let library = Library::new("hero_msgbus", &shared, "call, try = redis.call, redis.pcall", FUNCTIONS);
        Self { link, scripts: Scripts::of(&library).into(), numbers: Arc::default() }
    }

    /// A connection of its own, to wait on a queue.
    pub(crate) async fn waiter(&self) -> Result<Blocking> {
        self.link.blocking().await
    }

    /// Puts what was worked on when the relay died back to the front of its queue.
    pub(crate) async fn recover(&self, queue: &str) -> Result<usize> {
        let mut all = 0;
        loop {
            let mut call = self.scripts.recover.command(&[], 3, queue.len() * 2);
            call.arg(queue).arg(keys::processing(queue)).arg(RECOVERED_AT_ONCE);
            let moved: usize = self.link.run(&self.scripts.recover, &call).await?;
            all += moved;
            if moved < RECOVERED_AT_ONCE {
                return Ok(all);
            }
        }
    }

    /// Whatever was being sent when the relay died is due now.
    pub(crate) async fn release_claims(&self, kind: Kind) -> Result<()> {
        let mut all = cmd("ZRANGEBYSCORE");
        all.arg(kind.schedule()).arg(now_ms()).arg("+inf");
        let ids: Vec<String> = self.link.call(&all).await?;
        for some in ids.chunks(RECOVERED_AT_ONCE) {
            let mut due = cmd("ZADD");
            due.arg(kind.schedule()).arg("XX");
            for id in some {
                due.arg(now_ms()).arg(id);
            }
            self.link.call::<i64>(&due).await?;
        }
        Ok(())
    }

    /// The uids of a new request, one for each destination.
    pub(crate) async fn uids(&self, dst: &[i64]) -> Result<Vec<String>> {
        let mut uids = Vec::with_capacity(dst.len());
        for dst in dst {
            uids.push(self.numbers.uid(&self.link, *dst).await?);
        }
        Ok(uids)
    }

    /// Takes a request in under these uids. Done twice, it is the same.
    pub(crate) async fn accept(&self, uids: &[String], held: Held<'_>, request: &Accepted<'_>) -> Result<()> {
        let (waiting, lease_end) = (format!("{}:{}", now_ms(), request.ret), lease_end());
        let mut all = pipe();
        all.atomic();
        for uid in uids {
            all.cmd("HSET").arg(keys::BACKLOG).arg(uid).arg(request.text).ignore();
            all.cmd("HSET").arg(keys::WAITING).arg(uid).arg(&waiting).ignore();
            all.cmd("ZADD").arg(keys::EXPIRY).arg(request.expires_ms).arg(uid).ignore();
            all.cmd("ZADD").arg(keys::OUTBOX).arg(lease_end).arg(uid).ignore();
        }
        if !held.processing.is_empty() {
            all.cmd("LREM").arg(held.processing).arg(1).arg(held.item).ignore();
        }
        self.link.call_all(&all).await
    }

    /// Gives a request its answer, if it has none yet. The answer's own return queue is replaced by the asker's.
    /// `ends_sending`: the request is not sent any more; otherwise its sender settles it.
    pub(crate) async fn take(
        &self,
        held: Held<'_>,
        uid: &str,
        answer: &Message,
        ends_sending: bool,
    ) -> Result<Option<Taken>> {
        let mut text = answer.to_json_for("");
        // Quotes inside of a text are escaped, so this is the member itself.
        let at = text.rfind(r#","ret":"""#).map_or(text.len() - 2, |at| at + r#","ret":"#.len());
        let (mut head, mut tail, mut parcel) = (&text[..at], &text[at + 2..], String::new());
        if text.len() > LONG {
            let mut get = cmd("HGET");
            get.arg(keys::WAITING).arg(uid);
            let waiting: Option<String> = self.link.call(&get).await?;
            // Without any the script lets the item go, and no more.
            if let Some((_, ret)) = waiting.as_deref().and_then(|it| it.split_once(':')) {
                text.replace_range(at..at + 2, &serde_json::Value::from(ret).to_string());
                parcel = self.parcel(&text).await?;
            }
            (head, tail) = ("", "");
        }
        let mut call = self.scripts.take.command(&[], 8, held.item.len() + head.len() + tail.len() + 128);
        call.arg(held.processing).arg(held.item).arg(uid);
        call.arg(head).arg(tail).arg(RETURN_QUEUE_S).arg(parcel).arg(i32::from(ends_sending));
        let taken: Option<(i64, String)> = self.link.run(&self.scripts.take, &call).await?;
        Ok(taken.map(|(accepted_ms, ret)| Taken { accepted_ms, ret }))
    }

    /// Puts a long text where a script can move it from; the key of that.
    async fn parcel(&self, text: &str) -> Result<String> {
        let key = format!("{}{}", keys::PARCEL, uuid::Uuid::new_v4());
        let mut put = pipe();
        put.cmd("RPUSH").arg(&key).arg(text).ignore();
        put.cmd("EXPIRE").arg(&key).arg(PARCEL_S).ignore();
        self.link.call_all::<()>(&put).await?;
        Ok(key)
    }

    /// Takes in a reply for another twin. Done twice (the answer to the first time was lost), it is sent twice, and the
    /// asker's relay knows it.
    pub(crate) async fn answer(&self, held: Held<'_>, id: &str, record: &Message) -> Result<()> {
        let mut all = pipe();
        all.atomic();
        all.cmd("HSET").arg(keys::ANSWERS).arg(id).arg(record.to_json()).ignore();
        all.cmd("ZADD").arg(keys::ANSWERS_DUE).arg(lease_end()).arg(id).ignore();
        all.cmd("LREM").arg(held.processing).arg(1).arg(held.item).ignore();
        self.link.call_all(&all).await
    }

    /// Hands a request to its service.
    pub(crate) async fn deliver(&self, held: Held<'_>, parcel: &Parcel<'_>) -> Result<Delivery> {
        let memory = parcel.memory.as_ref();
        let (mut message, mut beside) = (parcel.message, String::new());
        if message.len() > LONG {
            beside = self.parcel(message).await?;
            message = "";
        }
        let mut call = self.scripts.deliver.command(&[], 12, held.item.len() + message.len() + 256);
        call.arg(held.processing).arg(held.item);
        call.arg(memory.map_or(String::new(), |memory| format!("{}{}", keys::SEEN, memory.of)));
        call.arg(memory.map_or(0, |memory| memory.seconds)).arg(memory.map_or("", |memory| memory.what));
        call.arg(keys::command(parcel.cmd)).arg(if parcel.newest_first { "LPUSH" } else { "RPUSH" });
        call.arg(parcel.max_queued).arg(message);
        call.arg(parcel.proxy.map_or(String::new(), |ret| format!("{}{ret}", keys::PROXY))).arg(PROXY_S);
        call.arg(beside);
        let (code, remembered): (i64, String) = self.link.run(&self.scripts.deliver, &call).await?;
        Ok(match code {
            0 => Delivery::Done,
            1 => Delivery::Repeated(remembered),
            _ => Delivery::Full,
        })
    }

    /// Puts a reply to a /zbus-cmd where /zbus-result finds it; false: there is no such return queue.
    pub(crate) async fn proxied(&self, held: Held<'_>, reply: &Message) -> Result<bool> {
        let text = reply.to_json();
        let mut call = self.scripts.proxied.command(&[], 6, held.item.len() + text.len() + 64);
        call.arg(held.processing).arg(held.item).arg(format!("{}{}", keys::PROXY, reply.ret));
        call.arg(&reply.ret).arg(text).arg(RETURN_QUEUE_S);
        Ok(self.link.run::<i64>(&self.scripts.proxied, &call).await? == 1)
    }

    /// What is in a return queue that was given out; none of it is consumed.
    pub(crate) async fn proxy_results(&self, ret: &str) -> Result<Vec<Vec<u8>>> {
        let mut all = pipe();
        all.cmd("EXISTS").arg(format!("{}{ret}", keys::PROXY));
        all.cmd("LRANGE").arg(ret).arg(0).arg(-1);
        // A service that writes there itself forgets to.
        all.cmd("EXPIRE").arg(ret).arg(RETURN_QUEUE_S).arg("NX").ignore();
        let (is_known, items): (bool, Vec<Vec<u8>>) = self.link.call_all(&all).await?;
        Ok(if is_known { items } else { Vec::new() })
    }

    /// The answers in a return queue; none of them is consumed.
    pub(crate) async fn answers(&self, ret: &str) -> Result<Vec<Vec<u8>>> {
        let mut all = cmd("LRANGE");
        all.arg(ret).arg(0).arg(-1);
        self.link.call(&all).await
    }

    /// What is to be sent under this id; none: nothing any more.
    pub(crate) async fn record(&self, kind: Kind, id: &str) -> Result<Option<Message>> {
        let mut get = cmd("HGET");
        get.arg(kind.records()).arg(id);
        let text: Option<Vec<u8>> = self.link.call(&get).await?;
        Ok(text.and_then(|text| Message::from_json(&text).ok()))
    }

    /// The destinations have these.
    pub(crate) async fn settle(&self, kind: Kind, ids: &[&str]) -> Result<()> {
        let mut done = pipe();
        done.cmd("ZREM").arg(kind.schedule()).arg(ids).ignore();
        done.cmd("HDEL").arg(keys::FAILURES).arg(ids).ignore();
        if kind == Kind::Reply {
            done.cmd("HDEL").arg(keys::ANSWERS).arg(ids).ignore();
        }
        self.link.call_all(&done).await
    }

    /// Sending has failed; what now?
    pub(crate) async fn retry(&self, kind: Kind, id: &str, attempts: Attempts) -> Result<Next> {
        let mut call = self.scripts.retry.command(&[], 7, 128);
        call.arg(kind.schedule()).arg(id).arg(attempts.more.max(0)).arg(now_ms());
        call.arg(millis(attempts.first_pause)).arg(millis(attempts.longest_pause)).arg(attempts.until_ms);
        Ok(match self.link.run::<i64>(&self.scripts.retry, &call).await? {
            -2 => Next::Over,
            -1 => Next::Last,
            pause => Next::After(Duration::from_millis(pause.unsigned_abs())),
        })
    }

    /// Claims messages that are due to be sent.
    pub(crate) async fn claim(&self, kind: Kind, most: usize) -> Result<Vec<String>> {
        let mut call = self.scripts.claim.command(&[], 4, 64);
        call.arg(kind.schedule()).arg(now_ms()).arg(lease_end()).arg(most);
        self.link.run(&self.scripts.claim, &call).await
    }

    /// Uids of requests that have expired.
    pub(crate) async fn expired(&self, most: usize) -> Result<Vec<String>> {
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(keys::EXPIRY).arg("-inf").arg(now_ms()).arg("LIMIT").arg(0).arg(most);
        self.link.call(&range).await
    }

    /// Forgets an expiry that belongs to nothing.
    pub(crate) async fn forget_expiry(&self, uid: &str) -> Result<()> {
        let mut forget = pipe();
        forget.cmd("ZREM").arg(keys::EXPIRY).arg(uid).ignore();
        forget.cmd("HDEL").arg(keys::WAITING).arg(uid).ignore();
        forget.cmd("HDEL").arg(keys::BACKLOG).arg(uid).ignore();
        self.link.call_all(&forget).await
    }

    /// Puts away what nothing can be done with; `reply` is the id of a reply that is not sent any more.
    pub(crate) async fn bury(&self, held: Held<'_>, letter: &DeadLetter, reply: &str) -> Result<()> {
        let letter = encode(letter);
        let mut call = self.scripts.bury.command(&[], 5, held.item.len() + letter.len() + 64);
        call.arg(held.processing).arg(held.item).arg(letter).arg(MAX_DEAD).arg(reply);
        self.link.run::<i64>(&self.scripts.bury, &call).await.map(drop)
    }

    /// Answers an item that is no request with an error, and is done with it.
    pub(crate) async fn refuse(&self, held: Held<'_>, ret: &str, answer: &Message) -> Result<()> {
        let mut refuse = pipe();
        refuse.atomic();
        refuse.cmd("RPUSH").arg(ret).arg(answer.to_json()).ignore();
        refuse.cmd("EXPIRE").arg(ret).arg(RETURN_QUEUE_S).ignore();
        refuse.cmd("LREM").arg(held.processing).arg(1).arg(held.item).ignore();
        self.link.call_all(&refuse).await
    }

    /// The dead letters, the oldest first.
    pub(crate) async fn dead(&self, most: usize) -> Result<Vec<DeadLetter>> {
        let mut range = cmd("LRANGE");
        range.arg(keys::DEAD).arg(0).arg(most.max(1) - 1);
        let texts: Vec<Vec<u8>> = self.link.call(&range).await?;
        Ok(texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
    }

    /// Puts dead letters back into their queues: those with these ids, or all. How many those were.
    pub(crate) async fn requeue(&self, ids: &[String]) -> Result<u64> {
        let mut range = cmd("LRANGE");
        range.arg(keys::DEAD).arg(0).arg(-1);
        let texts: Vec<Vec<u8>> = self.link.call(&range).await?;
        let mut count = 0;
        for text in texts {
            let Ok(letter) = serde_json::from_slice::<DeadLetter>(&text) else { continue };
            if ids.is_empty() || ids.contains(&letter.id) {
                let mut call = self.scripts.requeue.command(&[], 3, text.len() * 2);
                call.arg(text).arg(&letter.queue).arg(letter.bytes());
                count += self.link.run::<u64>(&self.scripts.requeue, &call).await?;
            }
        }
        Ok(count)
    }

    /// How much there is: requests that wait for an answer, messages to be sent, dead letters.
    pub(crate) async fn depths(&self) -> Result<[u64; 3]> {
        let mut all = pipe();
        all.cmd("HLEN").arg(keys::WAITING);
        all.cmd("ZCARD").arg(keys::OUTBOX);
        all.cmd("ZCARD").arg(keys::ANSWERS_DUE);
        all.cmd("LLEN").arg(keys::DEAD);
        let (waiting, requests, replies, dead): (u64, u64, u64, u64) = self.link.call_all(&all).await?;
        Ok([waiting, requests + replies, dead])
    }
}

/// Moves the next items of a queue to where they are worked on, up to so many: the first one is waited for, the others
/// are there or not.
pub(crate) fn next_items(queue: &str, longest: Duration, count: usize) -> Pipeline {
    let (mut next, processing) = (pipe(), keys::processing(queue));
    let first = next.cmd("BLMOVE").arg(queue).arg(&processing).arg("LEFT").arg("RIGHT");
    first.arg(longest.as_secs_f64());
    for _ in 1..count {
        next.cmd("LMOVE").arg(queue).arg(&processing).arg("LEFT").arg("RIGHT");
    }
    next
}

/// Whether a repeat of a failed call makes sense.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Away { .. } | Error::Full { .. })
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

fn lease_end() -> i64 {
    now_ms() + millis(LEASE)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn encode(letter: &DeadLetter) -> String {
    serde_json::to_string(letter).unwrap_or_default()
}
