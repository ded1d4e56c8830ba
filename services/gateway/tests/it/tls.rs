//! HTTPS and `wss://`: HTTP/1.1 for whoever asks for nothing else, HTTP/2 for who chooses it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer},
};

use crate::node::Node;

/// A gateway with a certificate of its own, the certificate, and the folder that it is in.
async fn node() -> (Node, CertificateDer<'static>, tempfile::TempDir) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [cert_path, key_path] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    std::fs::write(&cert_path, cert.pem()).unwrap();
    std::fs::write(&key_path, signing_key.serialize_pem()).unwrap();
    let node = Node::with(move |config| {
        config.enable_tls = true;
        (config.cert_path, config.key_path) = (Some(cert_path), Some(key_path));
    })
    .await;
    (node, cert.der().clone(), folder)
}

async fn connect(node: &Node, cert: &CertificateDer<'static>, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect("localhost".try_into().unwrap(), node.connect().await).await.unwrap()
}

fn call(node: &Node) -> http::Request<Full<Bytes>> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#;
    http::Request::post("https://localhost/")
        .header("host", node.address())
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn whoever_chooses_http2_gets_it_and_the_others_http1() {
    let (node, cert, _folder) = node().await;
    for protocols in [&[][..], &["http/1.1"]] {
        let stream = connect(&node, &cert, protocols).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answer = text(sender.send_request(call(&node)).await.unwrap()).await;
        assert!(answer.contains("anonymous (admin)"), "{answer}");
    }
    let stream = connect(&node, &cert, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let executor = TokioExecutor::new();
    let (mut sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let response = sender.send_request(call(&node)).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        let answer = text(response).await;
        assert!(answer.contains("anonymous (admin)"), "{answer}");
    }
    let plain = node.raw(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!plain.contains("Hero"), "plain text is not answered: {plain}");
}
