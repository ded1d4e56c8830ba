//! Several messages in one delivery: what a relay takes, and what it sends to those that do, and do not.

use std::sync::Arc;

use hero_msgbus_relay::message::Message;
use parking_lot::Mutex;
use redis::Commands as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::bus::{Bus, LOCAL, REPLY, Twin, reply_to, request_to, soon};

fn on_the_wire(number: u32) -> Message {
    Message { uid: format!("2.{number}"), src: 1, ..request_to(&[2], "echo", REPLY) }
}

/// The numbers of the requests that are in the queue of a service, in order.
fn queued(twin: &Twin, cmd: &str) -> Vec<String> {
    let items: Vec<Vec<u8>> = twin.redis().lrange(format!("msgbus.{cmd}"), 0, -1).unwrap();
    let mut uids: Vec<String> = items.iter().map(|item| Message::from_json(item).unwrap().uid).collect();
    uids.sort();
    uids
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_several_is_taken_or_refused_as_if_it_had_come_alone() {
    let bus = Bus::start_with(3, |config| drop(config.allow.insert("mine".into(), vec![3]))).await;
    let (one, two, three) = (bus.twin(1), bus.twin(2), bus.twin(3));
    let unsigned = on_the_wire(9).to_json();
    let lines = [
        one.sign(on_the_wire(1)),
        "{".into(),
        one.sign(on_the_wire(1)),
        unsigned,
        three.sign(Message { src: 3, ..on_the_wire(1) }),
        one.sign(Message { cmd: "mine".into(), ..on_the_wire(2) }),
        String::new(),
        one.sign(on_the_wire(3)),
    ];
    let (status, answer) = two.post("/zbus-remote-batch", &lines.join("\n")).await;
    let refused = |status: u16, words: &str| format!(r#"{{"status":{status},"message":"{words}"}}"#);
    let told = [
        "null".into(),
        refused(400, "couldn't parse json"),
        "null".into(),
        refused(400, "signature field is empty, message is not signed"),
        "null".into(),
        refused(403, "twin 1 may not use this command"),
        "null".into(),
    ];
    assert_eq!((status, answer), (200, format!("[{}]", told.join(","))));
    // Twin 1's and twin 3's are different requests of the same uid.
    assert_eq!(queued(two, "echo"), ["2.1", "2.1", "2.3"]);
    assert_eq!(two.post("/zbus-remote-batch", "").await, (200, "[]".to_owned()));
    let (status, answer) = two.post("/zbus-reply-batch", &"{}\n".repeat(65)).await;
    assert!(status == 413 && answer.contains("more than 64 messages at once"), "{status} {answer}");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_have_one_answer_each() {
    const REQUESTS: usize = 2_000;
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let (_echo, mut redis) = (two.echo("echo"), one.redis());
    // Some too long to go with others.
    let payload =
        |number: usize| format!("{number}:{}", "x".repeat(if number % 100 == 7 { 9_000 } else { 9 }));
    for numbers in (0..REQUESTS).collect::<Vec<_>>().chunks(100) {
        let ask =
            |number: &usize| Message { dat: payload(*number), ..request_to(&[2], "echo", "r") }.to_json();
        let _: i64 = redis.rpush(LOCAL, numbers.iter().map(ask).collect::<Vec<_>>()).unwrap();
    }
    let mut open: Vec<String> = (0..REQUESTS).map(payload).collect();
    open.sort();
    let mut answers: Vec<String> = (0..REQUESTS).map(|_| one.answer("r").dat).collect();
    answers.sort();
    assert!(answers == open, "each payload came back once");
    soon("nothing is left", || one.is_empty() && two.is_empty()).await;
    bus.stop().await;
}

/// What came to a path at once.
type Asked = (String, Vec<Message>);

/// Another twin's relay, of which a test says how it answers: status, a line of the head, body.
struct Peer {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Answer = (&'static str, &'static str, String);

impl Peer {
    async fn start(answer: impl Fn(&str, &[Message]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    let (path, messages, mut stream) = read(stream).await;
                    let (status, line, body) = answer(&path, &messages);
                    seen.lock().push((path, messages));
                    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{line}content-length: ");
                    let text = format!("{head}{}\r\n\r\n{body}", body.len());
                    stream.write_all(text.as_bytes()).await.unwrap();
                });
            }
        });
        Self { address, asked }
    }

    /// How often each path was asked, and the uids that came there.
    fn uids(&self, path: &str) -> (usize, Vec<String>) {
        let asked = self.asked.lock();
        let bodies: Vec<_> = asked.iter().filter(|(asked, _)| asked == path).collect();
        let mut uids: Vec<String> =
            bodies.iter().flat_map(|(_, messages)| messages).map(|message| message.uid.clone()).collect();
        uids.sort_by_key(|uid| uid[2..].parse::<u32>().unwrap());
        (bodies.len(), uids)
    }
}

async fn read(stream: TcpStream) -> (String, Vec<Message>, BufReader<TcpStream>) {
    let mut stream = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap().to_owned();
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let messages = body.split(|byte| *byte == b'\n').map(|line| Message::from_json(line).unwrap()).collect();
    (path, messages, stream)
}

const ACCEPTED: &str = r#"{"status": "accepted"}"#;
const OFFER: &str = "msgbus-batch: 64\r\n";

fn ask(twin: &Twin, count: usize) {
    let request = Message { retries: 100, ..request_to(&[5], "c", "r") }.to_json();
    let _: i64 = twin.redis().rpush(LOCAL, vec![request; count]).unwrap();
}

fn expected(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| format!("5.{number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_offers_it_gets_several_at_once_and_refuses_each_by_itself() {
    const SOME: usize = 300;
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    // The second attempt of one that it has no place for gets through.
    let refused_before = Mutex::new(false);
    let peer = Peer::start(move |path, messages| {
        let is_refused = |message: &Message| {
            message.uid == "5.50" && !std::mem::replace(&mut *refused_before.lock(), true)
        };
        let outcome =
            |message| if is_refused(message) { r#"{"status":429,"message":"full"}"# } else { "null" };
        match path {
            "/zbus-remote" if is_refused(&messages[0]) => ("429 Too Many Requests", OFFER, String::new()),
            "/zbus-remote" | "/zbus-reply" => ("200 OK", OFFER, ACCEPTED.to_owned()),
            _ => ("200 OK", "", format!("[{}]", messages.iter().map(outcome).collect::<Vec<_>>().join(","))),
        }
    })
    .await;
    bus.add(5, &peer.address);
    ask(one, 1);
    soon("the offer is known", || peer.uids("/zbus-remote").0 == 1).await;
    ask(one, SOME);
    let both = || [peer.uids("/zbus-remote"), peer.uids("/zbus-remote-batch")];
    soon("all are there", || both().iter().map(|(_, uids)| uids.len()).sum::<usize>() == SOME + 2).await;
    let [(alone, _), (deliveries, uids)] = both();
    assert!(deliveries + alone < SOME / 2, "{deliveries} deliveries of several, {alone} of one");
    // The one that was refused came again, alone or with others.
    let again = uids.iter().filter(|uid| *uid == "5.50").count();
    assert!((1..=2).contains(&again), "{again}");
    let outbox = || one.redis().zcard::<_, i64>("msgbus.system.outbox").unwrap();
    soon("all are settled", || outbox() == 0).await;
    // Replies go together too.
    let replies =
        |number: usize| reply_to(&Message { uid: format!("1.{number}"), ..asked_by_five() }, "eA==");
    let texts: Vec<String> = (1..=SOME).map(|number| replies(number).to_json()).collect();
    let _: i64 = one.redis().rpush(REPLY, texts).unwrap();
    soon("the replies are there", || peer.uids("/zbus-reply-batch").1.len() >= SOME - 64).await;
    bus.stop().await;
}

/// A request of twin 5 to twin 1.
fn asked_by_five() -> Message {
    Message { src: 5, ..request_to(&[1], "c", REPLY) }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_refused_at_once_are_each_told_why() {
    let bus = Bus::start_with(2, |config| drop(config.allow.insert("mine".into(), vec![2]))).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let _echo = two.echo("echo");
    one.ask(&request_to(&[2], "echo", "first"));
    assert_eq!(one.answer("first").err, "");
    let request = Message { retries: 9, ..request_to(&[2], "mine", "r") };
    let _: i64 = one.redis().rpush(LOCAL, vec![request.to_json(); 200]).unwrap();
    for _ in 0..200 {
        let why = "all retries done: failed to send remote: 403 Forbidden (twin 1 may not use this command)";
        assert_eq!(one.answer("r").err, why);
    }
    soon("nothing is left", || one.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_daemon_gets_one_at_a_time() {
    let bus = Bus::start(1).await;
    let peer = Peer::start(|_, _| ("200 OK", "", ACCEPTED.to_owned())).await;
    bus.add(5, &peer.address);
    ask(bus.twin(1), 100);
    soon("all are there", || peer.uids("/zbus-remote").1.len() == 100).await;
    assert_eq!(peer.uids("/zbus-remote"), (100, expected(1..=100)));
    assert_eq!(peer.asked.lock().len(), 100);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_offers_it_and_does_not_keep_it_gets_one_at_a_time_and_loses_nothing() {
    for broken in [
        ("404 Not Found", "404 page not found\n".to_owned()),
        ("200 OK", ACCEPTED.to_owned()),
        ("413 Payload Too Large", "{}".to_owned()),
    ] {
        let bus = Bus::start(1).await;
        let status = broken.0;
        let peer = Peer::start(move |path, _| match path {
            "/zbus-remote" => ("200 OK", OFFER, ACCEPTED.to_owned()),
            _ => (broken.0, "", broken.1.clone()),
        })
        .await;
        bus.add(5, &peer.address);
        ask(bus.twin(1), 1);
        soon("the offer is known", || peer.uids("/zbus-remote").0 == 1).await;
        ask(bus.twin(1), 100);
        soon("all are there", || peer.uids("/zbus-remote").1.len() == 101).await;
        assert_eq!(peer.uids("/zbus-remote").1, expected(1..=101), "{status}");
        assert!(peer.uids("/zbus-remote-batch").0 > 0, "{status}");
        let outbox = || bus.twin(1).redis().zcard::<_, i64>("msgbus.system.outbox").unwrap();
        soon("all are settled", || outbox() == 0).await;
        bus.stop().await;
    }
}
