//! The contract of the queues, line by line (contracts/msgbus.md, sections 1 to 3 and 9).

use hero_msgbus_relay::message::Message;
use redis::Commands as _;

use crate::bus::{Bus, DEAD, LOCAL, REPLY, now, reply_to, request_to, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_finds_its_service_and_the_reply_its_asker() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    one.ask(&request_to(&[2], "wallet.balance", "ret-1"));
    let request = two.serve("wallet.balance");
    assert_eq!((request.uid.as_str(), request.src, &request.dst[..]), ("2.1", 1, &[2][..]));
    assert_eq!((request.ret.as_str(), request.dat.as_str(), request.exp), (REPLY, "aGVsbG8=", 60));
    assert!(request.sig.len() == 130 && !request.pxy && request.err.is_empty());
    // The original waits under the uid, as the client sent it.
    let backlog: String = one.redis().hget("msgbus.system.backlog", "2.1").unwrap();
    assert!(backlog.contains(r#""ret":"ret-1""#) && backlog.contains(r#""src":0"#), "{backlog}");
    two.reply(&request, "d29ybGQ=");
    let reply = one.answer("ret-1");
    assert_eq!((reply.uid.as_str(), reply.src, &reply.dst[..]), ("2.1", 2, &[1][..]));
    assert_eq!((reply.ret.as_str(), reply.dat.as_str(), reply.err.as_str()), ("ret-1", "d29ybGQ=", ""));
    soon("nothing is left", || one.is_empty() && two.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_return_queue_is_kept_for_half_an_hour_and_numbers_count_per_destination() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let _echo = two.echo("echo");
    for number in 1..=3 {
        one.ask(&request_to(&[2], "echo", "r"));
        assert_eq!(one.answer("r").uid, format!("2.{number}"));
    }
    one.ask(&request_to(&[2], "echo", "kept"));
    soon("the answer is there", || one.redis().llen::<_, i64>("kept").unwrap() == 1).await;
    let ttl: i64 = one.redis().ttl("kept").unwrap();
    assert!((1_700..=1_800).contains(&ttl), "{ttl}");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_destination_has_one_answer_also_the_same_twin_and_one_named_twice() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let _echoes = (one.echo("echo"), two.echo("echo"));
    // Itself, another one, that one again, an unknown one, and one that is no twin id.
    one.ask(&request_to(&[1, 2, 2, 9, 4_294_967_298], "echo", "many"));
    let mut answers: Vec<_> = (0..5).map(|_| one.answer("many")).collect();
    answers.sort_by(|a, b| a.uid.cmp(&b.uid));
    let told: Vec<_> = answers.iter().map(|it| (it.uid.as_str(), it.src, it.err.as_str())).collect();
    let missing = "all retries done: twin not found: object not found";
    let wanted =
        [("1.1", 1, ""), ("2.1", 2, ""), ("2.2", 2, ""), ("4294967298.1", 0, missing), ("9.1", 0, missing)];
    assert_eq!(told, wanted);
    assert_eq!(answers[0].dst, [1]);
    soon("nothing is left", || one.is_empty()).await;
    assert_eq!(one.redis().llen::<_, i64>("many").unwrap(), 0);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destination_is_tried_as_often_as_was_asked_and_then_told() {
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    bus.add(7, "127.0.0.1:1");
    one.ask(&Message { retries: 2, ..request_to(&[7], "echo", "dead") });
    let answer = one.answer("dead");
    assert!(
        answer.err.starts_with(r#"all retries done: Post "http://127.0.0.1:1/zbus-remote": "#),
        "{answer:?}"
    );
    assert!(answer.err.contains("onnection refused"), "{}", answer.err);
    assert_eq!((answer.src, &answer.dst[..], answer.dat.as_str()), (0, &[7][..], "aGVsbG8="));
    soon("nothing is left", || one.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_failures_without_a_uid_are_each_told() {
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    bus.add(7, "127.0.0.1:1");
    for number in 0..3 {
        let request = request_to(&[7], "echo", &format!("f{number}"));
        one.ask(&Message { retries: 1, ..request });
    }
    for number in 0..3 {
        assert!(one.answer(&format!("f{number}")).err.starts_with("all retries done: "));
    }
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_expires_in_time_and_a_late_reply_is_no_second_answer() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    one.ask(&Message { exp: 1, ..request_to(&[2], "slow", "late") });
    let request = two.serve("slow");
    let answer = one.answer("late");
    assert_eq!(
        (answer.uid.as_str(), answer.err.as_str()),
        ("2.1", "request timeout (expiration reached, 1)")
    );
    two.reply(&request, "dG9vIGxhdGU=");
    soon("the reply was forwarded", || two.is_empty()).await;
    assert_eq!(one.redis().llen::<_, i64>("late").unwrap(), 0);
    // What expires before it is sent is told at once.
    for exp in [-5, i64::MIN] {
        one.ask(&Message { exp, ..request_to(&[2], "slow", "never") });
        assert!(one.answer("never").err.starts_with("request timeout"), "{exp}");
    }
    soon("nothing is left", || one.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_request_gets_no_timeout_and_no_second_reply() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    one.ask(&Message { exp: 2, ..request_to(&[2], "twice", "once") });
    let request = two.serve("twice");
    two.reply(&request, "MQ==");
    assert_eq!(one.answer("once").dat, "MQ==");
    two.reply(&request, "Mg==");
    soon("the second was forwarded", || two.is_empty()).await;
    // Past its expiry: a later request with the same one has got its timeout.
    one.ask(&Message { exp: 2, ..request_to(&[2], "twice", "other") });
    assert!(one.answer("other").err.contains("timeout"));
    assert_eq!(one.redis().llen::<_, i64>("once").unwrap(), 0);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_told_in_the_old_words_and_order() {
    use Message;
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    let good = request_to(&[1], "echo", "bad");
    for (request, why) in [
        (Message { ver: 2, cmd: String::new(), ..good.clone() }, "protocol version mismatch"),
        (Message { cmd: String::new(), dst: vec![], ..good.clone() }, "missing command request"),
        (Message { dst: vec![], ..good.clone() }, "missing twin destination"),
        (Message { cmd: "system.local".into(), ..good.clone() }, "the command is reserved"),
        (Message { cmd: "a\nb".into(), ..good.clone() }, "the command has control characters"),
    ] {
        one.ask(&request);
        assert_eq!(one.answer("bad").err, format!("received invalid message: {why}"));
    }
    assert!(one.is_empty());
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_can_be_done_with_goes_to_the_dead_letters_without_a_pause() {
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    let _echo = one.echo("echo");
    let mut redis = one.redis();
    let began = std::time::Instant::now();
    for item in [&b"no json"[..], b"[]", b"\xff\xfe", br#"{"ver":"1"}"#] {
        let _: i64 = redis.rpush(LOCAL, item).unwrap();
    }
    // Nothing is answered into a queue of the bus itself, so nothing can go round.
    for ret in ["", REPLY, LOCAL, "msgbus.counter.1", "x.processing"] {
        one.ask(&request_to(&[1], "echo", ret));
    }
    one.ask(&request_to(&[1], "echo", "fine"));
    assert_eq!(one.answer("fine").err, "");
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    soon("nine were put away", || one.redis().llen::<_, i64>(DEAD).unwrap() == 9).await;
    let letters: Vec<String> = redis.lrange(DEAD, 0, -1).unwrap();
    assert!(letters.iter().any(|it| it.contains("item_base64")), "{letters:?}");
    assert!(letters.iter().all(|it| it.contains(r#""queue":"msgbus.system.local""#)));
    soon("nothing is left", || one.is_empty()).await;
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_belong_to_nobody_are_put_away() {
    use Message;
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    one.ask(&request_to(&[2], "c", "r"));
    let request = two.serve("c");
    let mut redis = two.redis();
    let unswapped = Message { src: request.src, dst: request.dst.clone(), ..reply_to(&request, "MQ==") };
    let proxied = Message { pxy: true, ret: "victim".into(), ..reply_to(&request, "MQ==") };
    let foreign = Message { src: 8, dst: vec![9], ..reply_to(&request, "MQ==") };
    let invalid = Message { ver: 3, ..reply_to(&request, "MQ==") };
    for reply in [unswapped, proxied, foreign, invalid] {
        let _: i64 = redis.rpush(REPLY, reply.to_json()).unwrap();
    }
    soon("four were put away", || two.redis().llen::<_, i64>(DEAD).unwrap() == 4).await;
    assert!(!redis.exists::<_, bool>("victim").unwrap());
    two.reply(&request, "Mg==");
    assert_eq!(one.answer("r").dat, "Mg==");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_read_leniently() {
    let bus = Bus::start(1).await;
    let one = bus.twin(1);
    let text = format!(
        r#"{{"VER":1,"Cmd":"lenient","dst":[1],"ret":"l","tag":"a text","now":{},"shm":null,"more":{{"a":[1]}}}}"#,
        now()
    );
    let _: i64 = one.redis().lpush(LOCAL, text).unwrap();
    let request = one.serve("lenient");
    assert_eq!((request.dat.as_str(), request.uid.as_str(), request.src), ("", "1.1", 1));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_their_service_in_their_order() {
    let bus = Bus::start_with(1, |config| (config.workers, config.send.max_in_flight) = (1, 1)).await;
    let one = bus.twin(1);
    for number in 0..5 {
        one.ask(&Message { shm: number.to_string(), ..request_to(&[1], "fifo", "r") });
    }
    soon("all are there", || one.redis().llen::<_, i64>("msgbus.fifo").unwrap() == 5).await;
    let order: Vec<String> = (0..5).map(|_| one.serve("fifo").shm).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4"]);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_that_an_old_daemon_left_behind_is_worked_off() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let left = Message { uid: "2.77".into(), src: 1, ..request_to(&[2], "left", REPLY) };
    let bad = Message { cmd: "system.local".into(), ..left.clone() };
    for message in [&left, &bad] {
        let _: i64 = two.redis().lpush("msgbus.system.remote", message.to_json()).unwrap();
    }
    assert_eq!(two.serve("left").uid, "2.77");
    soon("the bad one was put away", || two.redis().llen::<_, i64>(DEAD).unwrap() == 1).await;
    assert!(one.is_empty());
    bus.stop().await;
}
