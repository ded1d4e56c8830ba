//! SAL scripts, in children of the real runner program.

use std::path::PathBuf;

use hero_domain::{ErrorKind, Job, JobStatus, NewJob, Progress, ScriptType::Sal};
use hero_runner::{RunnerConfig, engine::sal::Module};
use hero_store::JobStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::setup::Node;

pub(crate) fn with_sal(config: &mut RunnerConfig) {
    config.sal.program = PathBuf::from(env!("CARGO_BIN_EXE_runner"));
}

async fn run(node: &Node, script: &str) -> Job {
    let mut job = NewJob::new(Sal, script);
    job.env_vars.insert("COLOUR".to_owned(), "blue".to_owned());
    let id = node.submit(job).await;
    node.ended(id).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_functions_of_sal_work_in_the_sandbox() {
    let node = Node::start();
    let runner = node.runner(with_sal).await;
    for (script, output) in [
        ("40 + 2", "42"),
        ("`${CALLER_ID} ${ENV.COLOUR} ${hero.args.COLOUR}`", "anonymous blue blue"),
        (
            "file_write(\"a.txt\", \"one\"); file_write_append(\"a.txt\", \" two\"); file_read(\"a.txt\")",
            "one two",
        ),
        (
            "mkdir(\"d\"); file_write(\"d/x\", \"1\"); copy(\"d\", \"e\"); [exist(\"e/x\"), exist(\"f\"), file_size(\"d/x\")]",
            "[true,false,1]",
        ),
        (
            "mkdir(\"d\"); file_write(\"d/b\", \"\"); file_write(\"d/a\", \"\"); find_files(\"d\", \"*\").len()",
            "2",
        ),
        ("file_write(\"a\", \"1\"); mv(\"a\", \"b\"); delete(\"b\"); exist(\"b\")", "false"),
        ("platform_is_linux()", "true"),
        ("let r = run_command(\"echo hello\"); [r.stdout.trim(), r.success, r.code]", "[null,true,0]"),
        ("run(\"exit 3\").ignore_error().silent().execute().success", "false"),
        ("name_fix(\"A File!.TXT\")", "a_file_.txt"),
        ("dedent(\"    a\\n      b\")", "a\n  b"),
        ("prefix(\"a\\nb\", \"> \")", "> a\n> b"),
        (
            "text_replacer_new().pattern(\"b+\").replacement(\"x\").regex(true).build().replace(\"abbbc\")",
            "axc",
        ),
        (
            "file_write(\"t\", \"hi {{ name }}\"); template_builder_open(\"t\").add_var(\"name\", \"you\").render()",
            "hi you",
        ),
    ] {
        let job = run(&node, script).await;
        assert_eq!(job.output.as_deref(), Some(output), "{script}: {:?}", job.error);
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_was_given_the_network_asks_what_is_there() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let answers = tokio::spawn(async move {
        loop {
            let (mut socket, _) = server.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        // A look at the port only.
                        Err(_) => return,
                    }
                }
                let (status, body) = match head.starts_with(b"GET / ") || head.starts_with(b"HEAD / ") {
                    true => ("200 OK", "hello"),
                    false => ("404 Not Found", "gone"),
                };
                let body = if head.starts_with(b"HEAD") { "" } else { body };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let node = Node::start();
    let runner = node
        .runner(|config| {
            with_sal(config);
            config.sal.network = true;
        })
        .await;
    let here = format!("http://127.0.0.1:{port}");
    for (script, output) in [
        (format!("tcp_check(\"127.0.0.1\", {port})"), "true"),
        (format!("tcp_check(\"127.0.0.1\", {closed})"), "false"),
        (format!("[http_check(\"{here}/\"), http_check(\"{here}/none\")]"), "[true,false]"),
        (format!("[http_status(\"{here}/\"), http_status(\"{here}/none\")]"), "[200,404]"),
        (format!("http_status(\"http://127.0.0.1:{closed}/\")"), "-1"),
        (format!("http_get(\"{here}/\")"), "hello"),
    ] {
        let job = run(&node, &script).await;
        assert_eq!(job.output.as_deref(), Some(output), "{script}: {:?}", job.error);
    }
    for (path, words) in [(format!("{here}/none"), "404"), (format!("http://127.0.0.1:{closed}/"), "refused")]
    {
        let job = run(&node, &format!("http_get(\"{path}\")")).await;
        assert_eq!(job.error_kind, Some(ErrorKind::ScriptFailed));
        assert!(job.error.as_deref().is_some_and(|error| error.contains(words)), "{:?}", job.error);
    }
    runner.stop().await;
    answers.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sal_script_has_a_helper_a_log_and_errors_with_their_place() {
    let node = Node::start();
    let runner = node.runner(with_sal).await;
    let job = run(
        &node,
        "print(\"said\"); hero.log(1); hero.progress(0.5, \"half\"); hero.result(#{a: [1]}); run_command(\"echo noise\"); \"out\"",
    )
    .await;
    assert_eq!((job.output.as_deref(), job.result.as_deref()), (Some("out"), Some("{\"a\":[1]}")));
    assert_eq!(job.progress, Some(Progress::new(0.5, "half")));
    let log = node.log(job.id).await;
    // What a command prints comes another way, and may be anywhere among the others.
    let lines: Vec<&str> = log.lines().filter(|line| ["said", "1"].contains(line)).collect();
    assert!(lines == ["said", "1"] && log.contains("noise"), "{log}");
    for (script, kind, words) in [
        ("let = 1", ErrorKind::InvalidScript, "line 1, column 5"),
        ("let a = 1;\nfile_read(\"none\")", ErrorKind::ScriptFailed, "line 2, column 1"),
        ("run_command(\"exit 7\")", ErrorKind::ScriptFailed, "line 1"),
        ("eval(\"1\")", ErrorKind::InvalidScript, "eval"),
        ("file_read(\"/etc/shadow\")", ErrorKind::ScriptFailed, "denied"),
        ("fn f(n) { f(n + 1) } f(0)", ErrorKind::ScriptFailed, "too deep"),
    ] {
        let job = run(&node, script).await;
        assert_eq!((job.status, job.error_kind), (JobStatus::Error, Some(kind)), "{script}: {job:?}");
        assert!(job.error.as_deref().unwrap_or_default().contains(words), "{script}: {:?}", job.error);
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_call_is_killed_and_modules_can_be_left_out() {
    let node = Node::start();
    let runner = node
        .runner(|config| {
            with_sal(config);
            config.sal.modules = vec![Module::Process];
        })
        .await;
    let id = node.submit_script(Sal, "print(\"begun\"); run_command(\"sleep 100\")").await;
    node.logged(id, "begun").await;
    node.store.stop(id, None).await.expect("it is stopped");
    assert_eq!(node.ended(id).await.error_kind, Some(ErrorKind::Stopped));
    let job = run(&node, "exist(\"/\")").await;
    assert!(job.error.as_deref().unwrap_or_default().contains("Function not found"), "{:?}", job.error);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_is_not_offered_is_not_signed_in_for() {
    let node = Node::start();
    let runner = node
        .runner(|config| {
            with_sal(config);
            config.v.compiler = "no-such-compiler".into();
        })
        .await;
    let types = node.offered().await;
    assert!(types.contains(&Sal) && !types.contains(&hero_domain::ScriptType::V), "{types:?}");
    let id = node.submit_script(hero_domain::ScriptType::V, "fn main() {}").await;
    let why = node.store.explain(id, None).await.expect("an explanation").reasons();
    assert_eq!(why[0], "no runner serves type V here");
    runner.stop().await;
}
