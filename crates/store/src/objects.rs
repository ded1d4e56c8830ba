//! The objects that OSIS scripts keep: per context, in collections, with indexes, counters and a quota.
//!
//! Whoever holds [`Objects`] can reach those of its context and nothing else. An object is JSON; every change of
//! one, with its indexes and its part of the quota, is one script.

use std::str::FromStr;

use hero_domain::Timestamp;
use hero_redis::{Cmd, Script, Value, cmd};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Store,
    answer::{Answer, corrupt, lossy},
    keys,
};

/// What a context may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectLimits {
    /// Objects and counters of one context.
    pub max_objects: u64,
    /// Bytes of the objects of one context, with what their indexes take.
    pub max_bytes: u64,
    /// Bytes of one object, as JSON.
    pub max_object_bytes: usize,
    /// Indexed fields of one collection.
    pub max_indexes: usize,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self { max_objects: 100_000, max_bytes: 64 << 20, max_object_bytes: 256 << 10, max_indexes: 8 }
    }
}

/// Why an object is not there, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The name of a collection, an object, a field or a counter.
    #[error("`{0}` is no name; 1 to 128 letters, digits and any of _ - . are taken")]
    Name(String),
    /// The object is there already.
    #[error("there is an object `{0}` already")]
    Exists(ObjectName),
    /// There is no such object.
    #[error("there is no object `{0}`")]
    Missing(ObjectName),
    /// Somebody has changed it since it was read.
    #[error("object `{0}` has been changed meanwhile; read it again")]
    Changed(ObjectName),
    /// The object is too large.
    #[error("the object takes {bytes} bytes; at most {most} are taken")]
    TooLarge {
        /// As JSON.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The value cannot be kept.
    #[error("the object cannot be kept: {0}")]
    NotJson(String),
    /// The quota of the context.
    #[error("the context has its {most} objects and counters already; delete some first")]
    TooMany {
        /// The limit.
        most: u64,
    },
    /// The quota of the context.
    #[error("the objects of the context would take more than {most} bytes; delete some first")]
    Full {
        /// The limit.
        most: u64,
    },
    /// The indexes of a collection.
    #[error("the collection has its {most} indexes already")]
    TooManyIndexes {
        /// The limit.
        most: usize,
    },
    /// Nothing can be found by this field.
    #[error("there is no index of field `{0}`; make one with index(\"{0}\")")]
    NoIndex(ObjectName),
    /// A counter would leave the range of whole numbers of 64 bits.
    #[error("counter `{0}` would grow too large")]
    Overflow(ObjectName),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The result of a call for objects.
pub type ObjectResult<T> = Result<T, ObjectError>;

/// The name of a collection, an object, a field or a counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    const MAX_BYTES: usize = 128;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = ObjectError;

    /// Takes what can be a part of a key: so no name reaches beyond its place in it.
    fn from_str(text: &str) -> ObjectResult<Self> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.chars().all(is_part) {
            return Err(ObjectError::Name(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which record a change is about: version and times, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Counts the changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Revision {
    fn as_text(&self) -> String {
        format!("{} {} {}", self.version, self.created_at.as_millis(), self.updated_at.as_millis())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let version = words.next()?.parse().ok()?;
        let mut time = || Some(Timestamp::from_millis(words.next()?.parse().ok()?));
        Some(Self { version, created_at: time()?, updated_at: time()? })
    }
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectName,
    /// Which revision of it.
    pub revision: Revision,
    /// What it is, as JSON.
    pub json: String,
}

impl Object {
    fn read(id: &str, record: &str) -> ObjectResult<Self> {
        let damaged = || corrupt(id, "an object without its head");
        let mut ends = record.match_indices(' ').skip(2).map(|(at, _)| at);
        let (head, json) = ends.next().map(|at| record.split_at(at)).ok_or_else(damaged)?;
        let revision = Revision::parse(head).ok_or_else(damaged)?;
        Ok(Self { id: id.parse()?, revision, json: json[1..].to_owned() })
    }
}

/// Some of the objects that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectPage {
    /// Ordered by id.
    pub objects: Vec<Object>,
    /// Whether there may be more, after the last of these.
    pub has_more: bool,
}

/// What must be there for a change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Nothing,
    /// Whatever it is.
    Anything,
    /// This revision.
    Revision(Revision),
}

/// The objects of one context.
#[derive(Clone)]
pub struct Objects {
    store: Store,
    context: String,
    limits: ObjectLimits,
}

impl Store {
    /// The objects of a context.
    #[must_use]
    pub fn objects(&self, context: &str, limits: ObjectLimits) -> Objects {
        Objects { store: self.clone(), context: context.to_owned(), limits }
    }
}

impl Objects {
    /// Stores an object, if what is expected is there.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub async fn put(
        &self,
        collection: &ObjectName,
        id: &ObjectName,
        json: &str,
        expected: &Expected,
    ) -> ObjectResult<Revision> {
        self.check(json)?;
        let script = &self.store.scripts().object_put;
        let mut call = self.command(script, collection, 5, json.len() + 64);
        call.arg(id.as_str());
        match expected {
            Expected::Nothing => call.arg("new"),
            Expected::Anything => call.arg("any"),
            Expected::Revision(revision) => call.arg(revision.as_text()),
        };
        call.arg(self.limits.max_objects).arg(self.limits.max_bytes).arg(json);
        let mut answer = Answer::new("object_put", self.store.run("object_put", script, &call).await?)?;
        let is_done = answer.number()? == 1;
        let text = answer.text().unwrap_or_default();
        if is_done {
            return Revision::parse(&text).ok_or_else(|| corrupt("object_put", &text).into());
        }
        Err(match text.as_str() {
            "exists" => ObjectError::Exists(id.clone()),
            "missing" => ObjectError::Missing(id.clone()),
            "changed" => ObjectError::Changed(id.clone()),
            "objects" => ObjectError::TooMany { most: self.limits.max_objects },
            _ => ObjectError::Full { most: self.limits.max_bytes },
        })
    }

    fn check(&self, json: &str) -> ObjectResult<()> {
        if json.len() > self.limits.max_object_bytes {
            return Err(ObjectError::TooLarge { bytes: json.len(), most: self.limits.max_object_bytes });
        }
        // What is nested deeper than the parser goes could not be read again.
        let members = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json);
        members.map(|_| ()).map_err(|error| ObjectError::NotJson(error.to_string()))
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn get(&self, collection: &ObjectName, id: &ObjectName) -> ObjectResult<Option<Object>> {
        let mut get = cmd("HGET");
        get.arg(keys::objects(collection, &self.context)).arg(id.as_str());
        let record: Option<Vec<u8>> = self.store.link().call(&get).await.map_err(Error::from)?;
        record.map(|record| Object::read(id.as_str(), &lossy(record))).transpose()
    }

    /// Removes an object; whether it was there.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn delete(&self, collection: &ObjectName, id: &ObjectName) -> ObjectResult<bool> {
        let script = &self.store.scripts().object_delete;
        let mut call = self.command(script, collection, 1, 128);
        call.arg(id.as_str());
        Ok(self.store.run("object_delete", script, &call).await? == Value::Int(1))
    }

    /// Objects of a collection by id: those after `after`, at most `limit` of them.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn list(
        &self,
        collection: &ObjectName,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> ObjectResult<ObjectPage> {
        let script = &self.store.scripts().object_list;
        let mut call = self.command(script, collection, 2, 128);
        call.arg(after.map_or("", ObjectName::as_str)).arg(limit.max(1));
        let mut answer = Answer::new("object_list", self.store.run("object_list", script, &call).await?)?;
        let has_more = answer.number()? == 1;
        read_page(answer, has_more)
    }

    /// Objects that may have this value (JSON) in a field that is indexed, by id; whoever asks compares the value.
    ///
    /// # Errors
    /// [`ObjectError::NoIndex`].
    pub async fn find(
        &self,
        collection: &ObjectName,
        field: &ObjectName,
        value: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> ObjectResult<ObjectPage> {
        let script = &self.store.scripts().object_find;
        let mut call = self.command(script, collection, 4, value.len() + 256);
        call.arg(field.as_str()).arg(format!("[{value}]"));
        call.arg(after.map_or("", ObjectName::as_str)).arg(limit.max(1));
        let mut answer = Answer::new("object_find", self.store.run("object_find", script, &call).await?)?;
        match answer.number()? {
            -1 => Err(ObjectError::NoIndex(field.clone())),
            more => read_page(answer, more == 1),
        }
    }

    /// Keeps an index of a field from now on, and brings in what is there. Several steps; repeating it is fine.
    ///
    /// # Errors
    /// [`ObjectError::TooManyIndexes`], [`ObjectError::Full`].
    pub async fn index(&self, collection: &ObjectName, field: &ObjectName) -> ObjectResult<()> {
        let script = &self.store.scripts().object_index;
        let mut after = String::new();
        loop {
            let mut call = self.command(script, collection, 4, 256);
            call.arg(field.as_str()).arg(&after);
            call.arg(self.limits.max_indexes).arg(self.limits.max_bytes);
            let answer = text_of(self.store.run("object_index", script, &call).await?);
            match answer.as_str() {
                "ready" => return Ok(()),
                "fields" => return Err(ObjectError::TooManyIndexes { most: self.limits.max_indexes }),
                "bytes" => return Err(ObjectError::Full { most: self.limits.max_bytes }),
                next => after = next.trim_start_matches('+').to_owned(),
            }
        }
    }

    /// How many objects a collection has.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn count(&self, collection: &ObjectName) -> ObjectResult<u64> {
        let mut count = cmd("HLEN");
        count.arg(keys::objects(collection, &self.context));
        Ok(self.store.link().call(&count).await.map_err(Error::from)?)
    }

    /// Adds to a counter, which begins at 0; its value then.
    ///
    /// # Errors
    /// [`ObjectError::Overflow`], [`ObjectError::TooMany`].
    pub async fn add(&self, counter: &ObjectName, by: i64) -> ObjectResult<i64> {
        self.change_counter(counter, by, "").await
    }

    /// Sets a counter.
    ///
    /// # Errors
    /// [`ObjectError::TooMany`].
    pub async fn set(&self, counter: &ObjectName, value: i64) -> ObjectResult<i64> {
        self.change_counter(counter, value, "s").await
    }

    async fn change_counter(&self, counter: &ObjectName, number: i64, how: &str) -> ObjectResult<i64> {
        let script = &self.store.scripts().counter_add;
        let mut call = self.command(script, counter, 3, 64);
        call.arg(number).arg(how).arg(self.limits.max_objects);
        let answer = text_of(self.store.run("counter_add", script, &call).await?);
        match answer.as_str() {
            "objects" => Err(ObjectError::TooMany { most: self.limits.max_objects }),
            "overflow" => Err(ObjectError::Overflow(counter.clone())),
            value => value.parse().map_err(|_| corrupt("counter_add", value).into()),
        }
    }

    /// The value of a counter; 0 for one that nobody has touched.
    ///
    /// # Errors
    /// [`ObjectError::Store`].
    pub async fn counter(&self, counter: &ObjectName) -> ObjectResult<i64> {
        let mut get = cmd("HGET");
        get.arg(keys::object_counters(&self.context)).arg(counter.as_str());
        let value: Option<i64> = self.store.link().call(&get).await.map_err(Error::from)?;
        Ok(value.unwrap_or(0))
    }

    fn command(&self, script: &Script, name: &ObjectName, args: usize, bytes: usize) -> Cmd {
        let mut call = script.command(&[], 2 + args, bytes + self.context.len() + 128);
        call.arg(&self.context).arg(name.as_str());
        call
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::BulkString(text) => lossy(text),
        Value::SimpleString(text) => text,
        other => format!("{other:?}"),
    }
}

fn read_page(mut answer: Answer, has_more: bool) -> ObjectResult<ObjectPage> {
    let mut objects = Vec::with_capacity(answer.remaining() / 2);
    while !answer.is_empty() {
        let (id, record) = (answer.text().unwrap_or_default(), answer.text().unwrap_or_default());
        objects.push(Object::read(&id, &record)?);
    }
    Ok(ObjectPage { objects, has_more })
}
