//! Who may call what: every method of the table, by every kind of caller, over HTTP and over a WebSocket.
//!
//! What is expected stands here once more, by hand: a method that is added to the table and not to this page fails.

use hero_jsonrpc::METHODS;
use jsonrpsee::{
    core::client::{ClientT as _, Error},
    ws_client::{HeaderMap, HeaderValue, WsClient, WsClientBuilder},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, request},
    cluster::{Cluster, Shape},
    wallet::Wallet,
};

/// What a method wants of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    User,
    Register,
    /// These only at the root.
    NodeAdmin,
    NodeUser,
    NodeRegister,
    /// Any key, at the root.
    NodeKey,
}

fn wants(method: &str) -> Wants {
    match method {
        "whoami" | "rpc.discover" | "fetch_nonce" | "authenticate" | "login" => Wants::Nothing,
        "play" | "create_job" | "start_job" | "run_job" | "submit_job" | "submit_jobs" | "wait_job"
        | "get_job" | "get_job_status" | "get_job_output" | "get_job_logs" | "list_jobs" | "stop_job"
        | "retry_job" | "retry_jobs" | "explain_job" | "stats" | "delete_job" | "clear_all_jobs" => {
            Wants::User
        }
        "create_schedule" | "list_schedules" | "get_schedule" | "pause_schedule" | "run_schedule"
        | "delete_schedule" => Wants::User,
        "list_runners" | "get_runner" | "drain_runner" | "remove_runner" => Wants::Register,
        "add_circle" | "remove_circle" | "list_circles" | "create_key" | "list_keys" | "remove_key"
        | "rotate_key" | "list_audit" | "allow_node" | "ban_node" | "remove_node" => Wants::NodeAdmin,
        "bus_call" | "bus_send" | "bus_result" | "call_node" | "mycelium_call" | "mycelium_send"
        | "mycelium_status" => Wants::NodeUser,
        "heartbeat" => Wants::NodeRegister,
        "node_info" | "list_nodes" | "get_node" => Wants::NodeKey,
        unknown => panic!("say on this page who may call {unknown}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// At the root, without a secret.
    Nobody,
    /// At the root, with a secret that nobody knows.
    Wrong,
    User,
    Register,
    Admin,
    /// At the circle, without a proof.
    Guest,
    Member,
    /// At the circle, with the proof of another one.
    OthersMember,
    /// At the circle, with the user's secret of the node.
    UserInside,
    AdminInside,
}

/// What comes of it: the call gets as far as its parameters, or the reason why not.
fn expected(who: Who, wants: Wants) -> &'static str {
    use Wants::{NodeAdmin, NodeKey, NodeRegister, NodeUser, Nothing, Register, User};
    const LET_IN: &str = "UNKNOWN_FIELD";
    match (who, wants) {
        (Who::Nobody | Who::Wrong, _) => "AUTHENTICATION_REQUIRED",
        (Who::OthersMember | Who::UserInside, _) => "SCOPE_INSUFFICIENT",
        (_, Nothing) => LET_IN,
        (Who::Guest, _) => "AUTHENTICATION_REQUIRED",
        (Who::Admin, _) => LET_IN,
        (Who::AdminInside, User | Register) => LET_IN,
        (Who::AdminInside, NodeAdmin | NodeUser | NodeRegister | NodeKey) => "SCOPE_INSUFFICIENT",
        (Who::User | Who::Member, User) | (Who::Register, Register) => LET_IN,
        (Who::User, NodeUser | NodeKey) | (Who::Register, NodeRegister | NodeKey) => LET_IN,
        (Who::User | Who::Member | Who::Register, _) => "SCOPE_INSUFFICIENT",
    }
}

const ALL: [Who; 10] = [
    Who::Nobody,
    Who::Wrong,
    Who::User,
    Who::Register,
    Who::Admin,
    Who::Guest,
    Who::Member,
    Who::OthersMember,
    Who::UserInside,
    Who::AdminInside,
];

fn shape() -> Shape {
    Shape {
        runners: 0,
        supervisor: |config| {
            config.secrets.admin = vec!["admin-secret".into()];
            config.secrets.user = vec!["user-secret".into()];
            config.secrets.register = vec!["register-secret".into()];
            config.circles = vec![Wallet::of(1).pubkey(), Wallet::of(2).pubkey()];
        },
        gateway: |config| config.auth.failure_delay_ms = 0,
        ..Shape::default()
    }
}

/// The path that they come to, and the secret that they bring.
async fn way(cluster: &Cluster, who: Who) -> (String, Option<String>) {
    let circle = Wallet::of(1).pubkey();
    let secret = |text: &str| Some(text.to_owned());
    match who {
        Who::Nobody => (String::new(), None),
        Who::Wrong => (String::new(), secret("wrong")),
        Who::User => (String::new(), secret("user-secret")),
        Who::Register => (String::new(), secret("register-secret")),
        Who::Admin => (String::new(), secret("admin-secret")),
        Who::Guest => (circle, None),
        Who::Member => (circle, Some(token(cluster, &Wallet::of(1)).await)),
        Who::OthersMember => (circle, Some(token(cluster, &Wallet::of(2)).await)),
        Who::UserInside => (circle, secret("user-secret")),
        Who::AdminInside => (circle, secret("admin-secret")),
    }
}

async fn token(cluster: &Cluster, wallet: &Wallet) -> String {
    let client = Client::ws(&format!("{}/{}", cluster.address(), wallet.pubkey())).await;
    let proof = wallet.proof(&client).await;
    client.text("login", proof).await
}

/// The reason that a call over HTTP fails with.
async fn over_http(cluster: &Cluster, (path, secret): &(String, Option<String>), method: &str) -> String {
    let url = format!("http://{}/{path}", cluster.address());
    let bearer = secret.as_ref().map(|secret| format!("Bearer {secret}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"nonsense": true}});
    let answer = request("POST", &url, &headers, body.to_string()).await.unwrap().json();
    answer["error"]["data"]["reason"].as_str().unwrap_or_else(|| panic!("{method}: {answer}")).to_owned()
}

/// A WebSocket; none: the upgrade was refused.
async fn socket(cluster: &Cluster, (path, secret): &(String, Option<String>)) -> Option<WsClient> {
    let mut headers = HeaderMap::new();
    if let Some(secret) = secret {
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {secret}")).unwrap());
    }
    let url = format!("ws://{}/{path}", cluster.address());
    WsClientBuilder::default().set_headers(headers).build(url).await.ok()
}

/// The reason that a call over a WebSocket fails with.
async fn over_ws(client: &WsClient, method: &str) -> String {
    let mut params = jsonrpsee::core::params::ObjectParams::new();
    params.insert("nonsense", true).unwrap();
    match client.request::<Value, _>(method, params).await {
        Err(Error::Call(error)) => {
            let data: Value = serde_json::from_str(error.data().expect("data").get()).unwrap();
            data["reason"].as_str().unwrap().to_owned()
        }
        other => panic!("{method}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_lets_in_whom_it_should_and_nobody_else() {
    let cluster = Cluster::with(shape()).await;
    let mut wrong = Vec::new();
    for who in ALL {
        let way = way(&cluster, who).await;
        let socket = socket(&cluster, &way).await;
        for method in METHODS {
            let expected = expected(who, wants(method.name));
            let http = over_http(&cluster, &way, method.name).await;
            let ws = match &socket {
                Some(client) => over_ws(client, method.name).await,
                // Who is refused whatever it calls is refused before the upgrade.
                None => expected.to_owned(),
            };
            if http != expected || ws != expected {
                wrong.push(format!("{who:?} {}: {expected}, HTTP {http}, WebSocket {ws}", method.name));
            }
        }
        let refused = matches!(who, Who::Nobody | Who::Wrong | Who::OthersMember | Who::UserInside);
        assert_eq!(socket.is_none(), refused, "{who:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    cluster.stop().await;
}
