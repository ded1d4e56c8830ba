//! deploy/systemd/msgbusd.service: its line, as it stands there, starts a relay.

use std::{fs, process::Stdio, time::Duration};

use hero_msgbus_relay::key::{Key, KeyType};
use hero_testing::{RedisServer, eventually, free_port};

use crate::bus::{request, seed};

const UNIT: &str = include_str!("../../../../deploy/systemd/msgbusd.service");

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_the_unit_starts_a_relay() {
    let (redis, folder) = (RedisServer::start().unwrap(), tempfile::tempdir().unwrap());
    let place = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port().unwrap();
    // The look-up, the words and the binary are where this machine has them.
    let key = Key::from_secret(KeyType::Sr25519, &seed(7)).unwrap();
    fs::write(place("twins"), format!("7 {} 127.0.0.1:{port}\n", hex::encode(key.public()))).unwrap();
    fs::write(place("words"), seed(7)).unwrap();
    let line = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let line = line
        .replace("https://twins.example.org", &format!("file:{}", place("twins")))
        .replace("/etc/hero/msgbus.words", &place("words"));
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words[0] == "msgbusd" && !line.contains("/etc/hero"), "{line}");
    // What its EnvironmentFile may say.
    let mut relay = tokio::process::Command::new(env!("CARGO_BIN_EXE_msgbus-relay"))
        .args(&words[1..])
        .env("HERO_MSGBUS_RELAY__REDIS__URL", redis.url())
        .env("HERO_MSGBUS_RELAY__LISTEN", format!("tcp://127.0.0.1:{port}"))
        .env("HERO_MSGBUS_RELAY__GRPC_LISTEN", "tcp://127.0.0.1:0")
        .env("HERO_MSGBUS_RELAY__ADMIN__LISTEN", "tcp://127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    let serves = async || tokio::net::TcpStream::connect(&address).await.is_ok();
    eventually("it serves", Duration::from_secs(20), serves).await;
    assert_eq!(request(&address, "POST", "/zbus-result", b"{").await.0, 400);
    // As systemd stops it: it ends by itself, without an error.
    let pid = rustix::process::Pid::from_raw(relay.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(25), relay.wait()).await;
    assert!(ended.expect("it ends within its grace").unwrap().success());
}
