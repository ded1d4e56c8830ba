//! The objects of a job's context, as scripts see them: `hero.collection("tasks")`, `hero.counter("visits")`.
//!
//! A script runs on a thread of its own and waits there for the store, unless it has to end.

use std::{fmt::Display, future::Future};

use hero_store::{Expected, Object, ObjectError, ObjectLimits, ObjectName, ObjectPage, Objects, Store};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position};
use tokio::runtime::Handle;

use super::{helper::Hero, sandbox::with_run};

/// Members of an object that are the store's: they are in what is read, and ignored in what is written.
const OWN: [&str; 4] = ["id", "version", "created_at", "updated_at"];
/// Objects of a page when the script names no limit, and at most.
const DEFAULT_PAGE: usize = 100;
const MOST_A_PAGE: usize = 1_000;
/// A page of a filtered list is looked for among so many objects; then it comes short, with a place to go on from.
const MOST_LOOKED_AT: usize = 10_000;
/// How often a change is made again because somebody else changed the object meanwhile.
const MOST_TRIES: usize = 100;

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// How scripts get at the objects of their contexts.
#[derive(Clone)]
pub struct ObjectAccess {
    store: Store,
    limits: ObjectLimits,
    runtime: Handle,
}

impl ObjectAccess {
    /// Access through this store, within these limits, on the runtime that this is called in.
    #[must_use]
    pub fn new(store: Store, limits: ObjectLimits) -> Self {
        Self { store, limits, runtime: Handle::current() }
    }

    fn of_this_job(&self) -> Fallible<Objects> {
        with_run(|run| self.store.objects(&run.job.context_id, self.limits)).ok_or_else(ended)
    }

    /// Waits for the store, unless the script has to end.
    #[allow(clippy::disallowed_methods, reason = "a script runs on a thread of its own, outside the runtime")]
    fn wait<T, E: Display>(&self, call: impl Future<Output = Result<T, E>>) -> Fallible<T> {
        let attempt = with_run(|run| std::sync::Arc::clone(run.attempt())).ok_or_else(ended)?;
        self.runtime.block_on(async {
            tokio::select! {
                answer = call => answer.map_err(|error| error.to_string().into()),
                _ = attempt.interrupted() => Err(ended()),
            }
        })
    }
}

fn ended() -> Box<EvalAltResult> {
    EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()
}

/// The value of `hero.collection(name)`.
#[derive(Clone)]
struct Collection {
    access: ObjectAccess,
    name: ObjectName,
}

/// The value of `hero.counter(name)`.
#[derive(Clone)]
struct Counter {
    access: ObjectAccess,
    name: ObjectName,
}

/// Gives scripts the objects of their context.
pub(super) fn register(engine: &mut Engine, access: Option<&ObjectAccess>) {
    let access = access.cloned();
    let opened = access.clone();
    engine.register_fn("collection", move |_: &mut Hero, text: ImmutableString| {
        Ok::<_, Box<EvalAltResult>>(Collection { access: present(opened.as_ref())?, name: name(&text)? })
    });
    engine.register_fn("counter", move |_: &mut Hero, text: ImmutableString| {
        Ok::<_, Box<EvalAltResult>>(Counter { access: present(access.as_ref())?, name: name(&text)? })
    });
    engine
        .register_type_with_name::<Collection>("Collection")
        .register_fn("create", |all: &mut Collection, object: Map| all.create(object))
        .register_fn("put", |all: &mut Collection, id: ImmutableString, object: Map| {
            all.put(&name(&id)?, object, &Expected::Anything)
        })
        .register_fn("get", |all: &mut Collection, id: ImmutableString| all.get(&name(&id)?))
        .register_fn("update", |all: &mut Collection, id: ImmutableString, changes: Map| {
            all.update(&name(&id)?, |object| Ok(merged(object, &changes)))
        })
        .register_fn(
            "update",
            |context: NativeCallContext, all: &mut Collection, id: ImmutableString, change: FnPtr| {
                all.update(&name(&id)?, |object| change.call_within_context(&context, (object,)))
            },
        )
        .register_fn("delete", |all: &mut Collection, id: ImmutableString| all.delete(&name(&id)?))
        .register_fn("count", |all: &mut Collection| all.count())
        .register_fn("index", |all: &mut Collection, field: ImmutableString| all.index(&name(&field)?))
        .register_fn("list", |all: &mut Collection| all.list(&Map::new()))
        .register_fn("list", |all: &mut Collection, options: Map| all.list(&options))
        .register_fn("find", |all: &mut Collection, field: ImmutableString, value: Dynamic| {
            all.find(&name(&field)?, &value, &Map::new())
        })
        .register_fn("find", |all: &mut Collection, field: ImmutableString, value: Dynamic, options: Map| {
            all.find(&name(&field)?, &value, &options)
        });
    engine
        .register_type_with_name::<Counter>("Counter")
        .register_fn("add", |counter: &mut Counter| counter.add(1))
        .register_fn("add", |counter: &mut Counter, by: i64| counter.add(by))
        .register_fn("set", |counter: &mut Counter, value: i64| counter.set(value))
        .register_fn("get", |counter: &mut Counter| counter.get());
}

fn present(access: Option<&ObjectAccess>) -> Fallible<ObjectAccess> {
    access.cloned().ok_or_else(|| "this runner has no object store".into())
}

fn name(text: &str) -> Fallible<ObjectName> {
    text.parse().map_err(|error: ObjectError| error.to_string().into())
}

impl Collection {
    fn create(&self, object: Map) -> Fallible<Map> {
        let id = match object.get("id") {
            None => name(&uuid::Uuid::now_v7().to_string())?,
            Some(id) => name(&id.clone().into_string().map_err(|_| "the id of an object is a text")?)?,
        };
        self.put(&id, object, &Expected::Nothing)
    }

    fn put(&self, id: &ObjectName, mut object: Map, expected: &Expected) -> Fallible<Map> {
        OWN.iter().for_each(|member| drop(object.remove(*member)));
        let json = to_json(object)?;
        let objects = self.access.of_this_job()?;
        let revision = self.access.wait(objects.put(&self.name, id, &json, expected))?;
        to_map(&Object { id: id.clone(), revision, json })
    }

    fn read(&self, id: &ObjectName) -> Fallible<Option<Object>> {
        let objects = self.access.of_this_job()?;
        self.access.wait(objects.get(&self.name, id))
    }

    fn get(&self, id: &ObjectName) -> Fallible<Dynamic> {
        Ok(self.read(id)?.as_ref().map(to_map).transpose()?.map_or(Dynamic::UNIT, Into::into))
    }

    /// Changes an object as if nobody else were there: made again while others come in between.
    fn update(&self, id: &ObjectName, change: impl Fn(Map) -> Fallible<Map>) -> Fallible<Map> {
        let objects = self.access.of_this_job()?;
        for _ in 0..MOST_TRIES {
            let before = self.read(id)?.ok_or_else(|| ObjectError::Missing(id.clone()).to_string())?;
            let mut after = change(to_map(&before)?)?;
            OWN.iter().for_each(|member| drop(after.remove(*member)));
            let (json, expected) = (to_json(after)?, Expected::Revision(before.revision));
            let put = objects.put(&self.name, id, &json, &expected);
            // Who came first is no failure of the script.
            let revision = self.access.wait(async {
                match put.await {
                    Err(ObjectError::Changed(_)) => Ok(None),
                    revision => revision.map(Some),
                }
            })?;
            if let Some(revision) = revision {
                return to_map(&Object { id: id.clone(), revision, json });
            }
        }
        Err(format!("object `{id}` is changed by others all the time; try again later").into())
    }

    fn delete(&self, id: &ObjectName) -> Fallible<bool> {
        let objects = self.access.of_this_job()?;
        self.access.wait(objects.delete(&self.name, id))
    }

    fn count(&self) -> Fallible<i64> {
        let objects = self.access.of_this_job()?;
        Ok(i64::try_from(self.access.wait(objects.count(&self.name))?).unwrap_or(i64::MAX))
    }

    fn index(&self, field: &ObjectName) -> Fallible<()> {
        let objects = self.access.of_this_job()?;
        self.access.wait(objects.index(&self.name, field))
    }

    fn list(&self, options: &Map) -> Fallible<Map> {
        let filter = match options.get("filter") {
            None => Map::new(),
            Some(filter) => {
                filter.clone().try_cast::<Map>().ok_or("the filter is a map of members to values")?
            }
        };
        let objects = self.access.of_this_job()?;
        self.page(options, &filter, |after, limit| {
            self.access.wait(objects.list(&self.name, after.as_ref(), limit))
        })
    }

    fn find(&self, field: &ObjectName, value: &Dynamic, options: &Map) -> Fallible<Map> {
        let objects = self.access.of_this_job()?;
        let json = serde_json::to_string(value).map_err(|error| error.to_string())?;
        let filter = Map::from([(field.as_str().into(), value.clone())]);
        self.page(options, &filter, |after, limit| {
            self.access.wait(objects.find(&self.name, field, &json, after.as_ref(), limit))
        })
    }

    /// Gathers the objects that a filter lets through until the page is full.
    fn page(
        &self,
        options: &Map,
        filter: &Map,
        next: impl Fn(Option<ObjectName>, usize) -> Fallible<ObjectPage>,
    ) -> Fallible<Map> {
        let limit = match options.get("limit") {
            None => DEFAULT_PAGE,
            Some(limit) => limit.as_int().ok().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
        };
        if !(1..=MOST_A_PAGE).contains(&limit) {
            return Err(format!("the limit is a number from 1 to {MOST_A_PAGE}").into());
        }
        let mut after = match options.get("after") {
            None => None,
            Some(after) => {
                let text = after.clone().into_string().map_err(|_| "`after` is the `next` of a page")?;
                Some(name(&text)?)
            }
        };
        let (mut found, mut looked_at) = (Array::new(), 0);
        loop {
            // An unfiltered page is read in one piece; behind a filter there may be few among many.
            let step = if filter.is_empty() { limit - found.len() } else { limit.max(DEFAULT_PAGE) };
            let page = next(after.clone(), step)?;
            let mut is_full = false;
            for object in &page.objects {
                if found.len() == limit {
                    is_full = true;
                    break;
                }
                looked_at += 1;
                after = Some(object.id.clone());
                let object = to_map(object)?;
                if is_like(&object, filter) {
                    found.push(object.into());
                }
            }
            let has_more = is_full || page.has_more;
            // A page of the store that is cut by its bytes is a page here: what a script gets at once is bounded.
            if !has_more || found.len() == limit || looked_at >= MOST_LOOKED_AT || page.objects.len() < step {
                let next = after.filter(|_| has_more).map_or(Dynamic::UNIT, |id| id.as_str().into());
                return Ok(Map::from([("objects".into(), found.into()), ("next".into(), next)]));
            }
        }
    }
}

impl Counter {
    fn add(&self, by: i64) -> Fallible<i64> {
        self.access.wait(self.access.of_this_job()?.add(&self.name, by))
    }

    fn set(&self, value: i64) -> Fallible<i64> {
        self.access.wait(self.access.of_this_job()?.set(&self.name, value))
    }

    fn get(&self) -> Fallible<i64> {
        self.access.wait(self.access.of_this_job()?.counter(&self.name))
    }
}

fn to_json(object: Map) -> Fallible<String> {
    let object = Dynamic::from_map(object);
    serde_json::to_string(&object).map_err(|error| format!("the object cannot be kept: {error}").into())
}

fn to_map(object: &Object) -> Fallible<Map> {
    let value: Dynamic = serde_json::from_str(&object.json).map_err(|error| error.to_string())?;
    let mut map = value.try_cast::<Map>().ok_or("the object is damaged: it is not a map")?;
    let revision = &object.revision;
    map.insert("id".into(), object.id.as_str().into());
    map.insert("version".into(), i64::try_from(revision.version).unwrap_or(i64::MAX).into());
    map.insert("created_at".into(), revision.created_at.to_string().into());
    map.insert("updated_at".into(), revision.updated_at.to_string().into());
    Ok(map)
}

/// The object with its changes; a member that becomes `()` goes.
fn merged(mut object: Map, changes: &Map) -> Map {
    for (member, value) in changes {
        if value.is_unit() {
            object.remove(member);
        } else {
            object.insert(member.clone(), value.clone());
        }
    }
    object
}

/// Whether each member of the filter has that value in the object; `()` is a member that is not there.
fn is_like(object: &Map, filter: &Map) -> bool {
    filter.iter().all(|(member, value)| match object.get(member) {
        None => value.is_unit(),
        // Both as JSON: there a whole number equals itself in whatever form it came.
        Some(own) => serde_json::to_value(own).ok() == serde_json::to_value(value).ok(),
    })
}
