//! The facts of the Mycelium daemon's contract that the bridge and the client stand on, and calls over it.
//!
//! Runs against the daemon of `hero_testing`; with `HERO_MYCELIUM_BIN` naming a `mycelium` binary also against two
//! real ones, peered over loopback.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hero_client::{
    Client, Destination, Error, Options,
    mycelium::{Daemon, DaemonOptions, MessageState, Pushed},
};
use hero_testing::{
    eventually, free_port,
    mycelium::{FakeDaemon, FakeOverlay, Mood, RealDaemon},
};
use jsonrpsee::{
    core::{client::ClientT as _, client::Error as RpcError, rpc_params, traits::ToRpcParams},
    http_client::{HttpClient, HttpClientBuilder},
};
use serde_json::{Value, json, value::RawValue};

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "supervisor.rpc";

/// Two daemons that know each other.
struct Pair {
    one: Daemon,
    two: Daemon,
    to_two: Destination,
    to_one: Destination,
    _kept: Kept,
}

/// Daemons end when they are dropped.
#[allow(dead_code, reason = "kept, not read")]
enum Kept {
    Fake(Vec<FakeDaemon>),
    Real(Vec<RealDaemon>),
}

async fn fake() -> Pair {
    let overlay = FakeOverlay::new();
    let (one, two) = (overlay.daemon().await.unwrap(), overlay.daemon().await.unwrap());
    let urls = [one.url(), two.url()];
    pair(urls, Kept::Fake(vec![one, two])).await
}

async fn pair(urls: [String; 2], kept: Kept) -> Pair {
    let daemon = |url: &str| Daemon::new(url, DaemonOptions::default()).unwrap();
    let (one, two) = (daemon(&urls[0]), daemon(&urls[1]));
    eventually("both daemons answer", PATIENCE, || async {
        one.info().await.is_ok() && two.info().await.is_ok()
    })
    .await;
    let to_one = Destination::Pk(one.info().await.unwrap().node_pubkey);
    let to_two = Destination::Pk(two.info().await.unwrap().node_pubkey);
    let pair = Pair { one, two, to_two, to_one, _kept: kept };
    eventually("a message gets through", PATIENCE, || async {
        pair.one.push(&pair.to_two, Some("hello"), b"").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        pair.two.pop("hello").await.unwrap().is_some()
    })
    .await;
    pair
}

/// The made-up pair, and the real one where there is a binary.
async fn pairs() -> Vec<Pair> {
    let mut pairs = vec![fake().await];
    if let Some(binary) = std::env::var_os("HERO_MYCELIUM_BIN").map(PathBuf::from) {
        let first = RealDaemon::start(&binary, &[]).unwrap();
        let second = RealDaemon::start(&binary, &[first.peer()]).unwrap();
        let urls = [first.url(), second.url()];
        pairs.push(pair(urls, Kept::Real(vec![first, second])).await);
    }
    pairs
}

struct Given(Value);

impl ToRpcParams for Given {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

fn raw(daemon: &Daemon) -> HttpClient {
    HttpClientBuilder::default().build(daemon.url()).unwrap()
}

async fn code(daemon: &Daemon, method: &str, params: Value) -> i32 {
    match raw(daemon).request::<Value, _>(method, Given(params)).await {
        Err(RpcError::Call(error)) => error.code(),
        other => panic!("{method} answered {other:?}"),
    }
}

async fn popped(daemon: &Daemon, topic: &str) -> hero_client::mycelium::Received {
    let begin = Instant::now();
    loop {
        if let Some(message) = daemon.pop(topic).await.unwrap() {
            return message;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing came on `{topic}`");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_delivered_once_with_its_sender_and_the_sender_learns_of_it() {
    for pair in pairs().await {
        let id = pair.one.push(&pair.to_two, Some(TOPIC), b"{\"hello\":1}").await.unwrap();
        assert_eq!(id.len(), 16);
        let message = popped(&pair.two, TOPIC).await;
        assert_eq!((&message.id, message.payload.as_deref()), (&id, Some(&b"{\"hello\":1}"[..])));
        assert_eq!(Destination::Pk(message.from), pair.to_one);
        assert_eq!(pair.two.pop(TOPIC).await.unwrap(), None, "null for nothing");
        eventually("it was received", PATIENCE, || async {
            pair.one.state(&id).await.unwrap() == MessageState::Received
        })
        .await;
        assert_eq!(pair.one.state("0123456789abcdef").await.unwrap(), MessageState::Unknown);
        assert_eq!(pair.two.state(&id).await.unwrap(), MessageState::Unknown, "outbound only");
        let states = pair.one.states(&[id.clone(), "0123456789abcdef".to_owned()]).await.unwrap();
        assert_eq!(states, [MessageState::Received, MessageState::Unknown]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn params_go_by_place_and_by_name_and_base64_is_strict() {
    for pair in pairs().await {
        let Destination::Pk(key) = &pair.to_two else { unreachable!() };
        let message = json!({"dst": {"pk": key}, "payload": "bm8gdG9waWM="});
        let call = raw(&pair.one);
        let named: Value = call.request("pushMessage", Given(json!({"message": message}))).await.unwrap();
        assert_eq!(named["id"].as_str().map(str::len), Some(16));
        assert_eq!(popped(&pair.two, "").await.payload.unwrap(), b"no topic");

        assert_eq!(code(&pair.two, "popMessage", json!([null, 0, TOPIC])).await, -32013);
        let unpadded = STANDARD.encode("a").trim_end_matches('=').to_owned();
        assert_eq!(code(&pair.two, "popMessage", json!([null, 0, unpadded])).await, -32013);
        assert_eq!(code(&pair.two, "popMessage", json!([null, -1])).await, -32602);
        let long = STANDARD.encode([b'x'; 256]);
        let message = json!({"dst": {"pk": key}, "topic": long, "payload": ""});
        assert_eq!(code(&pair.one, "pushMessage", json!([message])).await, -32015);
        let both = json!({"dst": {"pk": key, "ip": "400::1"}, "payload": ""});
        assert_eq!(code(&pair.one, "pushMessage", json!([both])).await, -32602);
        let unpadded = json!({"dst": {"pk": key}, "payload": "YQ"});
        assert_eq!(code(&pair.one, "pushMessage", json!([unpadded])).await, -32602);
        let reply = json!({"dst": {"pk": key}, "payload": ""});
        assert_eq!(code(&pair.one, "pushMessageReply", json!(["12", reply])).await, -32018);
        assert_eq!(code(&pair.one, "getMessageInfo", json!(["12"])).await, -32020);
        assert_eq!(code(&pair.one, "messageStatus", json!([])).await, -32601);
        assert_eq!(code(&pair.one, "getPublicKeyFromIp", json!(["x"])).await, -32007);
        let own = pair.one.info().await.unwrap().node_ip.unwrap().to_string();
        assert_eq!(code(&pair.one, "getPublicKeyFromIp", json!([own])).await, -32008);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_whoever_waits_and_else_lies_in_the_inbox_without_a_topic() {
    for pair in pairs().await {
        let wait = pair.one.ask(&pair.to_two, Some(TOPIC), b"q", Duration::from_secs(10));
        let answer = async {
            let request = popped(&pair.two, TOPIC).await;
            pair.two.reply(&request.id, &request.from, b"a").await.unwrap();
            request.id
        };
        let (reply, id) = tokio::join!(wait, answer);
        let Pushed::Reply(reply) = reply.unwrap() else { panic!("it expired") };
        assert_eq!((reply.id, reply.payload.unwrap()), (id.clone(), b"a".to_vec()));
        eventually("the reply was received", PATIENCE, || async {
            pair.two.state(&id).await.unwrap() == MessageState::Received
        })
        .await;

        // Nobody waits; and nobody checks that there was a request.
        let Destination::Pk(one) = &pair.to_one else { unreachable!() };
        pair.two.reply("00000000deadbeef", one, b"late").await.unwrap();
        let stray = popped(&pair.one, "").await;
        assert_eq!((stray.id.as_str(), stray.payload.unwrap()), ("00000000deadbeef", b"late".to_vec()));

        let expired = pair.one.ask(&pair.to_two, Some("silent"), b"q", Duration::from_secs(1)).await.unwrap();
        assert!(matches!(expired, Pushed::Expired(_)), "{expired:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_stops_the_whole_api_and_a_wait_for_a_reply_does_not() {
    for pair in pairs().await {
        let call = raw(&pair.one);
        let poll = tokio::spawn(async move {
            let topic = STANDARD.encode("nothing");
            call.request::<Value, _>("popMessage", rpc_params![false, 2, topic]).await
        });
        // Until the poll is in, getInfo is quick; then it has to wait for the poll's end.
        let mut slowest = Duration::ZERO;
        while !poll.is_finished() {
            let begin = Instant::now();
            pair.one.info().await.unwrap();
            slowest = slowest.max(begin.elapsed());
        }
        assert!(slowest > Duration::from_secs(1), "{slowest:?}");
        assert_eq!(poll.await.unwrap().unwrap(), Value::Null);

        let (daemon, to) = (pair.one.clone(), pair.to_two.clone());
        let ask =
            tokio::spawn(async move { daemon.ask(&to, Some("nobody"), b"", Duration::from_secs(1)).await });
        let mut quickest = Duration::MAX;
        while !ask.is_finished() {
            let begin = Instant::now();
            pair.one.info().await.unwrap();
            quickest = quickest.min(begin.elapsed());
        }
        assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_arrives_at_the_own_node() {
    for pair in pairs().await {
        let id = pair.one.push(&pair.to_one, Some(TOPIC), b"me").await.unwrap();
        let answer = pair.one.ask(&pair.to_one, Some(TOPIC), b"me", Duration::from_secs(1)).await.unwrap();
        assert!(matches!(answer, Pushed::Expired(_)));
        assert_eq!(pair.one.pop(TOPIC).await.unwrap(), None);
        assert_eq!(pair.one.state(&id).await.unwrap(), MessageState::Pending);
        let own = pair.one.info().await.unwrap();
        let in_its_net = Destination::Ip((u128::from(own.node_ip.unwrap()) ^ 0xbeef).into());
        assert!(own.is(&pair.to_one) && own.is(&in_its_net) && !own.is(&pair.to_two));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_sources_takes_nothing_from_others_until_they_are_allowed() {
    for pair in pairs().await {
        let stranger = Destination::Ip("400::1".parse().unwrap());
        pair.two.allow_only("guarded", &[stranger]).await.unwrap();
        let id = pair.one.push(&pair.to_two, Some("guarded"), b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(pair.two.pop("guarded").await.unwrap(), None);
        assert_eq!(pair.one.state(&id).await.unwrap(), MessageState::Pending);
        let one = Destination::Ip(pair.one.info().await.unwrap().node_ip.unwrap());
        pair.two.allow_only("guarded", &[one]).await.unwrap();
        assert_eq!(popped(&pair.two, "guarded").await.id, id);
    }
}

#[tokio::test]
async fn a_message_is_given_up_after_300_s_and_forgotten_after_600() {
    let overlay = FakeOverlay::new();
    let (one, mut two) = (overlay.daemon().await.unwrap(), overlay.daemon().await.unwrap());
    let to_two = Destination::Pk(two.pk().parse().unwrap());
    let daemon = Daemon::new(&one.url(), DaemonOptions::default()).unwrap();
    two.stop().await;
    let id = daemon.push(&to_two, Some(TOPIC), b"x").await.unwrap();
    overlay.advance(Duration::from_secs(299));
    assert_eq!(daemon.state(&id).await.unwrap(), MessageState::Pending);
    two.start().await.unwrap();
    assert_eq!(daemon.state(&id).await.unwrap(), MessageState::Received, "back in time");
    two.stop().await;
    let late = daemon.push(&to_two, Some(TOPIC), b"x").await.unwrap();
    overlay.advance(Duration::from_secs(300));
    two.start().await.unwrap();
    assert_eq!(two.unread(), 0, "a restart loses what was not read");
    assert_eq!(daemon.state(&late).await.unwrap(), MessageState::Aborted);
    overlay.advance(Duration::from_secs(300));
    assert_eq!(daemon.state(&late).await.unwrap(), MessageState::Unknown);
}

/// Answers each request on the topic by what `answer` makes of it.
fn serve(daemon: Daemon, answer: impl Fn(Value) -> Vec<u8> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let message = popped(&daemon, TOPIC).await;
            let request = serde_json::from_slice(&message.payload.unwrap()).unwrap();
            daemon.reply(&message.id, &message.from, &answer(request)).await.unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_travels_as_a_message_and_its_answer_as_the_reply() {
    for pair in pairs().await {
        let served = serve(pair.two.clone(), |request| {
            let result = json!([request["method"], request["params"]]);
            json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into_bytes()
        });
        let ip = Destination::Ip(pair.two.info().await.unwrap().node_ip.unwrap());
        for to in [pair.to_two.clone(), ip] {
            let client = Client::over_mycelium(pair.one.url(), to).secret("s3cret").build().unwrap();
            let echoed: Value = client.call("any", json!({"a": 1})).await.unwrap();
            assert_eq!(echoed, json!(["any", {"a": 1, "secret": "s3cret"}]));
        }
        let client = Client::over_mycelium(pair.one.url(), pair.to_two.clone());
        let small = client.max_payload_bytes(100).build().unwrap();
        let refused = small.call::<Value>("any", json!({"a": "x".repeat(100)})).await.unwrap_err();
        assert!(matches!(&refused, Error::Refused(words) if words.contains("at most 100")), "{refused}");
        served.abort();
    }
}

#[tokio::test]
async fn what_comes_back_is_checked() {
    let pair = fake().await;
    let client = || Client::over_mycelium(pair.one.url(), pair.to_two.clone()).build().unwrap();
    for (answer, word) in [
        (&b"\xff\xfe"[..], "not understood"),
        (b"{}", "not understood"),
        (br#"{"jsonrpc":"2.0","id":"other","result":1}"#, "answers call"),
        (br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32041,"message":"away"}}"#, "away (-32041)"),
    ] {
        let served = serve(pair.two.clone(), move |_| answer.to_vec());
        let error = client().call::<Value>("any", json!({})).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        served.abort();
    }
    let hasty = Options { call_timeout: Duration::from_secs(1), ..Options::default() };
    let nobody = Client::over_mycelium(pair.one.url(), pair.to_two.clone()).options(hasty).build().unwrap();
    let late = nobody.call::<Value>("any", json!({})).await.unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }), "{late}");
}

#[tokio::test]
async fn the_own_node_is_called_directly_and_so_is_one_without_a_daemon() {
    let pair = fake().await;
    let own = Client::over_mycelium(pair.one.url(), pair.to_one.clone()).build().unwrap();
    let refused = own.whoami().await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(words) if words.contains("fallback")), "{refused}");
    for daemon in [pair.one.url().to_owned(), format!("http://127.0.0.1:{}", free_port().unwrap())] {
        let client =
            Client::over_mycelium(daemon, pair.to_one.clone()).fallback("http://127.0.0.1:9").build();
        let there = client.unwrap().call::<Value>("whoami", json!({})).await.unwrap_err();
        assert!(matches!(&there, Error::Unreachable { address, .. } if address.ends_with(":9")), "{there}");
    }
}

#[tokio::test]
async fn a_daemon_that_hangs_or_babbles_is_told_as_such() {
    let overlay = FakeOverlay::new();
    let fake = overlay.daemon().await.unwrap();
    let options = DaemonOptions { call_timeout: Duration::from_millis(200), ..DaemonOptions::default() };
    let daemon = Daemon::new(&fake.url(), options).unwrap();
    fake.set_mood(Mood::Garbage);
    assert!(matches!(daemon.info().await.unwrap_err(), Error::Malformed { .. } | Error::Unreachable { .. }));
    fake.set_mood(Mood::Hangs);
    assert!(matches!(daemon.info().await.unwrap_err(), Error::Timeout { .. }));
    fake.set_mood(Mood::Old);
    assert_eq!(daemon.info().await.unwrap().node_ip, None);
    fake.set_alone(true);
    assert_eq!(daemon.peers().await.unwrap(), 0);
}
