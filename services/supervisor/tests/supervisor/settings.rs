//! The settings: the example is whole, flags reach their keys, what cannot be used is refused by name.

use std::process::Command;

use hero_config::Validate as _;
use hero_supervisor::SupervisorConfig;

fn supervisor(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_supervisor")).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_example_shows_every_setting_with_its_default() {
    let text = include_str!("../../config.example.toml");
    hero_config::example::assert_covers::<SupervisorConfig>(text);
    let example: SupervisorConfig = toml::from_str(text).unwrap();
    let print = |config: &SupervisorConfig| hero_config::print(config).unwrap();
    assert_eq!(print(&example), print(&SupervisorConfig::default()));
}

#[test]
fn the_flags_of_the_requirements_work_and_no_secret_is_printed() {
    let (code, out, err) = supervisor(&[
        "--admin-secret",
        "admin123",
        "--admin-secret",
        "admin456",
        "--user-secret",
        "user123",
        "--register-secret",
        "register123",
        "--redis-url",
        "redis://:hunter2@10.0.0.7:6380",
        "--listen",
        "tcp://127.0.0.1:0",
        "--print-config",
    ]);
    assert_eq!(code, Some(0), "{err}");
    let config: SupervisorConfig = toml::from_str(&out).unwrap();
    let secrets = &config.secrets;
    assert_eq!((secrets.admin.len(), secrets.user.len(), secrets.register.len()), (2, 1, 1));
    assert_eq!(config.redis.url.to_string(), "redis://10.0.0.7:6380/0");
    assert_eq!(config.listen.to_string(), "tcp://127.0.0.1:0");
    for secret in ["admin123", "admin456", "user123", "register123", "hunter2"] {
        assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
    }
}

#[test]
fn what_cannot_be_used_ends_with_64_and_names_its_key() {
    for (arguments, key) in [
        (["--redis-url", "http://10.0.0.7"], "redis.url"),
        (["--admin-secret", ""], "secrets.admin"),
        (["--listen", "ftp://10.0.0.7:21"], "listen"),
    ] {
        let (code, _, err) = supervisor(&[&arguments[..], &["--check-config"]].concat());
        assert_eq!(code, Some(64), "{err}");
        assert!(err.contains(key), "{err}");
    }
}

#[test]
fn a_setting_out_of_range_names_its_key() {
    type Change = fn(&mut SupervisorConfig);
    let cases: [(&str, Change); 8] = [
        ("submit.max_in_flight", |config| config.submit.max_in_flight = 0),
        ("wait.max_waiters", |config| config.wait.max_waiters = 0),
        ("wait.queue_allowance_ms", |config| config.wait.queue_allowance_ms = u64::MAX),
        ("upkeep.sweep_interval_ms", |config| config.upkeep.sweep_interval_ms = 1),
        ("jobs.default_timeout_s", |config| config.jobs.default_timeout_s = 86_401),
        ("jobs.default_list_page", |config| config.jobs.default_list_page = 0),
        ("secrets.user", |config| config.secrets.user = vec!["".into()]),
        ("grpc.max_concurrent_streams", |config| config.grpc.max_concurrent_streams = 0),
    ];
    SupervisorConfig::default().validate().unwrap();
    for (key, set) in cases {
        let mut config = SupervisorConfig::default();
        set(&mut config);
        assert_eq!(config.validate().unwrap_err().key, key);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
    command.args(["--listen", &address]).env("HERO_SUPERVISOR__ADMIN__LISTEN", "tcp://127.0.0.1:0");
    let output = command.output().expect("it runs");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains(&address), "{err}");
}
