use std::time::Duration;

use hero_domain::{
    Heartbeat, NodeFilter, NodeId, NodeSelector, NodeSort, NodeState, Reason, Standing, Timestamp,
};

use super::Registry;
use crate::config::HeartbeatsConfig;

const AT: Timestamp = Timestamp::from_millis(1_000);

fn beat(id: &str, started_at: u64, counter: u64) -> Heartbeat {
    let text = format!(
        r#"{{"node_id": "{id}", "addresses": ["tcp://10.0.0.1:1"], "script_types": ["Python"], "slots": 4,
            "started_at_ms": {started_at}, "counter": {counter}, "sent_at_ms": {started_at}, "interval_ms": 1000}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

struct World {
    registry: Registry,
    config: HeartbeatsConfig,
}

impl World {
    fn of(ids: &[&str]) -> Self {
        let mut world = Self { registry: Registry::new(), config: HeartbeatsConfig::default() };
        for id in ids {
            world.hear(beat(id, 5, 1), None).unwrap();
        }
        world
    }

    fn hear(&mut self, beat: Heartbeat, key: Option<&str>) -> hero_domain::Result<()> {
        self.registry.hear(beat, key.map(str::to_owned), AT, 1_000)
    }

    fn state(&self, node: &str) -> NodeState {
        self.registry.get(&id(node)).unwrap().state
    }

    /// Time goes by, with the judge looking all the while.
    fn pass(&mut self, seconds: f64) {
        self.registry.clock.now += Duration::from_secs_f64(seconds);
        self.registry.judge(&self.config, AT);
    }

    fn refused(&mut self, beat: Heartbeat, key: Option<&str>) -> Reason {
        self.hear(beat, key).unwrap_err().reason()
    }
}

#[test]
fn a_silent_node_is_suspect_then_dead_then_gone_then_forgotten() {
    let mut world = World::of(&["a"]);
    world.pass(2.2);
    assert_eq!(world.state("a"), NodeState::Alive);
    world.pass(0.4);
    assert_eq!(world.state("a"), NodeState::Suspect);
    world.pass(3.0);
    assert_eq!(world.state("a"), NodeState::Dead);
    world.pass(3_600.0);
    assert_eq!(world.state("a"), NodeState::Gone);
    world.pass(8.0 * 86_400.0);
    assert_eq!(world.registry.list(&NodeFilter::default()).unwrap().total, 0);
    let told: Vec<_> = world.registry.take_changes().into_iter().map(|(_, change)| change.state).collect();
    assert_eq!(told, [NodeState::Alive, NodeState::Suspect, NodeState::Dead, NodeState::Gone]);
}

#[test]
fn an_explorer_that_was_stopped_kills_nobody() {
    let mut world = World::of(&["a"]);
    // A minute in which this process did not run.
    world.registry.clock.looked -= Duration::from_secs(60);
    world.registry.judge(&world.config, AT);
    assert_eq!(world.state("a"), NodeState::Alive);
}

#[test]
fn a_node_that_comes_back_says_whether_it_had_gone() {
    let mut world = World::of(&["a"]);
    world.pass(10.0);
    world.registry.take_changes();
    world.hear(beat("a", 5, 9), None).unwrap();
    world.hear(beat("a", 6, 1), None).unwrap();
    let why: Vec<_> = world.registry.take_changes().into_iter().map(|(_, change)| change.why).collect();
    assert_eq!(why, ["heard of again, 7 heartbeats were lost on the way", "started again"]);
}

#[test]
fn what_was_heard_before_the_shelf_was_read_is_news_of_the_nodes_that_it_knows() {
    let mut before = World::of(&["restarted", "same"]);
    before.pass(10.0);
    let shelf = ["restarted", "same"].map(|name| before.registry.get(&id(name)).unwrap());
    let mut world = World::of(&["new"]);
    world.hear(beat("restarted", 6, 1), None).unwrap();
    world.hear(beat("same", 5, 4), None).unwrap();
    shelf.into_iter().for_each(|node| world.registry.remember(node));
    let why: Vec<_> = world.registry.take_changes().into_iter().map(|(of, it)| (of, it.why)).collect();
    let told = [
        ("new", "first heard of"),
        ("restarted", "started again"),
        ("same", "heard of again, 2 heartbeats were lost on the way"),
    ];
    assert_eq!(why, told.map(|(name, why)| (id(name), why.to_owned())));
    assert_eq!(world.state("restarted"), NodeState::Alive);
}

#[test]
fn what_is_not_newer_is_refused() {
    let mut world = World::of(&["a"]);
    world.hear(beat("a", 5, 2), None).unwrap();
    for (started_at, counter) in [(5, 2), (5, 1), (4, 9)] {
        assert_eq!(world.refused(beat("a", started_at, counter), None), Reason::HeartbeatReplayed);
    }
}

#[test]
fn an_id_belongs_to_its_first_key_until_an_admin_says_otherwise() {
    let mut world = World::of(&["a"]);
    world.hear(beat("a", 5, 2), Some("k1")).unwrap();
    assert_eq!(world.refused(beat("a", 5, 3), Some("k2")), Reason::NodeIdTaken);
    assert_eq!(world.refused(beat("a", 5, 3), None), Reason::HeartbeatUnsigned);
    world.registry.stand(&id("a"), Standing::Allowed);
    world.hear(beat("a", 5, 3), Some("k2")).unwrap();
    assert_eq!(world.refused(beat("a", 5, 4), Some("k1")), Reason::NodeIdTaken);
    world.registry.stand(&id("a"), Standing::Banned);
    assert_eq!(world.refused(beat("a", 5, 4), Some("k2")), Reason::NodeBanned);
    assert_eq!(world.registry.choose(&NodeSelector::default()).unwrap_err().reason(), Reason::NodeNotFound);
}

#[test]
fn pages_cover_every_node_once_in_every_order() {
    let ids: Vec<String> = (0..25).map(|number| format!("n{number:02}")).collect();
    let world = World::of(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    for sort in [NodeSort::NodeId, NodeSort::Name, NodeSort::FreeSlots, NodeSort::Load, NodeSort::LastSeen] {
        let mut seen = Vec::new();
        let mut filter = NodeFilter { sort: Some(sort), limit: Some(10), ..NodeFilter::default() };
        loop {
            let page = world.registry.list(&filter).unwrap();
            assert_eq!(page.total, 25);
            seen.extend(page.nodes.iter().map(|node| node.beat.node_id.to_string()));
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ids, "{sort:?}");
    }
    let gone = NodeFilter { cursor: Some(id("x")), ..NodeFilter::default() };
    assert_eq!(world.registry.list(&gone).unwrap_err().reason(), Reason::CursorUnknown);
}

#[test]
fn calls_spread_over_the_nodes_that_fit() {
    let mut world = World::of(&["a", "b", "c"]);
    world.hear(Heartbeat { busy: 4, ..beat("a", 5, 2) }, None).unwrap();
    let mut chosen = Vec::new();
    for _ in 0..4 {
        chosen.push(world.registry.choose(&NodeSelector::default()).unwrap().beat.node_id.to_string());
    }
    chosen.sort();
    assert_eq!(chosen, ["b", "b", "c", "c"], "the busy one gets none, the others take turns");
    let free =
        NodeSelector { free_slots: Some(1), except: vec![id("b"), id("c")], ..NodeSelector::default() };
    assert_eq!(world.registry.choose(&free).unwrap_err().reason(), Reason::NodeNotFound);
}

#[test]
fn there_is_a_most_of_nodes() {
    let mut world = World::of(&["a"]);
    let more = world.registry.hear(beat("b", 5, 1), None, AT, 1);
    assert_eq!(more.unwrap_err().reason(), Reason::TooManyRequests);
}

#[test]
fn a_twin_is_listed_with_when_it_was_claimed() {
    let mut world = World::of(&["a", "b"]);
    let (own, other) = ("ab".repeat(32), "cd".repeat(32));
    let claim = |id: &str, counter, key: &str| Heartbeat {
        twin_id: Some(7),
        twin_key: key.to_owned(),
        ..beat(id, 5, counter)
    };
    let at = Timestamp::from_millis;
    let hear = |world: &mut World, beat, key: Option<&String>, ms| {
        world.registry.hear(beat, key.cloned(), at(ms), 1_000).unwrap();
    };
    // Who says nothing else signs with the key of its node.
    hear(&mut world, claim("b", 2, ""), Some(&own), 2_000);
    hear(&mut world, claim("a", 2, &other), None, 3_000);
    let since = |world: &World, filter: NodeFilter| {
        let nodes = world.registry.list(&filter).unwrap().nodes;
        nodes.iter().map(|node| (node.beat.node_id.to_string(), node.twin_since)).collect::<Vec<_>>()
    };
    let of_twin = || NodeFilter { twin_id: Some(7), ..NodeFilter::default() };
    let wanted = [("a".to_owned(), Some(at(3_000))), ("b".to_owned(), Some(at(2_000)))];
    assert_eq!(since(&world, of_twin()), wanted);
    let of_key = NodeFilter { twin_key: Some(own.to_uppercase()), ..NodeFilter::default() };
    assert_eq!(since(&world, of_key), wanted[1..]);
    assert_eq!(since(&world, NodeFilter { twin_id: Some(8), ..NodeFilter::default() }), []);
    // The same again is as old as it was; another key is a new claim.
    hear(&mut world, claim("a", 3, &other), None, 4_000);
    hear(&mut world, claim("b", 3, &other), Some(&own), 5_000);
    let wanted = [("a".to_owned(), Some(at(3_000))), ("b".to_owned(), Some(at(5_000)))];
    assert_eq!(since(&world, of_twin()), wanted);
}
