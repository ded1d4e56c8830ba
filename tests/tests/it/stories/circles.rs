//! Many tenants on one port.

use std::time::Duration;

use hero_runner::RunnerConfig;
use hero_runtime::Address;
use serde_json::{Value, json};

use crate::{
    client::{Client, request},
    cluster::{Cluster, Member, Shape, until},
    wallet::Wallet,
};

const ADMIN: &str = "admin-secret";

fn shape() -> Shape {
    Shape {
        supervisor: |config| {
            config.secrets.admin = vec![ADMIN.into()];
            config.secrets.user = vec!["user-secret".into()];
            config.circles = vec![Wallet::of(1).long_pubkey(), Wallet::of(2).pubkey()];
            config.auth.circle_cache_ms = 0;
        },
        gateway: |config| {
            config.auth.failure_delay_ms = 1;
            config.auth.circle_cache_ms = 0;
            config.auth.cache_ms = 0;
        },
        ..Shape::default()
    }
}

/// A runner of this circle alone.
async fn runner_of(cluster: &Cluster, circle: &Wallet) -> Member {
    let mut config = RunnerConfig { circle: circle.pubkey(), ..RunnerConfig::default() };
    config.listen = Address::loopback(0);
    config.script_types = vec![hero_domain::ScriptType::Osis];
    config.redis.url = cluster.redis.url().parse().unwrap();
    Member::start::<hero_runner::Runner>(config).await.unwrap()
}

/// A WebSocket at a circle's path.
async fn at(cluster: &Cluster, circle: &str) -> Client {
    Client::ws(&format!("{}/{circle}", cluster.address())).await
}

/// A WebSocket on which the wallet has proved its key.
async fn logged_in(cluster: &Cluster, circle: &Wallet, wallet: &Wallet) -> Client {
    let client = at(cluster, &circle.pubkey()).await;
    let proof = wallet.proof(&client).await;
    assert_eq!(client.call("authenticate", proof).await, true);
    client
}

/// One call over plain HTTP, with a bearer secret.
async fn post(cluster: &Cluster, path: &str, secret: &str, method: &str, params: Value) -> Value {
    let url = format!("http://{}/{path}", cluster.address());
    let bearer = format!("Bearer {secret}");
    let mut headers = vec![("content-type", "application/json")];
    if !secret.is_empty() {
        headers.push(("authorization", &bearer));
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    request("POST", &url, &headers, body).await.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_proved_opens_its_circle_and_only_that() {
    let cluster = Cluster::with(shape()).await;
    let (one, two) = (Wallet::of(1), Wallet::of(2));
    let runner = runner_of(&cluster, &one).await;
    // Before: nobody.
    let guest = at(&cluster, &one.long_pubkey()).await;
    assert_eq!(guest.call("whoami", json!([])).await, format!("guest (no scope) in circle {}", one.pubkey()));
    let refused = guest.failure("run_job", json!(["1", "OSIS"])).await;
    assert_eq!(refused.told().1, "AUTHENTICATION_REQUIRED");
    // Another's key, another's signature, another circle's nonce, a used nonce: nothing of it is a proof.
    let own = one.proof(&guest).await;
    assert_eq!(guest.call("authenticate", two.proof(&guest).await).await, false);
    let nonce = own["nonce"].as_str().unwrap();
    let forged = json!({"pubkey": one.pubkey(), "nonce": nonce, "signature": two.sign(nonce)});
    assert_eq!(guest.call("authenticate", forged).await, false);
    let elsewhere = at(&cluster, &two.pubkey()).await;
    assert_eq!(elsewhere.call("authenticate", own.clone()).await, false);
    let foreign = one.proof(&elsewhere).await;
    assert_eq!(guest.call("authenticate", foreign).await, false);
    assert_eq!(guest.call("authenticate", own.clone()).await, true);
    assert_eq!(
        at(&cluster, &one.pubkey()).await.call("authenticate", own).await,
        false,
        "a nonce is used once"
    );
    // After: its owner, on this connection.
    assert_eq!(guest.call("whoami", json!([])).await, format!("{0} (user) in circle {0}", one.pubkey()));
    assert_eq!(guest.call("play", json!(["6 * 7"])).await, json!({"output": "42"}));
    let job = guest.submit(json!({"script": "print(\"mine\"); 1", "script_type": "OSIS"})).await;
    let job_view = guest.wait(&job).await;
    assert_eq!(job_view["circle"], one.pubkey());
    assert_eq!(job_view["context_id"], one.pubkey());
    // Another circle's member, and the user of the node, meet a job that does not exist, whatever they ask.
    let other = logged_in(&cluster, &two, &two).await;
    for method in [
        "get_job",
        "get_job_status",
        "get_job_output",
        "get_job_logs",
        "stop_job",
        "delete_job",
        "retry_job",
        "explain_job",
        "wait_job",
        "start_job",
    ] {
        assert_eq!(other.failure(method, json!([job])).await.told().1, "JOB_NOT_FOUND", "{method}");
    }
    assert_eq!(other.call("list_jobs", json!([])).await, json!([]));
    assert_eq!(other.call("list_jobs", json!([{"context_id": one.pubkey()}])).await, json!([]));
    let waits = json!([{"script": "1", "script_type": "OSIS", "prerequisites": [job]}]);
    assert_eq!(other.failure("submit_job", waits).await.told().1, "PREREQUISITE_NOT_FOUND");
    other.call("clear_all_jobs", json!([])).await;
    assert_eq!(guest.call("get_job_status", json!([job])).await, "Finished");
    runner.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_login_works_over_http_at_its_circle_alone() {
    let cluster = Cluster::with(shape()).await;
    let (one, two) = (Wallet::of(1), Wallet::of(2));
    let runner = runner_of(&cluster, &one).await;
    let nonce = post(&cluster, &one.pubkey(), "", "fetch_nonce", json!([one.pubkey()])).await;
    let nonce = nonce["result"].as_str().unwrap().to_owned();
    let proof = json!([one.pubkey(), one.sign(&nonce), nonce]);
    let token = post(&cluster, &one.pubkey(), "", "login", proof).await;
    let token = token["result"].as_str().unwrap().to_owned();
    let answer = post(&cluster, &one.pubkey(), &token, "run_job", json!(["40 + 2", "OSIS"])).await;
    assert_eq!(answer["result"], "42", "{answer}");
    for path in ["", &two.pubkey()] {
        let answer = post(&cluster, path, &token, "list_jobs", json!([])).await;
        assert_eq!(answer["error"]["data"]["reason"], "SCOPE_INSUFFICIENT", "at '{path}': {answer}");
    }
    let at_root = post(&cluster, "", ADMIN, "fetch_nonce", json!([one.pubkey()])).await;
    assert_eq!(at_root["error"]["data"]["reason"], "CIRCLE_REQUIRED");
    let bind = post(&cluster, &one.pubkey(), "", "authenticate", json!(["", "", ""])).await;
    assert_eq!(bind["error"]["data"]["reason"], "CIRCLE_REQUIRED", "there is no connection to bind to");
    runner.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_that_is_not_served_is_refused_before_any_upgrade() {
    let cluster = Cluster::with(shape()).await;
    let unknown = Wallet::of(9).pubkey();
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for path in [unknown.as_str(), "no-key", &unknown[..64], &format!("02{}", "0".repeat(64))] {
        let url = format!("http://{}/{path}", cluster.address());
        let body = json!({
            "error": "Circle not found",
            "message": format!("Circle '{path}' is not available on this server"),
        });
        for (method, headers) in [("GET", upgrade.as_slice()), ("POST", &[]), ("GET", &[])] {
            let answer = request(method, &url, headers, "").await.unwrap();
            assert_eq!((answer.status, answer.json()), (404, body.clone()), "{method} {path}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_and_members_come_and_go_at_run_time() {
    let cluster = Cluster::with(shape()).await;
    let (circle, member) = (Wallet::of(3), Wallet::of(4));
    let admin = |method: &'static str, params: Value| post(&cluster, "", ADMIN, method, params);
    let added = admin(
        "add_circle",
        json!({
            "public_key": circle.long_pubkey(), "members": [member.long_pubkey()], "limits": {"max_timeout_s": 5}
        }),
    );
    let added = added.await;
    assert_eq!(added["result"]["public_key"], circle.pubkey(), "{added}");
    assert_eq!(added["result"]["members"], json!([member.pubkey()]));
    let all = admin("list_circles", json!([])).await;
    assert_eq!(all["result"].as_array().unwrap().len(), 3, "with those of the configuration: {all}");

    let inside = logged_in(&cluster, &circle, &member).await;
    let job = json!({"script": "1", "script_type": "OSIS", "timeout": 6});
    assert_eq!(
        inside.failure("submit_job", json!([job])).await.told(),
        (-32602, "INVALID_PARAMS", Some("job.timeout"))
    );
    let id = inside.submit(json!({"script": "1", "script_type": "OSIS"})).await;
    assert_eq!(inside.call("get_job", json!([id])).await["timeout"], 5, "who names none gets what there is");

    // A member no more: the open connection is over too.
    admin("add_circle", json!([circle.pubkey()])).await;
    assert_eq!(inside.failure("get_job", json!([id])).await.told().1, "AUTHENTICATION_REQUIRED");
    let owner = logged_in(&cluster, &circle, &circle).await;
    assert_eq!(owner.call("get_job_status", json!([id])).await, "Dispatched");
    admin("remove_circle", json!([circle.pubkey()])).await;
    assert_eq!(owner.failure("get_job", json!([id])).await.told().1, "CIRCLE_UNKNOWN");
    let gone = admin("remove_circle", json!([circle.pubkey()])).await;
    assert_eq!(gone["error"]["data"]["reason"], "CIRCLE_UNKNOWN");
    let configured = admin("remove_circle", json!([Wallet::of(1).pubkey()])).await;
    assert_eq!(configured["error"]["data"]["reason"], "CIRCLE_CONFIGURED");
    for wrong in [json!(["02"]), json!({"public_key": circle.pubkey(), "members": ["x"]})] {
        let refused = admin("add_circle", wrong).await;
        assert_eq!(refused["error"]["data"]["reason"], "ID_MALFORMED", "{refused}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_made_used_replaced_and_forgotten_and_the_record_tells_who_did_it() {
    let cluster = Cluster::with(shape()).await;
    let admin = |method: &'static str, params: Value| post(&cluster, "", ADMIN, method, params);
    let made = admin("create_key", json!({"name": "ci", "scope": "user"})).await;
    let secret = made["result"]["secret"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let whoami = |path: String, secret: String| {
        let cluster = &cluster;
        async move { post(cluster, &path, &secret, "whoami", json!([])).await }
    };
    assert_eq!(whoami(String::new(), secret.clone()).await["result"], "ci (user)");
    let refused = post(&cluster, "", &secret, "create_key", json!(["x", "admin"])).await;
    assert_eq!(refused["error"]["data"]["reason"], "SCOPE_INSUFFICIENT");
    assert_eq!(admin("create_key", json!(["ci", "user"])).await["error"]["data"]["reason"], "KEY_EXISTS");
    let known = admin("list_keys", json!([])).await;
    assert!(
        known["result"][0]["last_used_at"].is_string() && !known.to_string().contains(&secret),
        "{known}"
    );
    // A circle's key is that circle's.
    let circle = Wallet::of(1).pubkey();
    let of_circle = admin("create_key", json!(["tenant", "user", circle])).await;
    let tenant = of_circle["result"]["secret"].as_str().unwrap().to_owned();
    assert_eq!(
        whoami(circle.clone(), tenant.clone()).await["result"],
        format!("tenant (user) in circle {circle}")
    );
    assert!(whoami(String::new(), tenant).await["error"].is_object());
    // Replaced and forgotten.
    let rotated = admin("rotate_key", json!(["ci"])).await["result"]["secret"].as_str().unwrap().to_owned();
    assert_eq!(
        whoami(String::new(), secret.clone()).await["error"]["data"]["reason"],
        "AUTHENTICATION_REQUIRED"
    );
    assert_eq!(whoami(String::new(), rotated.clone()).await["result"], "ci (user)");
    admin("remove_key", json!(["ci"])).await;
    assert_eq!(
        whoami(String::new(), rotated.clone()).await["error"]["data"]["reason"],
        "AUTHENTICATION_REQUIRED"
    );
    assert_eq!(admin("remove_key", json!(["ci"])).await["error"]["data"]["reason"], "KEY_NOT_FOUND");
    let record = admin("list_audit", json!([])).await;
    let told: Vec<String> = record["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{} {} {}", line["actor"], line["action"], line["subject"]).replace('"', ""))
        .collect();
    assert_eq!(told[0], "admin remove_key ci");
    assert!(told.contains(&"admin create_key tenant".to_owned()) && !record.to_string().contains(&rotated));
    // Nothing in Redis is a key that somebody could use.
    let mut redis = cluster.redis.connection().unwrap();
    let kept: String = redis::cmd("EVAL")
        .arg("return table.concat(redis.call('HVALS', 'hero:auth:keys'))")
        .arg(0)
        .query(&mut redis)
        .unwrap();
    assert!(kept.contains("hash") && !kept.contains(&rotated[7..]), "{kept}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_of_one_replica_is_good_at_another() {
    let cluster = Cluster::with(Shape { supervisors: 2, ..shape() }).await;
    let wallet = Wallet::of(1);
    let here = Client::ws(&format!("{}/{}", cluster.gateways[0].address("http"), wallet.pubkey())).await;
    let there = Client::ws(&format!("{}/{}", cluster.gateways[1].address("http"), wallet.pubkey())).await;
    let proof = wallet.proof(&here).await;
    assert_eq!(there.call("authenticate", proof.clone()).await, true);
    assert_eq!(here.call("authenticate", proof).await, false, "used at the other");
    let found =
        until("both replicas serve it", || async { there.try_call("list_jobs", json!([])).await.ok() });
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), found).await.unwrap(), json!([]));
    cluster.stop().await;
}
