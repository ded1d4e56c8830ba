//! Requests that come in as messages.

use std::{path::Path, time::Duration};

use hero_client::{
    Client, NewJob, Options, Reason, RunJob, ScriptType,
    mycelium::{Daemon, DaemonOptions, Pushed},
};
use hero_domain::Scope;
use hero_mycelium_bridge::Peer;
use hero_testing::{eventually, mycelium::Mood};
use serde_json::{Value, json};

use crate::setup::{PATIENCE, Story, TOPIC};

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_calls_the_node_through_the_overlay() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    let client = story.client();
    assert_eq!(client.whoami().await.unwrap(), format!("mycelium:{} (user)", story.here.pk()));
    assert_eq!(client.run_job(&RunJob::new(ScriptType::Osis, "42")).await.unwrap(), "42");
    let calls = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "run_job", "params": ["1", "OSIS"]},
        {"jsonrpc": "2.0", "id": 2, "method": "run_job", "params": {"script": "2", "script_type": "OSIS"}},
        {"jsonrpc": "2.0", "method": "whoami"},
    ]);
    let answers = story.ask(calls.to_string().as_bytes()).await;
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
    assert_eq!((&answers[0]["result"], &answers[1]["result"]), (&json!("1"), &json!("2")));
    let keys: Vec<_> = story.ports.submitted().into_iter().map(|job| job.idempotency_key).collect();
    assert!(keys.iter().all(|key| key.as_ref().is_some_and(|key| key.starts_with("mycelium:"))), "{keys:?}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_needs_a_secret() {
    let story = Story::begin().await;
    let bridge = story.bridge_with(|config| config.peers.clear()).await;
    bridge.ready().await;
    let refused = story.client().whoami().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::AuthenticationRequired));
    let ops = hero_domain::Caller { name: "ops".into(), scope: Scope::Admin, circle: None };
    story.ports.add_key("s3cret", ops);
    let with = |secret: &str| {
        Client::over_mycelium(story.here.url(), story.to_there()).secret(secret).build().unwrap()
    };
    assert_eq!(with("s3cret").whoami().await.unwrap(), "ops (admin)");
    let wrong = with("wrong").whoami().await.unwrap_err();
    assert_eq!(wrong.reason(), Some(Reason::AuthenticationRequired));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_gets_the_first_answer_and_runs_nothing() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    let daemon = story.daemon();
    let job = json!({"script": "1", "script_type": "OSIS"});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "submit_job", "params": [job]}).to_string();
    let wait = Duration::from_secs(20);
    let first = daemon.ask(&story.to_there(), Some(TOPIC), call.as_bytes(), wait).await.unwrap();
    let Pushed::Reply(first) = first else { panic!("it expired") };
    assert!(story.there.deliver_again(&first.id));
    let second = std::cell::RefCell::new(None);
    eventually("the answer comes again", PATIENCE, async || {
        let came = daemon.pop("").await.unwrap();
        let is_there = came.is_some();
        second.replace(came);
        is_there
    })
    .await;
    let second = second.into_inner();
    assert_eq!(second.unwrap().payload, first.payload);
    assert_eq!(story.ports.submitted().len(), 1);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bridge_finishes_after_its_restart_and_runs_nothing_twice() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    story.ports.set_delay(Duration::from_secs(60));
    let ask = |method: &'static str, params: Value| {
        let client = story.client();
        tokio::spawn(async move { client.call::<Value>(method, params).await })
    };
    let safe = ask("list_jobs", json!({}));
    let unsafe_one = ask("retry_job", json!({"job_id": hero_client::JobId::mint()}));
    eventually("both have begun", PATIENCE, async || story.ports.calls().len() == 2).await;
    bridge.kill().await;
    story.ports.set_delay(Duration::ZERO);
    let bridge = story.bridge().await;
    assert_eq!(safe.await.unwrap().unwrap(), json!([]));
    let unknown = unsafe_one.await.unwrap().unwrap_err();
    assert_eq!(unknown.reason(), Some(Reason::DeadlineExceeded), "{unknown}");
    let retries = story.ports.calls().iter().filter(|call| call.contains("retry")).count();
    assert_eq!(retries, 1, "{:?}", story.ports.calls());
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_daemon_lost_is_sent_again() {
    let mut story = Story::begin().await;
    let bridge = story.bridge().await;
    story.ports.set_delay(Duration::from_millis(300));
    let client = story.client();
    let call = tokio::spawn(async move { client.whoami().await });
    let job = story.client();
    let slow = tokio::spawn(async move { job.run_job(&RunJob::new(ScriptType::Osis, "7")).await });
    call.await.unwrap().unwrap();
    eventually("it has begun", PATIENCE, async || !story.ports.calls().is_empty()).await;
    // The daemon is away when the answer is ready, and has forgotten everything when it is back.
    story.there.stop().await;
    eventually("not ready", PATIENCE, async || !bridge.health.is_ready()).await;
    story.there.start().await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), "7");
    bridge.ready().await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_job_holds_nobody_up() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    let client = story.client();
    story.ports.set_delay(Duration::from_secs(600));
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.run_job(&RunJob::new(ScriptType::Osis, "1")).await }
    });
    eventually("it has begun", PATIENCE, async || !story.ports.calls().is_empty()).await;
    for _ in 0..20 {
        client.whoami().await.unwrap();
    }
    assert!(!slow.is_finished());
    slow.abort();
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_with_words() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    let many: Vec<Value> =
        (0..10_000).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "whoami"})).collect();
    let cases: Vec<(Vec<u8>, i64)> = vec![
        (b"\xff\xfe".to_vec(), -32700),
        (b"".to_vec(), -32700),
        (b"hello".to_vec(), -32700),
        (b"7".to_vec(), -32700),
        (b"{}".to_vec(), -32700),
        (b"[]".to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"no_such"}"#.to_vec(), -32601),
        (br#"{"jsonrpc":"2.0","id":1,"method":"get_job","params":{"job_id":"x"}}"#.to_vec(), -32602),
        (br#"{"jsonrpc":"2.0","id":1,"method":"list_runners"}"#.to_vec(), -32031),
        (serde_json::to_vec(&many).unwrap(), -32010),
        (vec![b' '; (1 << 20) + 1], -32007),
    ];
    for (payload, code) in cases {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        let answer = story.ask(&payload).await;
        assert_eq!(answer["error"]["code"].as_i64(), Some(code), "{shown}: {answer}");
    }
    // Under the daemon's limit on requests, over the one on responses: it can never be handed out.
    story.daemon().push(&story.to_there(), Some(TOPIC), &vec![b'x'; 7_864_100]).await.unwrap();
    // Nothing of this sort, and no reply that nobody asked for, disturbs it.
    let there = story.there.pk().parse().unwrap();
    story.daemon().reply("00000000deadbeef", &there, b"spoofed").await.unwrap();
    story.daemon().push(&story.to_there(), None, b"no topic").await.unwrap();
    eventually("strays are cleared", PATIENCE, async || story.there.unread() == 0).await;
    story.client().whoami().await.unwrap();
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_message_carries_says_so() {
    let story = Story::begin().await;
    let bridge = story.bridge_with(|config| config.limits.max_response_bytes = 4_096).await;
    bridge.ready().await;
    let too_large = story.client().run_job(&RunJob::new(ScriptType::Osis, "large 10000")).await.unwrap_err();
    assert_eq!(too_large.reason(), Some(Reason::ResponseTooLarge), "{too_large}");
    assert_eq!(story.client().run_job(&RunJob::new(ScriptType::Osis, "1")).await.unwrap(), "1");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_sender_is_held_back_and_others_are_served() {
    let story = Story::begin().await;
    let other = story.overlay.daemon().await.unwrap();
    let pk = other.pk().parse().unwrap();
    let bridge = story
        .bridge_with(|config| {
            config.limits.max_in_flight_per_sender = 4;
            config.peers.push(Peer { pk, scope: Scope::User, circles: vec![], ip: None });
        })
        .await;
    bridge.ready().await;
    let client = Client::over_mycelium(story.here.url(), story.to_there())
        .options(Options { retries: 0, ..Options::default() })
        .build()
        .unwrap();
    story.ports.set_delay(Duration::from_secs(600));
    let endless: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.run_job(&RunJob::new(ScriptType::Osis, "1")).await })
        })
        .collect();
    eventually("four are turned away", PATIENCE, async || {
        endless.iter().filter(|call| call.is_finished()).count() == 4
    })
    .await;
    let refused = client.whoami().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::TooManyRequests));
    let served = Client::over_mycelium(other.url(), story.to_there()).build().unwrap();
    served.whoami().await.unwrap();
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_are_answered_once_each_and_idle_polling_is_calm() {
    let story = Story::begin().await;
    let bridge = story.bridge().await;
    let client = story.client();
    let calls: Vec<_> = (0..20)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..50 {
                    let script = format!("{caller}.{number}");
                    let output = client.run_job(&RunJob::new(ScriptType::Osis, &script)).await.unwrap();
                    assert_eq!(output, script);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(story.ports.submitted().len(), 1_000);
    // Once it has calmed down.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = story.there.calls();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // This bridge looks after its daemon every 50 ms, with two calls; one in service does so every 5 s.
    let polls = (story.there.calls() - before).saturating_sub(40);
    assert!(polls < 50, "{polls} calls in an idle second");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_rings_where_a_socket_is_configured() {
    let story = Story::begin().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bell");
    let bridge = story
        .bridge_with(|config| {
            config.forward_socket = Some(socket.clone());
            config.polling.idle_ms = 60_000;
            config.polling.busy_ms = 60_000;
            config.polling.alert_ms = 0;
            config.polling.eager_ms = 200;
        })
        .await;
    bridge.ready().await;
    assert!(Path::new(&socket).exists());
    for _ in 0..3 {
        story.client().whoami().await.unwrap();
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_wrong_with_the_daemon() {
    let mut story = Story::begin().await;
    let bridge = story.bridge_with(|config| config.daemon.call_timeout_ms = 500).await;
    bridge.ready().await;
    let said = async |what: &str| {
        eventually(what, PATIENCE, async || {
            bridge.health.report().conditions.values().any(|words| words.contains(what))
        })
        .await;
    };
    for (mood, words) in
        [(Mood::Garbage, "no Mycelium daemon"), (Mood::Hangs, "long poll"), (Mood::Old, "older than 0.7.8")]
    {
        story.there.set_mood(mood);
        said(words).await;
        story.there.set_mood(Mood::Well);
        bridge.ready().await;
    }
    story.there.set_alone(true);
    said("no living peer").await;
    story.there.set_alone(false);
    bridge.ready().await;
    story.there.stop().await;
    said("does not answer").await;
    story.there.start().await.unwrap();
    bridge.ready().await;
    story.client().whoami().await.unwrap();
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_peers_reach_the_inbox_when_the_daemon_is_told_so() {
    let story = Story::begin().await;
    let stranger = story.overlay.daemon().await.unwrap();
    let bridge = story.bridge_with(|config| config.only_peers = true).await;
    bridge.ready().await;
    let daemon = Daemon::new(&stranger.url(), DaemonOptions::default()).unwrap();
    let id = daemon.push(&story.to_there(), Some(TOPIC), b"let me in").await.unwrap();
    story.client().submit_job(&NewJob::new(ScriptType::Osis, "1")).await.unwrap();
    assert_eq!(story.there.deliveries(&id), 0);
    bridge.stop().await;
}
