//! Objects on a real Redis: confined, atomic, indexed, within their quota.

use hero_redis::RedisConfig;
use hero_store::{Expected, Object, ObjectError, ObjectLimits, ObjectName, Objects, Store};
use hero_testing::RedisServer;
use redis::Commands;

struct World {
    server: RedisServer,
    store: Store,
}

impl World {
    fn open() -> Self {
        let server = RedisServer::start().expect("a private redis-server");
        let store =
            Store::connect(&RedisConfig::at(server.url().parse().expect("an address"))).expect("a store");
        Self { server, store }
    }

    fn of(&self, context: &str) -> Objects {
        self.store.objects(context, ObjectLimits::default())
    }
}

fn name(text: &str) -> ObjectName {
    text.parse().expect("a name")
}

fn ids(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.id.as_str()).collect()
}

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let world = World::open();
    let objects = world.of("lab");
    let (tasks, one) = (name("tasks"), name("one"));
    assert_eq!(objects.get(&tasks, &one).await.unwrap(), None);
    let odd = r#"{"text":"é\u0000 \" \n x","list":[],"map":{},"big":9007199254740993,"float":1.0}"#;
    let first = objects.put(&tasks, &one, odd, &Expected::Nothing).await.unwrap();
    assert_eq!(first.version, 1);
    let read = objects.get(&tasks, &one).await.unwrap().unwrap();
    assert_eq!((read.json.as_str(), &read.revision), (odd, &first), "byte by byte");
    let again = objects.put(&tasks, &one, "{}", &Expected::Nothing).await;
    assert!(matches!(again, Err(ObjectError::Exists(_))), "{again:?}");
    let second = objects.put(&tasks, &one, "{}", &Expected::Revision(first.clone())).await.unwrap();
    assert_eq!((second.version, second.created_at), (2, first.created_at));
    let stale = objects.put(&tasks, &one, "{}", &Expected::Revision(first)).await;
    assert!(matches!(stale, Err(ObjectError::Changed(_))), "{stale:?}");
    assert_eq!(objects.put(&tasks, &one, "{}", &Expected::Anything).await.unwrap().version, 3);
    assert_eq!(objects.count(&tasks).await.unwrap(), 1);
    assert!(objects.delete(&tasks, &one).await.unwrap());
    assert!(!objects.delete(&tasks, &one).await.unwrap());
    let gone = objects.put(&tasks, &one, "{}", &Expected::Revision(second)).await;
    assert!(matches!(gone, Err(ObjectError::Missing(_))), "{gone:?}");
}

#[tokio::test]
async fn contexts_do_not_see_each_other_however_they_are_spelled() {
    let world = World::open();
    let item = name("item");
    let pairs = [("lab", "lab2"), ("b:c", "c"), ("x/y:z", "z"), ("*", "lab"), ("", "lab")];
    for (n, (mine, other)) in pairs.into_iter().enumerate() {
        let (mine, other, a) = (world.of(mine), world.of(other), name(&format!("a{n}")));
        mine.put(&a, &item, r#"{"owner":"me"}"#, &Expected::Anything).await.unwrap();
        mine.index(&a, &name("owner")).await.unwrap();
        mine.add(&a, 5).await.unwrap();
        assert_eq!(other.get(&a, &item).await.unwrap(), None);
        assert!(other.list(&a, None, 10).await.unwrap().objects.is_empty());
        let found = other.find(&a, &name("owner"), "\"me\"", None, 10).await;
        assert!(matches!(found, Err(ObjectError::NoIndex(_))));
        assert_eq!(other.counter(&a).await.unwrap(), 0);
        assert!(!other.delete(&a, &item).await.unwrap());
        assert!(mine.delete(&a, &item).await.unwrap());
    }
    for bad in ["", "a:b", "a/b", "a b", "é", "\0", &"x".repeat(129)] {
        assert!(matches!(bad.parse::<ObjectName>(), Err(ObjectError::Name(_))), "{bad:?}");
    }
}

#[tokio::test]
async fn a_list_goes_page_by_page_in_the_order_of_ids() {
    let world = World::open();
    let objects = world.of("lab");
    let tasks = name("tasks");
    for n in [3, 1, 2, 5, 4] {
        objects.put(&tasks, &name(&format!("t{n}")), "{}", &Expected::Nothing).await.unwrap();
    }
    let first = objects.list(&tasks, None, 2).await.unwrap();
    assert_eq!((ids(&first.objects), first.has_more), (vec!["t1", "t2"], true));
    let rest = objects.list(&tasks, Some(&name("t2")), 10).await.unwrap();
    assert_eq!((ids(&rest.objects), rest.has_more), (vec!["t3", "t4", "t5"], false));
    // A page is bounded in bytes, too, and never empty while there is something.
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(200_000));
    for n in 1..=9 {
        objects.put(&name("large"), &name(&format!("l{n}")), &large, &Expected::Nothing).await.unwrap();
    }
    let page = objects.list(&name("large"), None, 100).await.unwrap();
    assert_eq!((page.objects.len(), page.has_more), (5, true));
}

#[tokio::test]
async fn an_index_follows_every_change() {
    let world = World::open();
    let objects = world.of("lab");
    let (tasks, owner) = (name("tasks"), name("owner"));
    let put = async |id: &str, json: &str| {
        objects.put(&tasks, &name(id), json, &Expected::Anything).await.unwrap();
    };
    // More than one step of the index brings in.
    for n in 0..450 {
        put(&format!("t{n:03}"), r#"{"owner":"ann"}"#).await;
    }
    let find = async |value: &str| objects.find(&tasks, &owner, value, None, 1_000).await;
    assert!(matches!(find("\"ann\"").await, Err(ObjectError::NoIndex(_))));
    objects.index(&tasks, &owner).await.unwrap();
    objects.index(&tasks, &owner).await.unwrap();
    assert_eq!(find("\"ann\"").await.unwrap().objects.len(), 450);
    put("t000", r#"{"owner":"bob"}"#).await;
    put("t001", r#"{"owner":7}"#).await;
    put("t002", r#"{"owner":true}"#).await;
    put("t003", r#"{"owner":null}"#).await;
    put("t004", r#"{"other":1}"#).await;
    put("t005", r#"{"owner":["ann"]}"#).await;
    let long = format!("\"{}\"", "é".repeat(500));
    put("t006", &format!("{{\"owner\":{long}}}")).await;
    put("t007", r#"{"owner":"ann\u0000x"}"#).await;
    objects.delete(&tasks, &name("t008")).await.unwrap();
    assert_eq!(ids(&find("\"bob\"").await.unwrap().objects), ["t000"]);
    assert_eq!(ids(&find("7").await.unwrap().objects), ["t001"]);
    assert_eq!(ids(&find("true").await.unwrap().objects), ["t002"]);
    assert_eq!(ids(&find(&long).await.unwrap().objects), ["t006"]);
    for nothing in ["null", "[\"ann\"]", "\"\"", "false", "\"an\"", "{}"] {
        assert!(find(nothing).await.unwrap().objects.is_empty(), "{nothing}");
    }
    let ann = find("\"ann\"").await.unwrap().objects;
    assert_eq!((ann.len(), ann[0].id.as_str()), (441, "t009"));
    let page = objects.find(&tasks, &owner, "\"ann\"", Some(&name("t100")), 3).await.unwrap();
    assert_eq!((ids(&page.objects), page.has_more), (vec!["t101", "t102", "t103"], true));
}

#[tokio::test]
async fn the_quota_of_a_context_holds_and_comes_back() {
    let world = World::open();
    let limits = ObjectLimits { max_objects: 3, max_bytes: 4_000, max_object_bytes: 2_000, max_indexes: 1 };
    let objects = world.store.objects("lab", limits);
    let tasks = name("tasks");
    let put = async |id: &str, bytes: usize| {
        let json = format!("{{\"x\":\"{}\"}}", "x".repeat(bytes));
        objects.put(&tasks, &name(id), &json, &Expected::Anything).await
    };
    assert!(matches!(put("a", 3_000).await, Err(ObjectError::TooLarge { most: 2_000, .. })));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let deep = objects.put(&tasks, &name("deep"), &deep, &Expected::Anything).await;
    assert!(matches!(deep, Err(ObjectError::NotJson(_))), "{deep:?}");
    let list = objects.put(&tasks, &name("list"), "[1]", &Expected::Anything).await;
    assert!(matches!(list, Err(ObjectError::NotJson(_))), "{list:?}");
    put("a", 1_800).await.unwrap();
    put("b", 1_500).await.unwrap();
    assert!(matches!(put("c", 1_000).await, Err(ObjectError::Full { most: 4_000 })));
    assert!(matches!(put("b", 1_900).await, Err(ObjectError::Full { .. })));
    put("b", 10).await.expect("less is always taken");
    put("c", 10).await.unwrap();
    assert!(matches!(put("d", 10).await, Err(ObjectError::TooMany { most: 3 })));
    assert!(matches!(objects.add(&name("n"), 1).await, Err(ObjectError::TooMany { .. })));
    objects.index(&tasks, &name("x")).await.unwrap();
    let second = objects.index(&tasks, &name("y")).await;
    assert!(matches!(second, Err(ObjectError::TooManyIndexes { most: 1 })), "{second:?}");
    for id in ["a", "b", "c"] {
        assert!(objects.delete(&tasks, &name(id)).await.unwrap());
    }
    let mut behind = world.server.connection().unwrap();
    let used: Vec<i64> =
        redis::cmd("HMGET").arg("hero:osis:usage:lab").arg(&["objects", "bytes"]).query(&mut behind).unwrap();
    assert_eq!(used, [0, 0], "all of it has come back");
    let left: Vec<String> = behind.keys("hero:osis:i*").unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn counters_lose_nothing_and_do_not_wrap() {
    let world = World::open();
    let objects = world.of("lab");
    let visits = name("visits");
    let adds = (0..100).map(|_| objects.add(&visits, 3));
    let sums = futures::future::try_join_all(adds).await.unwrap();
    assert_eq!(sums.iter().max(), Some(&300));
    assert_eq!(objects.counter(&visits).await.unwrap(), 300);
    assert_eq!(objects.add(&visits, -301).await.unwrap(), -1);
    assert_eq!(objects.set(&visits, i64::MAX).await.unwrap(), i64::MAX);
    assert!(matches!(objects.add(&visits, 1).await, Err(ObjectError::Overflow(_))));
    assert_eq!(objects.add(&visits, -1).await.unwrap(), i64::MAX - 1);
}

#[tokio::test]
async fn changes_by_revision_lose_nothing() {
    let world = World::open();
    let objects = world.of("lab");
    let (tasks, one) = (name("tasks"), name("one"));
    objects.put(&tasks, &one, r#"{"n":0}"#, &Expected::Nothing).await.unwrap();
    let add = async || {
        loop {
            let read = objects.get(&tasks, &one).await.unwrap().unwrap();
            let n: serde_json::Value = serde_json::from_str(&read.json).unwrap();
            let next = format!("{{\"n\":{}}}", n["n"].as_i64().unwrap() + 1);
            match objects.put(&tasks, &one, &next, &Expected::Revision(read.revision)).await {
                Ok(_) => return,
                Err(ObjectError::Changed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    futures::future::join_all((0..20).map(|_| add())).await;
    let read = objects.get(&tasks, &one).await.unwrap().unwrap();
    assert_eq!((read.json.as_str(), read.revision.version), (r#"{"n":20}"#, 21));
}
