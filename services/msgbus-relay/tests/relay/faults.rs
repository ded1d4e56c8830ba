//! The relay as a process that is killed while it works, and input that nobody meant.

use std::{
    collections::HashMap,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hero_msgbus_relay::{
    key::{Key, KeyType},
    message::Message,
};
use hero_testing::{RedisServer, free_port};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redis::Commands as _;
use tempfile::TempDir;

use crate::bus::{Bus, LOCAL, REPLY, now, reply_to, request, request_to, seed};

/// Requests of the run.
const REQUESTS: usize = 3_000;
/// Kills of it.
const KILLS: usize = 8;
/// How long the whole run may take.
const LONG: Duration = Duration::from_secs(180);

/// A relay that is a process.
struct Relay {
    id: i64,
    port: u16,
    redis: RedisServer,
    child: Child,
}

impl Relay {
    fn start(id: i64, port: u16, redis: RedisServer, folder: &TempDir) -> Self {
        let child = Self::spawn(id, port, &redis, folder);
        Self { id, port, redis, child }
    }

    fn spawn(id: i64, port: u16, redis: &RedisServer, folder: &TempDir) -> Child {
        let table = format!("file:{}", folder.path().join("twins").display());
        let (twin, listen) = (id.to_string(), format!("127.0.0.1:{port}"));
        Command::new(env!("CARGO_BIN_EXE_msgbus-relay"))
            .args(["--substrate", &table, "--key-type", "ed25519", "--twin", &twin, "--listen", &listen])
            .args(["--redis", &redis.url(), "--grpc-listen", "tcp://127.0.0.1:0", "--log-level", "error"])
            .env("HERO_MSGBUS_RELAY__MNEMONICS", seed(id))
            .env("HERO_MSGBUS_RELAY__ADMIN__LISTEN", "tcp://127.0.0.1:0")
            .env("HERO_MSGBUS_RELAY__SEND__FIRST_PAUSE_MS", "50")
            .env("HERO_MSGBUS_RELAY__SEND__LONGEST_PAUSE_MS", "200")
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Kills it as `kill -9` does, and starts it again.
    fn kill(&mut self, folder: &TempDir) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(self.id, self.port, &self.redis, folder);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn two_relays(folder: &TempDir) -> [Relay; 2] {
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let lines = [1, 2].map(|id| {
        let key = Key::from_secret(KeyType::Ed25519, &seed(id)).unwrap();
        format!("{id} {} 127.0.0.1:{}\n", hex::encode(key.public()), ports[id as usize - 1])
    });
    fs::write(folder.path().join("twins"), lines.concat()).unwrap();
    [1, 2].map(|id| Relay::start(id, ports[id as usize - 1], RedisServer::start().unwrap(), folder))
}

/// Answers what comes, and counts how often each came, until there are `all` of them and nothing more comes.
fn count_and_echo(redis: &mut redis::Connection, seen: &mut HashMap<String, usize>) {
    let item: Option<(String, Vec<u8>)> = redis.blpop("msgbus.count", 0.02).unwrap();
    if let Some((_, item)) = item {
        let request = Message::from_json(&item).unwrap();
        *seen.entry(request.dat.clone()).or_default() += 1;
        let _: i64 = redis.rpush(REPLY, reply_to(&request, &request.dat).to_json()).unwrap();
    }
}

#[test]
fn relays_that_are_killed_under_load_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut relays = two_relays(&folder);
    let (mut one, mut two) = (relays[0].redis.connection().unwrap(), relays[1].redis.connection().unwrap());
    let began = Instant::now();
    let (mut sent, mut kills) = (0, 0);
    let (mut served, mut answered) = (HashMap::new(), HashMap::new());
    while answered.len() < REQUESTS {
        assert!(began.elapsed() < LONG, "{} of {REQUESTS} answered, {kills} kills", answered.len());
        for _ in 0..20.min(REQUESTS - sent) {
            let request =
                Message { retries: 10_000, dat: sent.to_string(), ..request_to(&[2], "count", "all") };
            let _: i64 = one.rpush(LOCAL, request.to_json()).unwrap();
            sent += 1;
        }
        for _ in 0..20 {
            count_and_echo(&mut two, &mut served);
        }
        let answers: Option<Vec<Vec<u8>>> = one.lpop("all", std::num::NonZeroUsize::new(1_000)).unwrap();
        for answer in answers.unwrap_or_default() {
            let answer = Message::from_json(&answer).unwrap();
            assert_eq!(answer.err, "");
            *answered.entry(answer.dat).or_default() += 1;
        }
        // Spread over the run, now the one and now the other.
        if kills < KILLS && answered.len() > (kills + 1) * REQUESTS / (KILLS + 2) {
            relays[kills % 2].kill(&folder);
            kills += 1;
        }
    }
    assert_eq!(kills, KILLS);
    assert!(answered.values().all(|count: &usize| *count == 1), "an answer came twice");
    assert!(served.len() == REQUESTS && served.values().all(|count| *count == 1), "a request came twice");
    let waiting: i64 = one.hlen("msgbus.system.backlog").unwrap();
    assert_eq!((waiting, one.llen::<_, i64>("all").unwrap()), (0, 0));
}

#[test]
fn no_body_harms_the_relay() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bus = runtime.block_on(Bus::start(2));
    let (one, two) = (bus.twin(1), bus.twin(2));
    let good = one.sign(Message { uid: "2.1".into(), src: 1, ..request_to(&[2], "echo", REPLY) });
    let paths = ["/zbus-remote", "/zbus-reply", "/zbus-cmd", "/zbus-result"];
    let bodies = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        // A good one with a byte changed, or cut.
        (any::<prop::sample::Index>(), any::<u8>()).prop_map({
            let good = good.clone().into_bytes();
            move |(at, byte)| {
                let mut body = good.clone();
                let at = at.index(body.len());
                body[at] = byte;
                body
            }
        }),
        any::<prop::sample::Index>().prop_map({
            let good = good.clone().into_bytes();
            move |at| good[..at.index(good.len())].to_vec()
        }),
        "\\{\"(ver|src|dst|now|retqueue)\":(-?[0-9]{1,20}|\"[a-z0-9]{0,9}\"|\\[[0-9,]{0,9}\\]|null|1e9)\\}"
            .prop_map(String::into_bytes),
    ];
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    runner
        .run(&(bodies, 0..4_usize), |(body, path)| {
            let (status, answer) = runtime.block_on(request(&two.address, "POST", paths[path], &body));
            prop_assert!(matches!(status, 200 | 400 | 403), "{status} {answer}");
            Ok(())
        })
        .unwrap();
    assert_eq!(runtime.block_on(two.post("/zbus-remote", &good)).0, 200);
    runtime.block_on(bus.stop());
}

/// A message of twin 1 whose members are anything, signed as it should be.
fn any_signed(bus: &Bus) -> impl Strategy<Value = String> + use<> {
    let number = prop_oneof![Just(0), Just(1), Just(2), any::<i64>()];
    let numbers = (number.clone(), number.clone(), number);
    let text = || prop_oneof![Just(String::new()), Just("echo".to_owned()), ".{0,40}"];
    let texts = (text(), text(), text(), text(), text());
    let twins = proptest::collection::vec(prop_oneof![Just(2), any::<i64>()], 0..4);
    let key = Key::from_secret(KeyType::Sr25519, &seed(1)).unwrap();
    assert_eq!(key.public(), bus.twin(1).key.public());
    (texts, numbers, twins, any::<bool>()).prop_map(
        move |((uid, cmd, dat, ret, err), (ver, exp, retries), dst, pxy)| {
            let now = now();
            let rest = Message::default();
            let mut message =
                Message { ver, uid, cmd, exp, retries, dat, src: 1, dst, ret, now, pxy, err, ..rest };
            key.sign(&mut message);
            message.to_json()
        },
    )
}

#[test]
fn a_twin_that_signs_nonsense_is_told_so_and_harms_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bus = runtime.block_on(Bus::start(2));
    let (one, two) = (bus.twin(1), bus.twin(2));
    let paths = ["/zbus-remote", "/zbus-reply", "/zbus-cmd"];
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    runner
        .run(&(any_signed(&bus), 0..3_usize), |(body, path)| {
            let (status, answer) =
                runtime.block_on(request(&two.address, "POST", paths[path], body.as_bytes()));
            prop_assert!(matches!(status, 200 | 400), "{status} {answer}");
            Ok(())
        })
        .unwrap();
    // No control queue has got anything, and what is right is served as before.
    let mut redis = two.redis();
    for queue in [LOCAL, REPLY, "msgbus.system.remote", "msgbus.system.dead"] {
        assert_eq!(redis.llen::<_, i64>(queue).unwrap(), 0, "{queue}");
    }
    let _: i64 = redis.del("msgbus.echo").unwrap();
    let good = one.sign(Message { uid: "2.good".into(), src: 1, ..request_to(&[2], "echo", REPLY) });
    assert_eq!(runtime.block_on(two.post("/zbus-remote", &good)).0, 200);
    assert_eq!(two.serve("echo").uid, "2.good");
    runtime.block_on(bus.stop());
}

/// Bytes on a connection, and what comes back until it ends.
async fn raw(address: &str, bytes: &[u8]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // It may have gone before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[test]
fn no_request_that_is_no_http_harms_the_relay() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bus = runtime.block_on(Bus::start(1));
    let address = bus.twin(1).address.clone();
    let heads = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        // Lengths that lie, chunks that are none, and heads without an end.
        "POST /zbus-(remote|reply|cmd|result) HTTP/1\\.[01]\r\n(content-length: -?[0-9]{1,20}\r\n|transfer-encoding: \
         chunked\r\n|x: [ -~]{0,200}\r\n){0,3}(\r\n([0-9a-f]{1,16}\r\n)?[ -~]{0,50})?"
            .prop_map(String::into_bytes),
    ];
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    runner
        .run(&heads, |bytes| {
            let answer = runtime.block_on(raw(&address, &bytes));
            prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
            Ok(())
        })
        .unwrap();
    let deep = "[".repeat(100_000);
    for body in
        [deep.clone(), format!("{{\"x\":{deep}"), format!("{{\"dst\":{deep}"), format!("{{\"dat\":{deep}")]
    {
        let (status, answer) = runtime.block_on(request(&address, "POST", "/zbus-remote", body.as_bytes()));
        assert!(status == 400 && answer.contains("couldn't parse json"), "{status} {answer}");
    }
    runtime.block_on(bus.stop());
}
