//! Who a twin is: its account and where its relay listens, looked up elsewhere and remembered for a while.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hero_runtime::listen::TlsConfig;
use quick_cache::sync::Cache;
use serde::Deserialize;

use crate::{client::Client, config::TwinsConfig, key::Account, registry::Registry};

/// The port of a relay whose address names none.
const PORT: u16 = 8051;
/// A twin that was looked up this recently is not looked up again because something failed: whoever sends wrong
/// signatures must not be able to drive the look-ups.
const FRESH: Duration = Duration::from_secs(2);
/// Bytes of an answer about a twin.
const MAX_ANSWER: usize = 64 << 10;

/// A twin as the look-up knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Twin {
    pub(crate) id: u32,
    pub(crate) account: Account,
    /// `ip`, `ip:port`, `name`, `name:port`, `[ipv6]:port`.
    pub(crate) address: String,
}

impl Twin {
    /// Where its relay takes messages.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", authority(&self.address))
    }
}

fn authority(address: &str) -> String {
    let is_bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !address.ends_with(']') && !is_bare_v6 && address.contains(':');
    match (is_bare_v6, has_port) {
        (true, _) => format!("[{address}]:{PORT}"),
        (false, true) => address.to_owned(),
        (false, false) => format!("{address}:{PORT}"),
    }
}

/// Why a twin is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// There is no such twin.
    Missing,
    /// The look-up does not answer, or not as it should.
    Away(Arc<str>),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The words that old clients know.
            Self::Missing => f.write_str("twin not found: object not found"),
            Self::Away(why) => write!(f, "the look-up of twins does not answer: {why}"),
        }
    }
}

pub(crate) fn away(error: impl fmt::Display) -> Unknown {
    Unknown::Away(error.to_string().into())
}

/// Where twins are looked up.
pub(crate) enum Source {
    /// `GET <base>/twins/<id>`.
    Web { client: Box<Client>, base: String },
    /// Lines of id, account and address.
    Table(PathBuf),
    /// The nodes that explorers know.
    Nodes(Registry),
}

impl Source {
    /// Chosen by the scheme of the URL.
    pub(crate) fn of(url: &str, tls: &TlsConfig) -> anyhow::Result<Self> {
        if let Some(explorers) = url.strip_prefix("explorer:") {
            return Ok(Self::Nodes(Registry::new(explorers, tls)?));
        }
        if let Some(path) = url.strip_prefix("file:") {
            return Ok(Self::Table(path.strip_prefix("//").unwrap_or(path).into()));
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let base = url.trim_end_matches('/').to_owned();
            return Ok(Self::Web { client: Box::new(Client::tls()?), base });
        }
        if url.is_empty() {
            bail!(
                "nothing says where twins are looked up; give --substrate https://… (a web service), file:/path \
                 (a table) or explorer:tcp://host:port (the node registry)"
            );
        }
        bail!("`{url}` is no look-up of twins; known are http://…, https://…, file:… and explorer:…")
    }

    async fn by_id(&self, id: u32, timeout: Duration) -> Result<Twin, Unknown> {
        match self {
            Self::Web { client, base } => ask(client, format!("{base}/twins/{id}"), timeout).await,
            Self::Table(path) => find(path, |twin| twin.id == id).await,
            Self::Nodes(registry) => registry.by_id(id, timeout).await,
        }
    }

    async fn by_account(&self, account: &[u8; 32], timeout: Duration) -> Result<Twin, Unknown> {
        match self {
            Self::Web { client, base } => {
                ask(client, format!("{base}/twins?account={}", hex::encode(account)), timeout).await
            }
            Self::Table(path) => find(path, |twin| twin.account == *account).await,
            Self::Nodes(registry) => registry.by_account(account, timeout).await,
        }
    }
}

#[derive(Deserialize)]
struct Told {
    id: u32,
    account: String,
    address: String,
}

async fn ask(client: &Client, url: String, timeout: Duration) -> Result<Twin, Unknown> {
    let answer = client.get(&url, timeout, MAX_ANSWER).await.map_err(away)?;
    if answer.status() == http::StatusCode::NOT_FOUND {
        return Err(Unknown::Missing);
    }
    if !answer.status().is_success() {
        return Err(away(format!("GET {url}: {}", answer.status())));
    }
    let told: Told =
        serde_json::from_slice(answer.body()).map_err(|error| away(format!("GET {url}: {error}")))?;
    let account = account(&told.account).map_err(|error| away(format!("GET {url}: {error:#}")))?;
    Ok(Twin { id: told.id, account, address: told.address })
}

async fn find(path: &PathBuf, is_it: impl Fn(&Twin) -> bool) -> Result<Twin, Unknown> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| away(format!("{}: {error}", path.display())))?;
    let twins = table(&text).map_err(|error| away(format!("{}: {error:#}", path.display())))?;
    twins.into_iter().find(is_it).ok_or(Unknown::Missing)
}

/// Reads a table: on each line the id, the account in hex and the address; `#` begins a comment.
fn table(text: &str) -> anyhow::Result<Vec<Twin>> {
    let mut twins = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        match words[..] {
            [] => {}
            [id, key, address] => {
                let id = id.parse().with_context(|| format!("line {}: `{id}` is no twin id", number + 1))?;
                let account = account(key).with_context(|| format!("line {}", number + 1))?;
                twins.push(Twin { id, account, address: address.to_owned() });
            }
            _ => bail!("line {}: it must be: id account address", number + 1),
        }
    }
    Ok(twins)
}

pub(crate) fn account(text: &str) -> anyhow::Result<Account> {
    let mut account = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut account)
        .context("an account is 32 bytes in hex")?;
    Ok(account.into())
}

#[derive(Clone)]
struct Entry {
    answer: Result<Arc<Twin>, Unknown>,
    at: Instant,
    /// How many messages its relay takes at once, as far as that is known.
    batch: Arc<AtomicUsize>,
}

impl Entry {
    fn new(answer: Result<Arc<Twin>, Unknown>) -> Self {
        Self { answer, at: Instant::now(), batch: Arc::default() }
    }
}

/// The twins, remembered.
pub(crate) struct Twins {
    source: Source,
    known: Cache<u32, Entry>,
    config: TwinsConfig,
}

impl Twins {
    pub(crate) fn new(source: Source, config: TwinsConfig) -> Self {
        Self { source, known: Cache::new(config.max_cached), config }
    }

    /// The twin of this id. Those that ask for the same one at once share a look-up.
    pub(crate) async fn get(&self, id: i64) -> Result<Arc<Twin>, Unknown> {
        let id = u32::try_from(id).map_err(|_| Unknown::Missing)?;
        if let Some(entry) = self.known.get(&id) {
            if self.is_valid(&entry) {
                return entry.answer;
            }
            self.forget(id, &entry);
        }
        let looked_up = self.known.get_or_insert_async(&id, async {
            let answer = self.source.by_id(id, self.timeout()).await.map(Arc::new);
            match answer {
                // Nothing was learned, so there is nothing to remember.
                Err(Unknown::Away(why)) => Err(Unknown::Away(why)),
                answer => Ok(Entry::new(answer)),
            }
        });
        looked_up.await?.answer
    }

    /// How many messages the relay of a twin takes at once: more than one when it has said so since it was looked up.
    pub(crate) fn batch(&self, id: i64) -> usize {
        self.entry(id).map_or(1, |entry| entry.batch.load(Ordering::Relaxed).max(1))
    }

    /// The relay of a twin says how many messages it takes at once; 0: not several.
    pub(crate) fn takes(&self, id: i64, batch: usize) {
        if let Some(entry) = self.entry(id) {
            entry.batch.store(batch, Ordering::Relaxed);
        }
    }

    fn entry(&self, id: i64) -> Option<Entry> {
        self.known.get(&u32::try_from(id).ok()?)
    }

    /// Looks a twin up again after something failed, unless that was just done.
    pub(crate) fn doubt(&self, id: i64) {
        let Ok(id) = u32::try_from(id) else { return };
        if let Some(entry) = self.known.get(&id)
            && entry.at.elapsed() > FRESH
        {
            self.forget(id, &entry);
        }
    }

    /// Whether a twin has been asked for lately, so that asking again would change nothing.
    pub(crate) fn is_fresh(&self, id: i64) -> bool {
        self.entry(id).is_some_and(|entry| entry.at.elapsed() <= FRESH)
    }

    /// Whether a twin that is not known may be about to be: its node tells of it when it lives.
    pub(crate) const fn may_follow(&self) -> bool {
        matches!(self.source, Source::Nodes(_))
    }

    /// The twin of this account.
    pub(crate) async fn by_account(&self, account: &[u8; 32]) -> Result<Twin, Unknown> {
        self.source.by_account(account, self.timeout()).await
    }

    fn forget(&self, id: u32, entry: &Entry) {
        // Somebody may have looked it up meanwhile.
        self.known.remove_if(&id, |known| known.at == entry.at);
    }

    fn is_valid(&self, entry: &Entry) -> bool {
        let kept = if entry.answer.is_ok() { self.config.cache_ms } else { self.config.missing_ms };
        entry.at.elapsed() < Duration::from_millis(kept)
    }

    const fn timeout(&self) -> Duration {
        Duration::from_millis(self.config.timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Source, Twins, Unknown, authority, table};
    use crate::config::TwinsConfig;

    const KEY: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

    fn twins(path: &Path) -> Twins {
        let config = TwinsConfig { missing_ms: 0, ..TwinsConfig::default() };
        Twins::new(Source::Table(path.to_owned()), config)
    }

    #[test]
    fn an_address_may_name_a_port() {
        for (address, wanted) in [
            ("10.0.0.1", "10.0.0.1:8051"),
            ("10.0.0.1:9", "10.0.0.1:9"),
            ("relay.example.org", "relay.example.org:8051"),
            ("relay:9", "relay:9"),
            ("::1", "[::1]:8051"),
            ("[::1]", "[::1]:8051"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(authority(address), wanted);
        }
    }

    #[test]
    fn a_table_is_read_or_refused_by_its_line() {
        let text = format!("# twins\n1 0x{KEY} 10.0.0.1\n\n2 {KEY} [::1]:8052 # mine\n");
        let twins = table(&text).unwrap();
        assert_eq!((twins[0].id, twins[1].id, twins[1].address.as_str()), (1, 2, "[::1]:8052"));
        for (text, words) in
            [("1 zz 10.0.0.1", "line 1"), ("\nx y", "line 2"), (&format!("x {KEY} a"), "no twin id")]
        {
            let error = format!("{:#}", table(text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_known_is_remembered_and_what_fails_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twins");
        let twins = twins(&path);
        assert!(matches!(twins.get(1).await, Err(Unknown::Away(_))));
        fs::write(&path, format!("1 {KEY} a\n")).unwrap();
        assert_eq!(twins.get(1).await.unwrap().address, "a");
        assert_eq!(twins.get(2).await, Err(Unknown::Missing));
        assert_eq!(twins.get(4_294_967_298).await, Err(Unknown::Missing));
        fs::write(&path, format!("1 {KEY} b\n2 {KEY} c\n")).unwrap();
        assert_eq!(twins.get(1).await.unwrap().address, "a");
        assert_eq!(twins.get(2).await.unwrap().address, "c");
        // It was looked up a moment ago, so a doubt changes nothing yet.
        twins.doubt(1);
        assert!(twins.is_fresh(1) && twins.get(1).await.unwrap().address == "a");
    }
}
