//! Twins looked up at a web service, over HTTP and HTTPS.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use hero_msgbus_relay::{
    key::{Key, KeyType},
    message::Message,
};
use hero_runtime::{
    Address, Listener,
    listen::{Acceptor, Stream, TlsConfig},
};
use hero_testing::{Certificates, RedisServer, eventually, free_port};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::bus::{Bus, REPLY, request, request_to, seed};

const PATIENCE: Duration = Duration::from_secs(20);

/// A web service that knows twins, as docs/msgbus.md describes it.
#[derive(Clone, Default)]
struct Directory {
    /// Account and address by id.
    twins: Arc<Mutex<BTreeMap<u32, (String, String)>>>,
    asked: Arc<AtomicUsize>,
    is_ill: Arc<AtomicBool>,
}

impl Directory {
    /// Serves, with TLS if there are certificates; its URL.
    async fn serve(&self, certificates: Option<&Certificates>) -> String {
        let acceptor = certificates.map(|files| {
            let (cert, key) = (Some(files.certificate()), Some(files.key()));
            Acceptor::new(&TlsConfig { ca: None, cert, key }, PATIENCE).unwrap()
        });
        let mut listener = Listener::bind(&Address::loopback(0)).await.unwrap();
        let address = listener.address().to_string().replace("tcp://", "");
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let this = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(stream)) = listener.next().await {
                let accepted = match &acceptor {
                    Some(acceptor) => acceptor.accept(stream).await,
                    None => Ok(stream),
                };
                // A client that does not believe the certificate goes away.
                if let Ok(stream) = accepted {
                    this.answer(stream).await;
                }
            }
        });
        format!("{scheme}://{address}")
    }

    async fn answer(&self, stream: Stream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
            head.push_str(&std::mem::take(&mut line));
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match self.find(path) {
            _ if self.is_ill.load(Ordering::Relaxed) => ("503 Service Unavailable", String::new()),
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", String::new()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        // A caller that has gone meanwhile gets nothing.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn find(&self, path: &str) -> Option<String> {
        let twins = self.twins.lock();
        let (id, (account, address)) = match path.strip_prefix("/twins?account=") {
            Some(account) => twins.iter().find(|(_, twin)| twin.0 == account)?,
            None => twins.get_key_value(&path.strip_prefix("/twins/")?.parse().ok()?)?,
        };
        Some(format!(r#"{{"id":{id},"account":"0x{account}","address":"{address}","more":null}}"#))
    }

    /// The twins of a bus, with where they are.
    fn enter(&self, bus: &Bus) {
        for twin in &bus.twins {
            self.put(u32::try_from(twin.id).unwrap(), &hex::encode(twin.key.public()), &twin.address);
        }
    }

    /// The twins that a bus will have, before anybody knows where they are.
    fn expect(&self, count: u32) {
        for id in 1..=count {
            let kind = [KeyType::Ed25519, KeyType::Sr25519][id as usize % 2];
            self.put(id, &hex::encode(Key::from_secret(kind, &seed(id.into())).unwrap().public()), "-");
        }
    }

    fn put(&self, id: u32, account: &str, address: &str) {
        self.twins.lock().insert(id, (account.to_owned(), address.to_owned()));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_service_says_who_twins_are_and_is_asked_once() {
    let directory = Directory::default();
    let url = directory.serve(None).await;
    // The relay finds its own id by the account of its key.
    directory.expect(2);
    let bus = Bus::start_with(2, |config| {
        (config.substrate, config.twin) = (url.clone(), 0);
        config.twins.missing_ms = config.twins.cache_ms;
    })
    .await;
    directory.enter(&bus);
    let (one, _echo) = (bus.twin(1), bus.twin(2).echo("echo"));
    one.ask(&request_to(&[2], "echo", "r"));
    assert_eq!((one.answer("r").err.as_str(), directory.asked()), ("", 4), "both themselves, and each other");
    for _ in 0..5 {
        one.ask(&request_to(&[2, 9, 9], "echo", "r"));
        let mut errors: Vec<String> = (0..3).map(|_| one.answer("r").err).collect();
        errors.sort_unstable();
        let missing = "all retries done: twin not found: object not found";
        assert_eq!(errors, ["", missing, missing]);
    }
    // What is known is remembered, and that there is no such twin too.
    assert_eq!(directory.asked(), 5);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_service_that_is_away_costs_no_message() {
    let directory = Directory::default();
    let url = directory.serve(None).await;
    directory.is_ill.store(true, Ordering::Relaxed);
    // With --twin a relay starts without it.
    let bus = Bus::start_with(2, |config| {
        config.substrate = url.clone();
        config.send.longest_pause_ms = 200;
    })
    .await;
    directory.enter(&bus);
    let (one, two) = (bus.twin(1), bus.twin(2));
    one.ask(&request_to(&[2], "echo", "now"));
    let told = one.answer("now").err;
    assert!(
        told.contains("the look-up of twins does not answer: GET http://") && told.contains("503"),
        "{told}"
    );
    let foreign = Message { uid: "2.7".into(), src: 1, ..request_to(&[2], "echo", REPLY) };
    let (status, words) = two.post("/zbus-remote", &one.sign(foreign)).await;
    assert!(status == 502 && words.contains("couldn't get twin 1 public key: "), "{status} {words}");
    // Whoever asks to be tried again gets there as soon as it is back.
    one.ask(&Message { retries: 1_000, ..request_to(&[2], "echo", "later") });
    let asked = directory.asked();
    eventually("it is asked again", PATIENCE, async || directory.asked() > asked + 1).await;
    directory.is_ill.store(false, Ordering::Relaxed);
    let _echo = two.echo("echo");
    assert_eq!(one.answer("later").err, "");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_answer_any_more_is_looked_up_again() {
    let directory = Directory::default();
    let url = directory.serve(None).await;
    directory.expect(2);
    let bus = Bus::start_with(2, |config| {
        config.substrate = url.clone();
        config.send.longest_pause_ms = 200;
    })
    .await;
    directory.enter(&bus);
    let (one, two) = (bus.twin(1), bus.twin(2));
    directory.put(2, &hex::encode(two.key.public()), &format!("127.0.0.1:{}", free_port().unwrap()));
    let _echo = two.echo("echo");
    one.ask(&Message { retries: 1_000, ..request_to(&[2], "echo", "r") });
    let tried = async || !one.redis_hash("msgbus.system.failures").is_empty();
    eventually("sending has failed", PATIENCE, tried).await;
    directory.enter(&bus);
    assert_eq!(one.answer("r").err, "");
    bus.stop().await;
}

/// What a relay says that is told to look its twin up there, and ends when it cannot.
fn relay(redis: &RedisServer, url: &str, ca: Option<&Path>, port: u16) -> Command {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_msgbus-relay"));
    relay.args(["--substrate", url, "--key-type", "ed25519", "--redis", &redis.url()]);
    relay.args(["--listen", &format!("127.0.0.1:{port}"), "--grpc-listen", "tcp://127.0.0.1:0"]);
    relay.env("HERO_MSGBUS_RELAY__MNEMONICS", seed(7));
    relay.env("HERO_MSGBUS_RELAY__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    if let Some(ca) = ca {
        relay.env("SSL_CERT_FILE", ca);
    }
    relay.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    relay
}

async fn ends(relay: Command) -> Output {
    tokio::time::timeout(PATIENCE, tokio::process::Command::from(relay).kill_on_drop(true).output())
        .await
        .expect("it ends")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_service_has_to_prove_itself() {
    let (directory, files) = (Directory::default(), Certificates::make().unwrap());
    let (url, redis) = (directory.serve(Some(&files)).await, RedisServer::start().unwrap());
    let distrusted = ends(relay(&redis, &url, None, 0)).await;
    let words = String::from_utf8_lossy(&distrusted.stderr);
    assert!(!distrusted.status.success() && words.contains("certificate"), "{words}");
    assert_eq!(directory.asked(), 0);
    // One that is believed says that there is no such twin, and which account to enter.
    let unknown = ends(relay(&redis, &url, Some(&files.authority()), 0)).await;
    let account = hex::encode(Key::from_secret(KeyType::Ed25519, &seed(7)).unwrap().public());
    let words = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && words.contains(&account), "{words}");
    // And once it is entered, the relay serves as that twin.
    directory.put(7, &account, "-");
    let port = free_port().unwrap();
    let served = relay(&redis, &url, Some(&files.authority()), port);
    let mut served = tokio::process::Command::from(served).kill_on_drop(true).spawn().unwrap();
    let address = format!("127.0.0.1:{port}");
    let listens = async || tokio::net::TcpStream::connect(&address).await.is_ok();
    eventually("it serves", PATIENCE, listens).await;
    assert_eq!(request(&address, "POST", "/zbus-result", b"{").await.0, 400);
    served.kill().await.unwrap();
}
