//! The contract of the HTTP face, line by line (contracts/msgbus.md, sections 4, 5 and 9).

use hero_msgbus_relay::{
    key::{Account, Key, KeyType},
    message::Message,
};
use redis::Commands as _;

use crate::bus::{Bus, REPLY, now, reply_to, request, request_to, seed, soon};

const ACCEPTED: &str = r#"{"status": "accepted"}"#;

/// A request of twin 1 to twin 2 as its relay sends it.
fn on_the_wire(number: u32) -> Message {
    Message { uid: format!("2.{number}"), src: 1, ..request_to(&[2], "echo", REPLY) }
}

fn told(words: &str) -> String {
    format!("{{\"Status\":\"error\",\"Message\":\"{words}\"}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_accepted_by_any_method_and_delivered_once() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let body = one.sign(on_the_wire(1));
    for method in ["POST", "GET", "PUT"] {
        let answer = request(&two.address, method, "/zbus-remote", body.as_bytes()).await;
        assert_eq!(answer, (200, ACCEPTED.to_owned()), "{method}");
    }
    // The same uid, dated and signed anew: a repeat whose first answer was lost.
    let again = one.sign(Message { now: now() + 1, ..on_the_wire(1) });
    assert_eq!(two.post("/zbus-remote", &again).await.0, 200);
    let trailing = one.sign(on_the_wire(2)) + "\nand more";
    assert_eq!(two.post("/zbus-remote", &trailing).await.0, 200);
    assert_eq!(two.serve("echo").to_json(), body);
    assert_eq!(two.serve("echo").uid, "2.2");
    assert_eq!(two.redis().llen::<_, i64>("msgbus.echo").unwrap(), 0);
    for path in ["/", "/zbus-remote/", "/zbus", "/zbus-cmd/x"] {
        assert_eq!(two.post(path, &body).await, (404, "404 page not found\n".to_owned()), "{path}");
    }
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_has_its_status_and_its_words() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let good = || on_the_wire(1);
    let (t, at) = (now(), |now: i64| Message { now, ..on_the_wire(1) });
    let stranger = Key::from_secret(KeyType::Ed25519, &seed(9)).unwrap();
    let mut forged = good();
    stranger.sign(&mut forged);
    let sig = |sig: &str| Message { sig: sig.into(), ..on_the_wire(1) }.to_json();
    let cases = [
        ("{".to_owned(), "couldn't parse json"),
        (r#"{"ver":"1"}"#.to_owned(), "couldn't parse json"),
        (one.sign(at(t - 120)), "message is too old, sent since 12"),
        (one.sign(at(t + 86_400)), "message is from the future"),
        (one.sign(Message { src: 99, ..good() }), "source twin 99 not found"),
        (one.sign(Message { src: -1, ..good() }), "source twin -1 not found"),
        (sig(""), "signature field is empty, message is not signed"),
        (sig("zz"), "couldn't decode signature: "),
        (sig("aa00"), "unrecognized signature prefix aa"),
        (sig("6500"), "couldn't verify signature"),
        (forged.to_json(), "couldn't verify signature"),
        (one.sign(Message { dst: vec![7], ..good() }), "this is twin 2, which is no destination"),
        (one.sign(Message { cmd: "system.local".into(), ..good() }), "the command is reserved"),
        (one.sign(Message { cmd: "counter.1".into(), ..good() }), "the command is reserved"),
        (one.sign(Message { cmd: "x".repeat(201), ..good() }), "the command is longer"),
        (one.sign(Message { ver: 2, ..good() }), "protocol version mismatch"),
        (one.sign(Message { err: "no".into(), ..good() }), "a request has no error"),
        (one.sign(Message { uid: String::new(), ..good() }), "missing uid"),
    ];
    for (body, words) in cases {
        let (status, answer) = two.post("/zbus-remote", &body).await;
        assert_eq!(status, 400, "{words}: {answer}");
        assert!(answer.contains(words), "{words}: {answer}");
    }
    assert_eq!(two.post("/zbus-remote", "{").await.1, told("couldn't parse json"));
    assert!(two.is_empty() && !two.redis().exists::<_, bool>("msgbus.echo").unwrap());
    // The look-up is away, and twin 3 was never heard of.
    std::fs::remove_file(bus.table()).unwrap();
    let (status, answer) = two.post("/zbus-remote", &one.sign(Message { src: 3, ..good() })).await;
    assert!(status == 502 && answer.contains("couldn't get twin 3 public key: "), "{status} {answer}");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_queues_rates_and_commands_are_bounded() {
    let bus = Bus::start_with(2, |config| {
        (config.accept.max_body_bytes, config.accept.max_queued) = (2_000, 2);
        config.allow.insert("mine.*".into(), vec![2]);
    })
    .await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let large = one.sign(Message { dat: "x".repeat(3_000), ..on_the_wire(1) });
    assert_eq!(two.post("/zbus-remote", &large).await.0, 413);
    for (number, status) in [(1, 200), (2, 200), (3, 429)] {
        assert_eq!(two.post("/zbus-remote", &one.sign(on_the_wire(number))).await.0, status);
    }
    // What was taken before is still a repeat, not a refusal.
    assert_eq!(two.post("/zbus-remote", &one.sign(on_the_wire(1))).await.0, 200);
    let private = one.sign(Message { cmd: "mine.keys".into(), ..on_the_wire(4) });
    assert_eq!(two.post("/zbus-remote", &private).await.0, 403);
    // A full queue is no end: it is tried again, and gets there when the service has read.
    one.ask(&Message { retries: 100, ..request_to(&[2], "echo", "r") });
    let _echo = two.echo("echo");
    assert_eq!(one.answer("r").err, "");
    bus.stop().await;

    let bus = Bus::start_with(2, |config| config.accept.max_per_second = 3).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(two.post("/zbus-remote", &one.sign(on_the_wire(number))).await.0);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_twin_that_was_asked_can_answer() {
    let bus = Bus::start(3).await;
    let (one, two, three) = (bus.twin(1), bus.twin(2), bus.twin(3));
    one.ask(&request_to(&[2], "c", "r"));
    let asked = two.serve("c");
    let foreign = three.sign(Message { src: 3, ..reply_to(&asked, "ZXZpbA==") });
    let (status, answer) = one.post("/zbus-reply", &foreign).await;
    assert!(status == 400 && answer.contains("twin 3 was not asked under uid 2.1"), "{answer}");
    // pxy and ret of a reply are not believed.
    let victim = Message { pxy: true, ret: "victim".into(), ..reply_to(&asked, "MQ==") };
    assert_eq!(one.post("/zbus-reply", &two.sign(victim)).await, (200, ACCEPTED.to_owned()));
    assert_eq!(one.answer("r").dat, "MQ==");
    assert!(!one.redis().exists::<_, bool>("victim").unwrap());
    // A second one, and one nobody asked for: taken from its sender, and nothing more.
    assert_eq!(one.post("/zbus-reply", &two.sign(reply_to(&asked, "Mg=="))).await.0, 200);
    let never = Message { uid: "2.99".into(), ..reply_to(&asked, "Mw==") };
    assert_eq!(one.post("/zbus-reply", &two.sign(never)).await.0, 200);
    assert!(!one.redis().exists::<_, bool>("r").unwrap());
    soon("nothing is left", || one.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_http_has_its_result_over_http() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    // As the client libraries sign: without uid and return queue, pxy already set.
    let command = one.sign(Message { src: 1, pxy: true, ..request_to(&[2], "echo", "") });
    let (status, answer) = two.post("/zbus-cmd", &command).await;
    assert!(status == 200 && answer.starts_with(r#"{"retqueue":""#) && answer.ends_with("\"}\n"), "{answer}");
    // The same bytes are the same command.
    assert_eq!(two.post("/zbus-cmd", &command).await.1, answer);
    assert_eq!(two.post("/zbus-result", &answer).await, (200, "[]".to_owned()));
    let _echo = two.echo("echo");
    let ret = answer.trim().trim_start_matches(r#"{"retqueue":""#).trim_end_matches("\"}").to_owned();
    soon("the result is there", || two.redis().llen::<_, i64>(&ret).unwrap() == 1).await;
    for _ in 0..2 {
        let (status, results) = two.post("/zbus-result", &answer).await;
        assert_eq!(status, 200);
        let text = results.trim_start_matches('[').trim_end_matches(']');
        let result = Message::from_json(text.as_bytes()).unwrap();
        assert_eq!((result.dat.as_str(), result.ret == ret, result.pxy), ("hello", true, true));
        Account::from(two.key.public()).verify(&result).unwrap();
    }
    let raw = answer.replace("\"}", "\",\"raw\":true}");
    assert!(two.post("/zbus-result", &raw).await.1.contains("aGVsbG8="));
    for (body, words) in [
        ("{", "couldn't parse json"),
        (r#"{"retqueue":"7"}"#, "Invalid Retqueue, it should be a valid UUID"),
        (r#"{"retqueue":"018f0000-0000-7000-8000-000000000000"}"#, "Invalid Retqueue"),
    ] {
        let (status, answer) = two.post("/zbus-result", body).await;
        assert!(status == 400 && answer.contains(words), "{answer}");
    }
    // Somebody else's list cannot be read here, whatever its name is.
    let other = "3f1bb2a4-6c1e-4a53-9f57-0d4a63dfd1a7";
    let _: i64 = two.redis().rpush(other, command).unwrap();
    let body = format!(r#"{{"retqueue":"{other}"}}"#);
    assert_eq!(two.post("/zbus-result", &body).await, (200, "[]".to_owned()));
    bus.stop().await;
}
