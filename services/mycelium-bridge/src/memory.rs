//! What is remembered of requests, in Redis: that they came, what was answered, and that the answer arrived.

use hero_domain::{Destination, OverlayKey};
use hero_redis::{Link, Result, cmd, pipe};

/// What a message is known by: the same for every delivery of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) from: OverlayKey,
    pub(crate) id: String,
}

impl Ticket {
    /// As a member of the list of what is not finished, and in keys of jobs.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.from, self.id)
    }

    fn read(name: &str) -> Option<Self> {
        let (from, id) = name.split_once(':')?;
        Some(Self { from: from.parse().ok()?, id: id.to_owned() })
    }
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: it has just come.
    New,
    /// It came before and is not answered yet; this is what it said.
    Asked(Vec<u8>),
    /// It was answered.
    Answered(Vec<u8>),
}

/// The memory of one daemon's bridge. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Memory {
    link: Link,
    /// The node that requests come to: bridges of other daemons may share the Redis.
    own: OverlayKey,
    remember_s: u64,
}

const ASKED: u8 = b'?';
const ANSWERED: u8 = b'=';

fn marked(mark: u8, text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len() + 1);
    value.push(mark);
    value.extend_from_slice(text);
    value
}

fn known(value: Option<Vec<u8>>) -> Known {
    match value.as_deref() {
        Some([ANSWERED, text @ ..]) => Known::Answered(text.to_vec()),
        Some([_, text @ ..]) => Known::Asked(text.to_vec()),
        Some([]) | None => Known::New,
    }
}

impl Memory {
    pub(crate) fn new(link: Link, own: OverlayKey, remember_s: u64) -> Self {
        Self { link, own, remember_s }
    }

    fn request(&self, ticket: &Ticket) -> String {
        format!("overlay:{}:request:{}", self.own, ticket.name())
    }

    fn unfinished_key(&self) -> String {
        format!("overlay:{}:unfinished", self.own)
    }

    /// Notes a request, unless it is known: then nothing changes, and what is known is the answer.
    pub(crate) async fn note(&self, ticket: &Ticket, payload: &[u8]) -> Result<Known> {
        let mut both = pipe();
        both.atomic();
        both.cmd("SADD").arg(self.unfinished_key()).arg(ticket.name()).ignore();
        both.cmd("SET")
            .arg(self.request(ticket))
            .arg(marked(ASKED, payload))
            .arg("NX")
            .arg("GET")
            .arg("EX")
            .arg(self.remember_s);
        let (before,): (Option<Vec<u8>>,) = self.link.call_all(&both).await?;
        Ok(known(before))
    }

    /// Notes the answer, before it is sent.
    pub(crate) async fn answer(&self, ticket: &Ticket, answer: &[u8]) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(self.request(ticket)).arg(marked(ANSWERED, answer)).arg("EX").arg(self.remember_s);
        self.link.call(&set).await
    }

    /// The answer arrived, or there is no use in sending it any more.
    pub(crate) async fn finish(&self, tickets: &[Ticket]) -> Result<()> {
        let mut gone = cmd("SREM");
        gone.arg(self.unfinished_key());
        for ticket in tickets {
            gone.arg(ticket.name());
        }
        self.link.call(&gone).await
    }

    fn sent_key(&self, id: &str) -> String {
        format!("overlay:{}:sent:{id}", self.own)
    }

    /// Notes that a call was sent whose answer nobody waits for.
    pub(crate) async fn sent(&self, id: &str, to: &Destination) -> Result<()> {
        let mut note = pipe();
        note.atomic();
        note.cmd("HSET").arg(self.sent_key(id)).arg("to").arg(to.to_string()).ignore();
        note.cmd("EXPIRE").arg(self.sent_key(id)).arg(self.remember_s).ignore();
        self.link.call_all(&note).await
    }

    /// Where a call was sent whose answer nobody waits for; none: it was not, or long ago.
    pub(crate) async fn sent_to(&self, id: &str) -> Result<Option<Destination>> {
        let mut get = cmd("HGET");
        get.arg(self.sent_key(id)).arg("to");
        let to: Option<String> = self.link.call(&get).await?;
        Ok(to.and_then(|to| to.parse().ok()))
    }

    /// Keeps the answer to such a call; the first one stays.
    pub(crate) async fn answered(&self, id: &str, answer: &[u8]) -> Result<()> {
        let mut set = pipe();
        set.atomic();
        set.cmd("HSETNX").arg(self.sent_key(id)).arg("answer").arg(answer).ignore();
        set.cmd("EXPIRE").arg(self.sent_key(id)).arg(self.remember_s).ignore();
        self.link.call_all(&set).await
    }

    /// The answer to such a call, once it has come.
    pub(crate) async fn answer_to(&self, id: &str) -> Result<Option<Vec<u8>>> {
        let mut get = cmd("HGET");
        get.arg(self.sent_key(id)).arg("answer");
        self.link.call(&get).await
    }

    /// What a bridge before this one has left, and what is known of each.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(Ticket, Known)>> {
        let mut members = cmd("SMEMBERS");
        members.arg(self.unfinished_key());
        let names: Vec<String> = self.link.call(&members).await?;
        let mut left = Vec::with_capacity(names.len());
        for ticket in names.iter().filter_map(|name| Ticket::read(name)) {
            let mut get = cmd("GET");
            get.arg(self.request(&ticket));
            let value: Option<Vec<u8>> = self.link.call(&get).await?;
            left.push((ticket, known(value)));
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use hero_redis::{Link, RedisConfig};
    use hero_testing::RedisServer;

    use super::{Known, Memory, Ticket};

    #[tokio::test]
    async fn a_request_is_new_once_and_its_answer_is_kept() {
        let redis = RedisServer::start().unwrap();
        let link = Link::open(&RedisConfig::at(redis.url().parse().unwrap())).unwrap();
        let key = |digit: &str| digit.repeat(64).parse().unwrap();
        let memory = Memory::new(link, key("a"), 60);
        let ticket = Ticket { from: key("b"), id: "0123456789abcdef".into() };
        assert_eq!(memory.note(&ticket, b"q").await.unwrap(), Known::New);
        assert_eq!(memory.note(&ticket, b"other").await.unwrap(), Known::Asked(b"q".to_vec()));
        let other = Ticket { from: key("c"), id: ticket.id.clone() };
        assert_eq!(memory.note(&other, b"q").await.unwrap(), Known::New, "another sender's");
        memory.answer(&ticket, b"a").await.unwrap();
        assert_eq!(memory.note(&ticket, b"q").await.unwrap(), Known::Answered(b"a".to_vec()));
        let mut left = memory.unfinished().await.unwrap();
        left.sort_by_key(|(ticket, _)| ticket.name());
        let expected =
            [(ticket.clone(), Known::Answered(b"a".to_vec())), (other, Known::Asked(b"q".to_vec()))];
        assert_eq!(left, expected);
        memory.finish(&[ticket]).await.unwrap();
        assert_eq!(memory.unfinished().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_call_that_was_sent_keeps_its_first_answer() {
        let redis = RedisServer::start().unwrap();
        let link = Link::open(&RedisConfig::at(redis.url().parse().unwrap())).unwrap();
        let memory = Memory::new(link, "a".repeat(64).parse().unwrap(), 60);
        let (id, to) = ("0123456789abcdef", "mycelium://[56d::1]".parse().unwrap());
        assert_eq!(memory.sent_to(id).await.unwrap(), None);
        memory.sent(id, &to).await.unwrap();
        assert_eq!(memory.sent_to(id).await.unwrap(), Some(to));
        assert_eq!(memory.answer_to(id).await.unwrap(), None);
        memory.answered(id, b"first").await.unwrap();
        memory.answered(id, b"second").await.unwrap();
        assert_eq!(memory.answer_to(id).await.unwrap().as_deref(), Some(&b"first"[..]));
    }
}
