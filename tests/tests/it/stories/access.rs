//! Redis with a user for each service (helm/hero/files/users.acl): each has what it needs, and nothing of the others.

use std::{fs, path::Path};

use hero_gateway::{Gateway, GatewayConfig};
use hero_redis::RedisConfig;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::Address;
use hero_supervisor::{Supervisor, SupervisorConfig};
use hero_testing::RedisServer;
use serde_json::json;

use crate::{client::Client, cluster::Member, wallet::Wallet};

/// The shipped users, and one for the test itself.
fn users() -> tempfile::NamedTempFile {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/hero/files/users.acl");
    let shipped = fs::read_to_string(shipped).expect("the users are shipped");
    // Nobody may come in as `default`, but Redis reads its append-only file as this user: without every right the
    // transactions in it would be passed over, and the jobs with them.
    assert!(shipped.starts_with("user default off ~* &* +@all\n"), "{shipped}");
    let with_default = shipped.replace("user default off", "user default on nopass");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), with_default).expect("it can be written");
    file
}

fn way(redis: &RedisServer, user: &str) -> RedisConfig {
    RedisConfig::at(format!("{}?user={user}&pass={user}", redis.url()).parse().expect("an address"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_has_what_it_needs_of_redis_and_no_more() {
    let users = users();
    let redis = RedisServer::start_with(&["--aclfile", users.path().to_str().unwrap()]).unwrap();
    let config = SupervisorConfig {
        listen: Address::loopback(0),
        redis: way(&redis, "hero-supervisor"),
        circles: vec![Wallet::of(1).pubkey()],
        ..SupervisorConfig::default()
    };
    let supervisor = Member::start::<Supervisor>(config).await.unwrap();
    let grpc = supervisor.addresses.get("grpc").unwrap().clone();
    let config = GatewayConfig { listen: Address::loopback(0), supervisor: grpc, ..GatewayConfig::default() };
    let gateway = Member::start::<Gateway>(config).await.unwrap();
    let config = RunnerConfig {
        listen: Address::loopback(0),
        redis: way(&redis, "hero-runner"),
        ..RunnerConfig::default()
    };
    let runner = Member::start::<Runner>(config).await.unwrap();
    for member in [&supervisor, &gateway, &runner] {
        member.ready().await;
    }

    let client = Client::ws(&gateway.address("http")).await;
    let objects = "hero.counter(\"visits\").add(); hero.counter(\"visits\").get()";
    assert_eq!(client.call("run_job", json!([objects, "OSIS"])).await, "1");
    assert_eq!(client.call("run_job", json!(["print(6 * 7)", "Python"])).await, "42\n");
    let first = client.text("create_job", json!([{"script": "1", "script_type": "OSIS"}])).await;
    let job =
        json!([{"script": "print(2)", "script_type": "Python", "prerequisites": [first], "retries": 1}]);
    let second = client.text("submit_job", job).await;
    client.call("start_job", json!([first])).await;
    assert_eq!(client.wait(&second).await["output"], "2\n");
    let failed = client.submit(json!({"script": "throw 1", "script_type": "OSIS", "retries": 1})).await;
    assert_eq!(client.wait(&failed).await["attempt"], 2);
    client
        .call(
            "create_schedule",
            json!([{"cron": "0 3 * * *", "job": {"script": "1", "script_type": "OSIS"}}]),
        )
        .await;
    client.call("create_key", json!(["ci", "user"])).await;
    client.call("clear_all_jobs", json!([])).await;

    // What the supervisor calls is what the supervisor has loaded.
    let said =
        ask(&redis, "hero-runner", redis::cmd("FUNCTION").arg(&["LOAD", "REPLACE", "#!lua name=mine\n"]));
    assert!(said.to_uppercase().contains("NOPERM"), "{said}");
    for (user, key) in [
        ("hero-runner", "hero:auth:keys"),
        ("hero-runner", "hero:circles"),
        ("hero-runner", "msgbus.system.local"),
        ("hero-supervisor", "explorer:nodes"),
        ("hero-explorer", "hero:jobs"),
        ("hero-msgbus-relay", "hero:jobs"),
        ("hero-mycelium-bridge", "hero:jobs"),
    ] {
        let said = ask(&redis, user, redis::cmd("EXISTS").arg(key));
        assert!(said.to_uppercase().contains("NOPERM"), "{user} {key}: {said}");
    }
    // Programs on the bus choose their return queues themselves.
    let said = ask(&redis, "hero-msgbus-relay", redis::cmd("RPUSH").arg("return queue").arg("an answer"));
    assert_eq!(said, "int(1)");
    for user in
        ["hero-supervisor", "hero-runner", "hero-explorer", "hero-msgbus-relay", "hero-mycelium-bridge"]
    {
        for command in ["FLUSHALL", "SHUTDOWN", "BGSAVE", "KEYS"] {
            let said = ask(&redis, user, redis::cmd(command).arg("*"));
            assert!(said.to_uppercase().contains("NOPERM"), "{user} {command}: {said}");
        }
    }
    for member in [gateway, runner, supervisor] {
        member.stop().await;
    }
}

/// What Redis says to this user.
fn ask(redis: &RedisServer, user: &str, command: &redis::Cmd) -> String {
    let url = format!("{}?user={user}&pass={user}", redis.url());
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    match command.query::<redis::Value>(&mut connection) {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}
