//! One socket, every way to speak JSON-RPC; and who may.

use std::time::Duration;

use hero_runtime::{Address, listen::TlsConfig};
use hero_testing::{RedisServer, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use crate::setup::{PATIENCE, Signer, World, reason};

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("the connection ends").unwrap();
    answer
}

fn port(address: &Address) -> u16 {
    address.port().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_http_and_websocket_are_told_apart_by_the_first_byte() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| config.wire.idle_timeout_ms = 300).await;
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"list_nodes"}"#;
    let path = folder.path().join("explorer.sock");

    // As `nc -U` sends it, two at once, a batch among them; the server hangs up on silence.
    let mut unix = UnixStream::connect(&path).await.unwrap();
    let answer = exchange(&mut unix, &format!("{call}\n\n[{call},{call}]\n")).await;
    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["result"]["total"]), (&json!(7), &json!(0)), "{answer}");
    assert_eq!(lines[1].as_array().map(Vec::len), Some(2), "{answer}");

    let document = world.ok(&world.tcp, "rpc.discover", json!([])).await;
    let methods: Vec<_> = document["methods"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert!(methods.contains(&&json!("call_node")) && !methods.contains(&&json!("run_job")), "{methods:?}");

    let mut tcp = TcpStream::connect(("127.0.0.1", port(&world.tcp))).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{call}", call.len());
    let answer = exchange(&mut tcp, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"id\":7"), "{answer}");

    let mut tcp = TcpStream::connect(("127.0.0.1", port(&world.tcp))).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tcp.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");

    let mut tcp = TcpStream::connect(("127.0.0.1", port(&world.tcp))).await.unwrap();
    let request = format!("{head}origin: http://evil.example\r\ncontent-length: 0\r\n\r\n");
    assert!(exchange(&mut tcp, &request).await.starts_with("HTTP/1.1 403"), "no page may call");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_too_much_or_nonsense_is_answered_or_cut_off() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| {
        config.wire.request_timeout_ms = 200;
        config.wire.max_request_bytes = 4_096;
    })
    .await;
    let connect = || async { TcpStream::connect(("127.0.0.1", port(&world.tcp))).await.unwrap() };
    assert_eq!(exchange(&mut connect().await, "").await, "", "silence");
    assert_eq!(exchange(&mut connect().await, "{\"jsonrpc\":").await, "", "half a line");
    let large = exchange(&mut connect().await, &format!("[{}", " ".repeat(5_000))).await;
    assert!(large.contains("REQUEST_TOO_LARGE"), "{large}");
    let mut stream = connect().await;
    stream.write_all(b"{nonsense}\n[\xff\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("-32700") && answer.contains("not UTF-8"), "{answer}");
    world.ok(&world.tcp, "list_nodes", json!([])).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_network_a_secret_opens_what_its_absence_closes() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let world = World::over(&redis, &folder, |config| config.secrets.admin = vec!["s3cret".into()]).await;
    let node = Signer::new("kitchen", 1);
    assert_eq!(reason(&world.send(&world.tcp, &node.line(json!({}))).await), "none", "a signature is enough");
    world.ok(&world.tcp, "get_node", json!(["kitchen"])).await;
    let ban = json!({"node_id": "kitchen"});
    assert_eq!(world.fault(&world.tcp, "ban_node", ban).await, "SCOPE_INSUFFICIENT");
    let wrong = json!({"node_id": "kitchen", "secret": "guess"});
    assert_eq!(world.fault(&world.tcp, "ban_node", wrong).await, "AUTHENTICATION_REQUIRED");
    world.ok(&world.tcp, "ban_node", json!({"node_id": "kitchen", "secret": "s3cret"})).await;
    world.ok(&world.unix, "remove_node", json!(["kitchen"])).await;
    world.stop().await;
}

/// An authority and two identities of it, in files.
fn identities(folder: &TempDir) -> [TlsConfig; 2] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    ["explorer", "node"].map(|name| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &authority).unwrap();
        let file = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        std::fs::write(file("pem"), cert.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        TlsConfig { ca: Some(ca.clone()), cert: Some(file("pem")), key: Some(file("key")) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn over_mutual_tls_a_certificate_opens_everything_and_its_absence_nothing() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let [server, client] = identities(&folder);
    let world = World::over(&redis, &folder, |config| {
        config.tcp = Some("tls://127.0.0.1:0".parse().unwrap());
        config.secrets.admin = vec!["s3cret".into()];
        (config.tls, config.calls.tls) = (server, client);
    })
    .await;
    assert!(world.tcp.to_string().starts_with("tls://127.0.0.1:"), "{}", world.tcp);
    let node = Signer::new("kitchen", 1);
    assert_eq!(reason(&world.send(&world.tcp, &node.line(json!({}))).await), "none");
    world.ok(&world.tcp, "ban_node", json!(["kitchen"])).await;

    let mut plain = TcpStream::connect(("127.0.0.1", port(&world.tcp))).await.unwrap();
    plain.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list_nodes\"}\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("result"), "plain text is not answered");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_left_by_a_crash_is_taken_over_and_one_in_use_is_refused() {
    let (redis, folder) = (RedisServer::start().unwrap(), TempDir::new().unwrap());
    let path = folder.path().join("explorer.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let world = World::over(&redis, &folder, |_| {}).await;
    let taken = hero_runtime::Listener::bind(&Address::Unix(path.clone())).await.unwrap_err().to_string();
    assert!(taken.contains("explorer.sock") && taken.contains("another process listens"), "{taken}");
    let long = Address::Unix(folder.path().join("x".repeat(200)));
    let long = hero_runtime::Listener::bind(&long).await.unwrap_err().to_string();
    assert!(long.contains("too long"), "{long}");
    world.stop().await;
    eventually("the file goes with it", Duration::from_secs(5), || async { !path.exists() }).await;
}
