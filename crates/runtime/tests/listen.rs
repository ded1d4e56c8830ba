//! Sockets: what is taken over, what is refused, and in which words.

use std::{fs, os::unix::fs::PermissionsExt as _};

use futures::StreamExt as _;
use hero_runtime::{
    Address, Listener,
    listen::{Peer, connect},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn refusal(address: &Address) -> String {
    let error = Listener::bind(address).await.expect_err("it should be refused").to_string();
    assert!(error.contains(&address.to_string()), "`{error}` does not name {address}");
    error
}

async fn echo_once(address: Address) -> Peer {
    let mut listener = Listener::bind(&address).await.unwrap();
    let bound = listener.address().clone();
    let client = tokio::spawn(async move {
        let mut stream = connect(&bound).await.unwrap();
        stream.write_all(b"hero").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    });
    let mut stream = listener.next().await.unwrap().unwrap();
    let mut question = [0; 4];
    stream.read_exact(&mut question).await.unwrap();
    stream.write_all(&question).await.unwrap();
    assert_eq!(&client.await.unwrap(), b"hero");
    stream.peer()
}

#[tokio::test]
async fn both_kinds_carry_bytes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(echo_once(Address::loopback(0)).await, Peer::Tcp(peer) if peer.ip().is_loopback()));
    assert!(matches!(echo_once("localhost:0".parse().unwrap()).await, Peer::Tcp(_)));
    assert_eq!(echo_once(Address::Unix(dir.path().join("s"))).await, Peer::Unix);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Listener::bind(&Address::loopback(0)).await.unwrap();
    assert_ne!(first.address().port(), Some(0));
    let said = refusal(first.address()).await;
    assert!(said.contains("in use") && said.contains("ss -ltnp"), "{said}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1: no machine has it.
    let said = refusal(&"tcp://192.0.2.1:80".parse().unwrap()).await;
    assert!(said.contains("no such address"), "{said}");
}

#[tokio::test]
async fn a_socket_file_comes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hero.sock");
    let address = Address::Unix(path.clone());
    let first = Listener::bind(&address).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "others may not connect");
    assert!(refusal(&address).await.contains("another process listens"));
    drop(first);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_taken_over_and_belongs_to_the_new_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hero.sock");
    // The standard library leaves the file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::bind(&Address::Unix(path.clone())).await.unwrap();
    connect(listener.address()).await.unwrap();

    // Somebody took the path while we listened: their file is not ours to remove.
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
    drop(other);
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "data").unwrap();
    assert!(refusal(&Address::Unix(path.clone())).await.contains("not a socket"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    assert!(refusal(&Address::Unix(dir.path().join("no/dir/s"))).await.contains("does not exist"));
    let long = Address::Unix(dir.path().join("x".repeat(200)));
    assert!(refusal(&long).await.contains("too long"));
}
