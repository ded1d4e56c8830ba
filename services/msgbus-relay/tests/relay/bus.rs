//! Twins on one machine, each with a Redis and a relay of its own.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use hero_msgbus_relay::{
    MsgbusRelay, RelayConfig,
    key::{Key, KeyType},
    message::Message,
};
use hero_redis::RedisConfig;
use hero_runtime::{Address, Context, DrainConfig, Service as _, Shutdown, ShutdownTrigger, run_service};
use hero_testing::RedisServer;
use redis::{Commands as _, Connection};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const LOCAL: &str = "msgbus.system.local";
pub(crate) const REPLY: &str = "msgbus.system.reply";
pub(crate) const DEAD: &str = "msgbus.system.dead";
/// An answer that takes longer than this is none.
const LONG: f64 = 15.0;

/// One twin.
pub(crate) struct Twin {
    pub(crate) id: i64,
    pub(crate) redis: RedisServer,
    pub(crate) key: Key,
    pub(crate) address: String,
    pub(crate) grpc: Address,
    trigger: ShutdownTrigger,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Twins that know each other by a table.
pub(crate) struct Bus {
    folder: TempDir,
    pub(crate) twins: Vec<Twin>,
}

/// The seed of a twin's key.
pub(crate) fn seed(twin: i64) -> String {
    hex::encode([u8::try_from(twin).unwrap(); 32])
}

pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

impl Bus {
    /// Twins 1 to `count`.
    pub(crate) async fn start(count: i64) -> Self {
        Self::start_with(count, |_| {}).await
    }

    pub(crate) async fn start_with(count: i64, change: impl Fn(&mut RelayConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bus = Self { folder, twins: Vec::new() };
        let kinds = [KeyType::Ed25519, KeyType::Sr25519];
        let keys: Vec<Key> =
            (1..=count).map(|id| Key::from_secret(kinds[id as usize % 2], &seed(id)).unwrap()).collect();
        bus.write_table(keys.iter().zip(1..).map(|(key, id)| (id, hex::encode(key.public()), "-".into())));
        let mut bound = Vec::new();
        for id in 1..=count {
            let redis = RedisServer::start().unwrap();
            let mut config = RelayConfig {
                listen: Address::loopback(0),
                grpc_listen: Address::loopback(0),
                twin: u32::try_from(id).unwrap(),
                mnemonics: seed(id).as_str().into(),
                key_type: kinds[id as usize % 2],
                substrate: format!("file:{}", bus.table().display()),
                redis: RedisConfig::at(redis.url().parse().unwrap()),
                ..RelayConfig::default()
            };
            config.send.first_pause_ms = 50;
            change(&mut config);
            bound.push((redis, MsgbusRelay::bind(config, &Context::detached()).await.unwrap()));
        }
        for ((id, key), (redis, relay)) in (1..).zip(keys).zip(bound) {
            let grpc = relay.addresses().get("grpc").unwrap().clone();
            let address = relay.addresses().get("http").unwrap().to_string();
            let address = address.trim_start_matches("tcp://").to_owned();
            let (trigger, shutdown) = Shutdown::new(DrainConfig { grace_ms: 2_000, drain_delay_ms: 0 });
            bus.twins.push(Twin {
                id,
                redis,
                key,
                address,
                grpc,
                trigger,
                // It serves once the table is there.
                task: tokio::spawn(run_service(relay, shutdown)),
            });
        }
        let lines = bus.twins.iter().map(|it| (it.id, hex::encode(it.key.public()), it.address.clone()));
        bus.write_table(lines);
        bus
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.folder.path().join("twins")
    }

    fn write_table(&self, lines: impl Iterator<Item = (i64, String, String)>) {
        let text: String = lines.map(|(id, key, address)| format!("{id} {key} {address}\n")).collect();
        fs::write(self.table(), text).unwrap();
    }

    /// Adds a twin that nobody is, at an address; its key is that of its seed.
    pub(crate) fn add(&self, id: i64, address: &str) {
        let key = Key::from_secret(KeyType::Ed25519, &seed(id)).unwrap();
        let line = format!("{id} {} {address}\n", hex::encode(key.public()));
        fs::write(self.table(), fs::read_to_string(self.table()).unwrap() + &line).unwrap();
    }

    pub(crate) fn twin(&self, id: i64) -> &Twin {
        &self.twins[usize::try_from(id - 1).unwrap()]
    }

    pub(crate) async fn stop(self) {
        for twin in self.twins {
            twin.trigger.stop();
            twin.task.await.unwrap().unwrap();
        }
    }
}

impl Twin {
    pub(crate) fn redis(&self) -> Connection {
        self.redis.connection().unwrap()
    }

    /// Pushes a request as an old program does.
    pub(crate) fn ask(&self, request: &Message) {
        let _: i64 = self.redis().rpush(LOCAL, request.to_json()).unwrap();
    }

    /// The next answer in a return queue.
    pub(crate) fn answer(&self, ret: &str) -> Message {
        let item: Option<(String, Vec<u8>)> = self.redis().blpop(ret, LONG).unwrap();
        let (_, item) = item.unwrap_or_else(|| panic!("no answer in {ret}"));
        Message::from_json(&item).unwrap()
    }

    /// Takes the next request of a command, as a service does.
    pub(crate) fn serve(&self, cmd: &str) -> Message {
        self.answer(&format!("msgbus.{cmd}"))
    }

    /// A service's reply, which the relay finds.
    pub(crate) fn reply(&self, request: &Message, dat: &str) {
        let _: i64 = self.redis().lpush(REPLY, reply_to(request, dat).to_json()).unwrap();
    }

    /// A service that sends back what it gets, until it is dropped.
    pub(crate) fn echo(&self, cmd: &str) -> Echo {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut redis, queue, stopped) = (self.redis(), format!("msgbus.{cmd}"), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let item: Option<(String, Vec<u8>)> = redis.blpop(&queue, 0.1).unwrap_or_default();
                let Some((_, item)) = item else { continue };
                let request = Message::from_json(&item).unwrap();
                let reply = reply_to(&request, &request.dat).to_json();
                let _: redis::RedisResult<i64> = redis.rpush(REPLY, reply);
            }
        });
        Echo { stop, thread: Some(thread) }
    }

    /// Signs a message as this twin.
    pub(crate) fn sign(&self, mut message: Message) -> String {
        self.key.sign(&mut message);
        message.to_json()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, String) {
        request(&self.address, "POST", path, body.as_bytes()).await
    }

    /// The fields of a hash.
    pub(crate) fn redis_hash(&self, key: &str) -> HashMap<String, String> {
        self.redis().hgetall(key).unwrap()
    }

    /// Nothing waits, nothing is to be sent, nothing is being worked on.
    pub(crate) fn is_empty(&self) -> bool {
        let mut redis = self.redis();
        let lists = [LOCAL, REPLY, "msgbus.system.local.processing", "msgbus.system.reply.processing"];
        let listed: i64 = lists.iter().map(|key| redis.llen::<_, i64>(*key).unwrap()).sum();
        let hashes = [
            "msgbus.system.backlog",
            "msgbus.system.backlog.ret",
            "msgbus.system.answers",
            "msgbus.system.failures",
        ];
        let hashed: i64 = hashes.iter().map(|key| redis.hlen::<_, i64>(*key).unwrap()).sum();
        let sets = ["msgbus.system.backlog.due", "msgbus.system.outbox", "msgbus.system.answers.due"];
        let sorted: i64 = sets.iter().map(|key| redis.zcard::<_, i64>(*key).unwrap()).sum();
        listed + hashed + sorted == 0
    }
}

/// Ends its service when it is dropped.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request as a client makes it.
pub(crate) fn request_to(dst: &[i64], cmd: &str, ret: &str) -> Message {
    Message {
        ver: 1,
        cmd: cmd.into(),
        exp: 60,
        dat: "aGVsbG8=".into(),
        dst: dst.to_vec(),
        ret: ret.into(),
        now: now(),
        ..Message::default()
    }
}

/// A reply as a service makes it: source and destination swapped.
pub(crate) fn reply_to(request: &Message, dat: &str) -> Message {
    Message {
        src: request.dst[0],
        dst: vec![request.src],
        dat: dat.into(),
        now: now(),
        sig: String::new(),
        ..request.clone()
    }
}

/// One HTTP request on a connection of its own: status and body.
pub(crate) async fn request(address: &str, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refusal may come, and the connection end, before everything is written.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer}")).parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A condition that holds soon.
pub(crate) async fn soon(what: &str, condition: impl Fn() -> bool) {
    hero_testing::eventually(what, Duration::from_secs(15), async || condition()).await;
}
