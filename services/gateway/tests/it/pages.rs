//! The dashboard's files, and a WebSocket of one of its pages.

use hero_domain::{Caller, Scope};
use serde_json::json;

use crate::node::{Answer, Node};

async fn get(node: &Node, path: &str) -> Answer {
    let request = http::Request::get(path).header("host", node.address()).body(String::new()).unwrap();
    node.send(request).await
}

#[tokio::test]
async fn every_page_is_the_same_file_under_a_strict_policy() {
    let node = Node::start().await;
    for path in ["/ui", "/ui/", "/ui/jobs", "/ui/jobs/0193e2d0?x=%3Cscript%3E"] {
        let answer = get(&node, path).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(answer.text.contains("/ui/assets/app.js") && !answer.text.contains("0193e2d0"));
        let policy = answer.header("content-security-policy").unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let script = get(&node, "/ui/assets/app.js").await;
    assert_eq!(
        (script.status(), script.header("content-type")),
        (200, Some("text/javascript; charset=utf-8"))
    );
    for path in ["/ui/assets/no.js", "/ui/assets/..%2f..%2fCargo.toml"] {
        assert_eq!(get(&node, path).await.status(), 404);
    }
}

#[tokio::test]
async fn a_chart_is_drawn_from_numbers_alone() {
    let node = Node::start().await;
    let chart = get(&node, "/ui/chart.svg?seconds=60&in=1,2,3&out=3,2,1").await;
    assert_eq!((chart.status(), chart.header("content-type")), (200, Some("image/svg+xml")));
    assert!(chart.text.starts_with("<svg"));
    let refused = get(&node, "/ui/chart.svg?in=%3Cscript%3E").await;
    assert_eq!((refused.status(), refused.json()["error"].clone()), (400, json!("Malformed chart")));
}

#[tokio::test]
async fn a_node_can_be_without_pages() {
    let node = Node::with(|config| config.ui = false).await;
    assert_eq!(get(&node, "/ui/jobs").await.status(), 404);
    assert_eq!(get(&node, "/ui/assets/app.js").await.status(), 404);
}

#[tokio::test]
async fn pages_of_others_do_not_reach_them() {
    let node = Node::start().await;
    let request =
        http::Request::get("/ui").header("host", node.address()).header("origin", "https://evil.example");
    assert_eq!(node.send(request.body(String::new()).unwrap()).await.status(), 403);
}

#[tokio::test]
async fn a_browser_brings_its_key_among_the_subprotocols() {
    let node = Node::start().await;
    node.ports.add_key("s3cret", Caller { name: "ops".to_owned(), scope: Scope::User, circle: None });
    let offers = "sec-websocket-protocol: hero, hero.bearer.czNjcmV0\r\n";
    let (head, mut socket) = node.socket_with(offers).await;
    assert!(head.contains("sec-websocket-protocol: hero\r\n"), "{head}");
    socket.send(r#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#).await;
    assert_eq!(socket.receive().await["result"], json!("ops (user)"));
    let (head, _) =
        node.socket_with("sec-websocket-protocol: chat\r\nauthorization: Bearer s3cret\r\n").await;
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
}
