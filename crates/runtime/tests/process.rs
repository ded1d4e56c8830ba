//! The life of a real process: what it says, how it ends, and with which exit code. The process is the example
//! `smallest`.

mod running;

use std::{
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
};

use hero_runtime::admin::ask_ready;
use running::{PATIENCE, Running, command, run, text};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_bad_configuration_is_exit_64_and_names_the_key() {
    let output = run(&[("DRAIN__GRACE_MS", "soon")], &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    assert!(said.contains("`drain.grace_ms`") && said.contains("HERO_SMALLEST__DRAIN__GRACE_MS"), "{said}");

    let output = run(&[("DRAIN__GRACE", "1")], &["--check-config"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("unknown key `drain.grace`"));

    let output = run(&[("LISTEN", "nowhere")], &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    assert!(said.contains("`listen`") && said.contains("tcp://host:port"), "{said}");

    let output = run(&[("TELEMETRY__OTLP_ENDPOINT", "https://example.org")], &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("`telemetry.otlp_endpoint`"));
}

#[test]
fn an_unknown_flag_is_exit_64() {
    let output = run(&[], &["--lisen", "x"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("--lisen"));
}

#[test]
fn help_and_version_are_exit_0() {
    let output = run(&[], &["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("smallest {}\n", hero_runtime::VERSION));
    let help = text(&run(&[], &["--help"]).stdout);
    for word in ["--config", "--print-config", "--check-config", "--listen", "healthcheck"] {
        assert!(help.contains(word), "--help does not name {word}");
    }
}

#[test]
fn the_effective_configuration_is_printed_without_secrets() {
    let variables = [("SECRET", "hunter2"), ("DRAIN__GRACE_MS", "7")];
    let output = run(&variables, &["--print-config", "--listen", "unix:///flag.sock"]);
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("listen = \"unix:///flag.sock\""),
        "a flag wins over the environment: {printed}"
    );
    assert!(printed.contains("grace_ms = 7") && printed.contains("secret = \"[redacted]\""), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert_eq!(run(&variables, &["--check-config"]).status.code(), Some(0));
}

#[test]
fn an_address_in_use_is_exit_1_and_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    for key in ["LISTEN", "ADMIN__LISTEN"] {
        let output = run(&[(key, &address)], &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(&address) && said.contains("in use") && said.contains("another"), "{said}");
    }
}

#[tokio::test]
async fn it_lives_and_answers_and_ends_clean() {
    let running = Running::start(&[]);
    running.line("serving");
    let (status, report) = ask_ready(&running.admin()).await.unwrap();
    assert_eq!(status.as_u16(), 200);
    assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["ready"], true);

    let healthy = command(running.dir.path(), &[]).arg("healthcheck").output().unwrap();
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));

    let socket = running.dir.path().join("admin.sock");
    running.signal(Signal::TERM);
    let line = running.line("stopping");
    assert_eq!(line["signal"], "SIGTERM");
    assert_eq!(line["level"], "INFO");
    assert_eq!(running.end(), Some(0));
    assert!(!socket.exists(), "it left its socket behind");
}

#[test]
fn the_health_check_fails_while_something_is_missing_and_says_what() {
    let running = Running::start(&[("NEEDS", "redis")]);
    running.line("serving");
    let output = command(running.dir.path(), &[]).arg("healthcheck").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("redis") && said.contains("it does not answer"), "{said}");
}

#[test]
fn the_health_check_fails_when_nobody_answers() {
    let output = run(&[], &["healthcheck"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("nobody answers") && said.contains("admin.sock"), "{said}");
}

#[tokio::test]
async fn a_drain_says_not_ready_first_and_still_serves() {
    let running = Running::start(&[("DRAIN__DRAIN_DELAY_MS", "600000")]);
    let grpc = running.grpc();
    running.signal(Signal::INT);
    running.line("stopping");
    let (status, report) = ask_ready(&running.admin()).await.unwrap();
    assert_eq!(status.as_u16(), 503);
    assert!(report.contains("stopping"), "{report}");
    hero_runtime::listen::connect(&grpc).await.expect("it must still accept while it drains");

    running.signal(Signal::INT);
    assert_eq!(running.line("second signal, ending now")["signal"], "SIGINT");
    assert_eq!(running.end(), Some(130), "a second signal ends it now");
}

#[tokio::test]
async fn after_the_drain_nothing_is_accepted() {
    let running = Running::start(&[("LINGERS", "true"), ("DRAIN__DRAIN_DELAY_MS", "50")]);
    let grpc = running.grpc();
    running.signal(Signal::TERM);
    running.line("stopping");
    let refused = async {
        while hero_runtime::listen::connect(&grpc).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it still accepts");
    let (status, _) = ask_ready(&running.admin()).await.expect("the admin port answers to the end");
    assert_eq!(status.as_u16(), 503);
}

#[test]
fn what_outlives_the_grace_is_cut_off() {
    let running = Running::start(&[("LINGERS", "true"), ("DRAIN__GRACE_MS", "1")]);
    running.line("serving");
    running.signal(Signal::TERM);
    running.line("the service did not end within its grace, cutting it off");
    assert_eq!(running.end(), Some(1));
}

#[test]
fn a_socket_left_behind_is_taken_over_and_one_in_use_is_refused() {
    let mut first = Running::start(&[]);
    first.line("serving");
    let second = command(first.dir.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("admin.sock") && said.contains("another process listens"), "{said}");

    first.signal(Signal::KILL);
    assert_eq!(first.child.wait().unwrap().signal(), Some(9));
    let dir = std::mem::replace(&mut first.dir, tempfile::tempdir().unwrap());
    assert!(dir.path().join("admin.sock").exists(), "a killed process leaves its socket");
    let third = Running::start_in(dir, &[]);
    third.line("serving");
    third.signal(Signal::TERM);
    assert_eq!(third.end(), Some(0));
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let running = Running::start(&[("TELEMETRY__LOG_LEVEL", "info")]);
    running.line("serving");
    let mut stream = UnixStream::connect(running.dir.path().join("admin.sock")).unwrap();
    let request = "PUT /log-level HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nerror";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("error\n"), "{answer}");
    running.signal(Signal::TERM);
    running.assert_silent();
    assert_eq!(running.end(), Some(0));
}

#[test]
fn logs_are_json_when_nobody_watches_and_can_be_pretty() {
    let running = Running::start(&[("DRAIN__GRACE_MS", "77")]);
    let line = running.line("serving");
    for field in ["timestamp", "level", "target", "service", "version", "addresses"] {
        assert!(line[field].is_string(), "{line} has no {field}");
    }
    running.signal(Signal::TERM);
    assert_eq!(running.line("stopping")["grace_ms"], 77, "a number stays a number");
    assert_eq!(running.end(), Some(0));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&[("LISTEN", &address), ("TELEMETRY__LOG_FORMAT", "pretty")], &[]);
    let said = text(&output.stderr);
    assert!(said.contains("ERROR") && !said.contains('{'), "{said}");
}
