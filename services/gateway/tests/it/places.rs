//! Paths, methods, hosts and origins.

use serde_json::json;

use crate::node::Node;

const WHOAMI: &str = r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#;

#[tokio::test]
async fn a_plain_get_says_what_this_is() {
    let node = Node::start().await;
    let get = http::Request::get("/").header("host", node.address()).body(String::new()).unwrap();
    let answer = node.send(get).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text.contains("JSON-RPC") && answer.text.contains("curl"), "{}", answer.text);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_json() {
    let node = Node::start().await;
    for method in ["GET", "POST", "PUT"] {
        let path = "/no/such?x=1";
        let request = http::Request::builder().method(method).uri(path).header("host", node.address());
        let answer = node.send(request.body(String::new()).unwrap()).await;
        assert_eq!((answer.status(), answer.json()["error"].clone()), (404, json!("Not found")));
        assert!(answer.json()["message"].as_str().unwrap().contains("/no/such"));
    }
    let put = http::Request::put("/").header("host", node.address()).body(String::new()).unwrap();
    let answer = node.send(put).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD, POST")));
    let text = http::Request::post("/").header("host", node.address()).header("content-type", "text/plain");
    let answer = node.send(text.body(WHOAMI.to_owned()).unwrap()).await;
    assert_eq!(answer.status(), 415);
    assert!(answer.text.contains("application/json"));
    let upgrade = http::Request::get("/").header("host", node.address()).header("connection", "upgrade");
    let answer = node.send(upgrade.header("upgrade", "websocket").body(String::new()).unwrap()).await;
    assert_eq!((answer.status(), answer.json()["error"].clone()), (400, json!("Malformed handshake")));
}

async fn status(node: &Node, host: &str, origin: Option<&str>) -> u16 {
    let mut request =
        http::Request::post("/").header("content-type", "application/json").header("host", host);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    node.send(request.body(WHOAMI.to_owned()).unwrap()).await.status()
}

#[tokio::test]
async fn a_loopback_server_answers_no_page_and_to_no_other_name() {
    let node = Node::start().await;
    let own = node.address();
    for host in [own.as_str(), "localhost:8080", "[::1]:8080", "LOCALHOST", "127.0.0.2"] {
        assert_eq!(status(&node, host, None).await, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil.example", "", "a b"] {
        assert_eq!(status(&node, host, None).await, 403, "{host}");
    }
    assert_eq!(status(&node, &own, Some(&format!("http://{own}"))).await, 200, "a page of its own");
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "x"] {
        assert_eq!(status(&node, &own, Some(origin)).await, 403, "{origin}");
    }
    let handshake = format!(
        "GET / HTTP/1.1\r\nhost: {own}\r\norigin: https://evil.example\r\nconnection: upgrade, close\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = node.raw(handshake.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn allowed_hosts_and_origins_are_settings() {
    let node = Node::with(|config| {
        config.allowed_hosts = vec!["hero.example".to_owned()];
        config.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    assert_eq!(status(&node, "hero.example:443", Some("https://app.example")).await, 200);
    assert_eq!(status(&node, "localhost", None).await, 403);
    assert_eq!(status(&node, "hero.example", Some("https://other.example")).await, 403);
    let preflight = http::Request::options("/")
        .header("host", "hero.example")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,authorization");
    let answer = node.send(preflight.body(String::new()).unwrap()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
}
