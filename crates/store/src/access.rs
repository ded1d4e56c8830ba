//! Circles, API keys and the record of who did what: small tables, written seldom and by admins.
//!
//! Each change is one command, so two replicas that change the same thing leave one of the two whole.

use std::collections::HashMap;

use hero_domain::{AuditEntry, Circle, CircleKey, CircleLimits, KeyInfo, Scope, Timestamp};
use hero_redis::{Value, cmd, pipe};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, Result, Store, answer::corrupt, keys};

/// The most circles.
pub const MAX_CIRCLES: u64 = 10_000;
/// The most API keys.
pub const MAX_KEYS: u64 = 1_000;
/// Lines of the record that are kept, about.
const AUDIT_KEPT: u64 = 10_000;

/// An API key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What is known of it.
    pub info: KeyInfo,
    /// The hash of the key itself.
    pub hash: String,
}

#[derive(Serialize, Deserialize)]
struct CircleRecord {
    members: Vec<CircleKey>,
    limits: CircleLimits,
    created_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct KeyRecord {
    scope: Scope,
    circle: Option<CircleKey>,
    created_by: String,
    created_at_ms: i64,
    hash: String,
}

fn read<T: DeserializeOwned>(key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(key, &error.to_string()))
}

fn write<T: Serialize>(key: &str, record: &T) -> Result<String> {
    serde_json::to_string(record).map_err(|error| corrupt(key, &error.to_string()))
}

fn circle(key: CircleKey, text: &str) -> Result<Circle> {
    let record: CircleRecord = read(keys::CIRCLES, text)?;
    Ok(Circle {
        public_key: key,
        members: record.members,
        limits: record.limits,
        is_configured: false,
        created_at: Some(Timestamp::from_millis(record.created_at_ms)),
    })
}

fn api_key(name: &str, text: &str, last_used_at: Option<Timestamp>) -> Result<StoredKey> {
    let record: KeyRecord = read(keys::API_KEYS, text)?;
    let info = KeyInfo {
        name: name.to_owned(),
        scope: record.scope,
        circle: record.circle,
        created_by: record.created_by,
        created_at: Timestamp::from_millis(record.created_at_ms),
        last_used_at,
    };
    Ok(StoredKey { info, hash: record.hash })
}

impl Store {
    /// The circle of this key, if it was added.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn circle(&self, key: &CircleKey) -> Result<Option<Circle>> {
        let text: Option<String> = self.link().call(cmd("HGET").arg(keys::CIRCLES).arg(key.as_str())).await?;
        text.map(|text| circle(key.clone(), &text)).transpose()
    }

    /// Adds a circle, or replaces what was kept of it.
    ///
    /// # Errors
    /// [`Error::TooManyCircles`], [`Error::Unavailable`].
    pub async fn put_circle(&self, circle: &Circle) -> Result<()> {
        let mut look = pipe();
        look.cmd("HEXISTS").arg(keys::CIRCLES).arg(circle.public_key.as_str());
        look.cmd("HLEN").arg(keys::CIRCLES);
        let (is_there, count): (bool, u64) = self.link().call_all(&look).await?;
        if !is_there && count >= MAX_CIRCLES {
            return Err(Error::TooManyCircles { most: MAX_CIRCLES });
        }
        let record = CircleRecord {
            members: circle.members.clone(),
            limits: circle.limits,
            created_at_ms: circle.created_at.unwrap_or_default().as_millis(),
        };
        let text = write(keys::CIRCLES, &record)?;
        let name = circle.public_key.as_str();
        self.set_limit(Some(name), circle.limits.max_running).await?;
        Ok(self.link().call(cmd("HSET").arg(keys::CIRCLES).arg(name).arg(text)).await?)
    }

    /// Forgets a circle; whether it was there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_circle(&self, key: &CircleKey) -> Result<bool> {
        self.set_limit(Some(key.as_str()), None).await?;
        Ok(self.link().call(cmd("HDEL").arg(keys::CIRCLES).arg(key.as_str())).await?)
    }

    /// All circles that were added, by key.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn circles(&self) -> Result<Vec<Circle>> {
        let all: HashMap<String, String> = self.link().call(cmd("HGETALL").arg(keys::CIRCLES)).await?;
        let of = |(key, text): (String, String)| {
            let key = key.parse().map_err(|_| corrupt(keys::CIRCLES, "its name is no key"))?;
            circle(key, &text)
        };
        let mut circles = all.into_iter().map(of).collect::<Result<Vec<_>>>()?;
        circles.sort_unstable_by(|one, other| one.public_key.cmp(&other.public_key));
        Ok(circles)
    }

    /// The API key of this name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn api_key(&self, name: &str) -> Result<Option<StoredKey>> {
        let mut look = pipe();
        look.cmd("HGET").arg(keys::API_KEYS).arg(name);
        look.cmd("HGET").arg(keys::API_KEYS_USED).arg(name);
        let (text, used): (Option<String>, Option<i64>) = self.link().call_all(&look).await?;
        text.map(|text| api_key(name, &text, used.map(Timestamp::from_millis))).transpose()
    }

    /// Keeps an API key; with `replace` in the place of the one of its name. False: there is one (or, to be
    /// replaced, none) of this name.
    ///
    /// # Errors
    /// [`Error::TooManyKeys`], [`Error::Unavailable`].
    pub async fn put_api_key(&self, key: &StoredKey, replace: bool) -> Result<bool> {
        let StoredKey { info, hash } = key;
        if !replace && self.link().call::<u64>(cmd("HLEN").arg(keys::API_KEYS)).await? >= MAX_KEYS {
            return Err(Error::TooManyKeys { most: MAX_KEYS });
        }
        let record = KeyRecord {
            scope: info.scope,
            circle: info.circle.clone(),
            created_by: info.created_by.clone(),
            created_at_ms: info.created_at.as_millis(),
            hash: hash.clone(),
        };
        let text = write(keys::API_KEYS, &record)?;
        let verb = if replace { "HSET" } else { "HSETNX" };
        let added: bool = self.link().call(cmd(verb).arg(keys::API_KEYS).arg(&info.name).arg(text)).await?;
        // HSET says whether the field is new, which one that is replaced is not.
        Ok(added != replace)
    }

    /// Forgets an API key; whether it was there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_api_key(&self, name: &str) -> Result<bool> {
        let mut forget = pipe();
        forget.cmd("HDEL").arg(keys::API_KEYS).arg(name);
        forget.cmd("HDEL").arg(keys::API_KEYS_USED).arg(name);
        let (was_there, _): (bool, bool) = self.link().call_all(&forget).await?;
        Ok(was_there)
    }

    /// All API keys, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn api_keys(&self) -> Result<Vec<StoredKey>> {
        let mut look = pipe();
        look.cmd("HGETALL").arg(keys::API_KEYS);
        look.cmd("HGETALL").arg(keys::API_KEYS_USED);
        let (all, used): (HashMap<String, String>, HashMap<String, i64>) =
            self.link().call_all(&look).await?;
        let of = |(name, text): (&String, &String)| {
            api_key(name, text, used.get(name).copied().map(Timestamp::from_millis))
        };
        let mut found = all.iter().map(of).collect::<Result<Vec<_>>>()?;
        found.sort_unstable_by(|one, other| one.info.name.cmp(&other.info.name));
        Ok(found)
    }

    /// Notes that an API key was used.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn touch_api_key(&self, name: &str, at: Timestamp) -> Result<()> {
        Ok(self.link().call(cmd("HSET").arg(keys::API_KEYS_USED).arg(name).arg(at.as_millis())).await?)
    }

    /// The key that all replicas seal with: the one that is kept, else `fresh`, which is kept from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn seal_key(&self, fresh: &str) -> Result<String> {
        let mut calls = pipe();
        calls.cmd("SET").arg(keys::SEAL).arg(fresh).arg("NX").ignore();
        calls.cmd("GET").arg(keys::SEAL);
        let (kept,): (String,) = self.link().call_all(&calls).await?;
        Ok(kept)
    }

    /// Uses up a nonce; whether it was unused. It is remembered for `kept_s` seconds.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn use_nonce(&self, random: &str, kept_s: u64) -> Result<bool> {
        let mut call = cmd("SET");
        call.arg(keys::used_nonce(random)).arg(1).arg("NX").arg("EX").arg(kept_s.max(1));
        let answer: Value = self.link().call(&call).await?;
        Ok(answer != Value::Nil)
    }

    /// Adds a line to the record of who did what; the oldest ones go.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn record(&self, actor: &str, action: &str, subject: &str) -> Result<()> {
        let mut call = cmd("XADD");
        call.arg(keys::AUDIT).arg("MAXLEN").arg("~").arg(AUDIT_KEPT).arg("*");
        call.arg("actor").arg(actor).arg("action").arg(action).arg("subject").arg(subject);
        Ok(self.link().call(&call).await?)
    }

    /// The latest lines of the record, the latest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recorded(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut call = cmd("XREVRANGE");
        call.arg(keys::AUDIT).arg("+").arg("-").arg("COUNT").arg(limit.max(1));
        let lines: Vec<(String, HashMap<String, String>)> = self.link().call(&call).await?;
        let of = |(id, mut fields): (String, HashMap<String, String>)| {
            let millis = id.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or_default();
            let mut field = |name: &str| fields.remove(name).unwrap_or_default();
            let (actor, action, subject) = (field("actor"), field("action"), field("subject"));
            AuditEntry { at: Timestamp::from_millis(millis), id, actor, action, subject }
        };
        Ok(lines.into_iter().map(of).collect())
    }
}
