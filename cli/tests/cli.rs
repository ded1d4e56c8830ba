//! The command as a person uses it: a node started with `hero up`, and everything else asked of that node.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const HERO: &str = env!("CARGO_BIN_EXE_hero");

/// A node of `hero up`, and a person beside it.
struct Person {
    node: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Person {
    fn with_a_node() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut node = hero(folder.path())
            .args(["up", "--private-redis", "--port", "0", "--data-dir"])
            .arg(folder.path().join("data"))
            .env("HERO_LAUNCHER__ADMIN__LISTEN", "tcp://127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(node.stdout.take().unwrap());
        let url = loop {
            assert!(lines.read_line(&mut said).unwrap() > 0, "the node ended: {said}");
            let last = said.lines().last().unwrap_or_default();
            if let Some((_, rest)) = last.split_once("http://").filter(|_| last.contains("JSON-RPC")) {
                break format!("http://{}", rest.split(' ').next().unwrap().trim());
            }
        };
        // Whatever else it says is read, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { node, url, folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        hero(self.folder.path()).args(["--url", &self.url]).args(arguments).output().unwrap()
    }

    /// What a command that succeeds puts out.
    fn out(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.out(&[&["--json"], arguments].concat())).unwrap()
    }

    /// The exit status and the words of a command that fails.
    fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let pid = i32::try_from(self.node.id()).unwrap();
        // Asked to end, it takes its Redis with it.
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        let _ = self.node.wait();
    }
}

fn hero(home: &Path) -> Command {
    let mut command = Command::new(HERO);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HERO_")) {
        command.env_remove(name);
    }
    command.env("HERO_CONFIG", home.join("contexts.toml")).env("NO_COLOR", "1");
    command
}

#[test]
fn a_script_is_run_shown_listed_explained_and_removed() {
    let person = Person::with_a_node();
    let sum = person.script("sum.rhai", "print(\"adding\"); 40 + 2");
    let hello = person.script("hello.py", "import os\nprint('hello', os.environ['WHO'])");
    assert_eq!(person.out(&["run", &sum]), "adding\n42\n");
    assert!(person.out(&["run", "--quiet", &sum]) == "42\n");
    assert_eq!(person.out(&["run", &hello, "-e", "WHO=you"]), "hello you\n", "its output is what it printed");

    let id = person.out(&["submit", &sum]).trim().to_owned();
    assert_eq!(person.out(&["wait", &id]), "42\n");
    assert_eq!(person.out(&["logs", &id]), "adding\n");
    assert_eq!(person.out(&["logs", "--follow", &id]), "adding\n");
    let shown = person.out(&["job", &id]);
    assert!(shown.contains("Finished") && shown.contains("42") && shown.contains("OSIS"), "{shown}");
    assert!(person.out(&["explain", &id]).starts_with("Finished"));
    assert_eq!(person.json(&["job", &id])["output"], "42");
    let list = person.out(&["jobs"]);
    assert!(list.contains(&id) && list.contains("OUTPUT OR ERROR"), "{list}");
    assert_eq!(person.json(&["jobs", "--type", "python"]).as_array().unwrap().len(), 1);
    assert!(person.out(&["rm", &id]).contains("deleted"));
    let (status, words) = person.fails(&["job", &id]);
    assert!(status == Some(1) && words.contains("`hero jobs` lists"), "{words}");
    let (status, words) = person.fails(&["rm", "--all"]);
    assert!(status == Some(64) && words.contains("--yes"), "{words}");
    person.out(&["rm", "--all", "--yes"]);
    assert_eq!(person.json(&["jobs"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_failed_job_is_told_tried_again_and_stopped() {
    let person = Person::with_a_node();
    let broken = person.script("broken.py", "print('so far')\nraise SystemExit('no')");
    let (status, words) = person.fails(&["run", &broken]);
    assert!(status == Some(2) && words.contains("ended in error"), "{words}");
    let failed = person.json(&["jobs", "--status", "Error"]);
    let id = failed[0]["id"].as_str().unwrap();
    assert!(person.out(&["retry", id]).contains("started again"));
    assert_eq!(person.fails(&["wait", id]).0, Some(2));
    assert!(person.out(&["retry", "--all"]).contains(id));

    let endless = person.script("endless.rhai", "loop { sleep(1) }");
    let id = person.out(&["submit", &endless]).trim().to_owned();
    assert!(person.out(&["stop", &id]).contains("stopped"));
    let (status, words) = person.fails(&["wait", &id]);
    assert!(status == Some(2) && words.contains("stopped"), "{words}");
}

#[test]
fn what_is_around_jobs_is_there_too() {
    let person = Person::with_a_node();
    let sum = person.script("sum.rhai", "1");
    let schedule = person.json(&["schedule", "new", "--cron", "0 9 * * *", &sum]);
    let id = schedule["id"].as_str().unwrap();
    assert!(person.out(&["schedule", "ls"]).contains(id));
    assert!(person.out(&["schedule", "pause", id]).contains("paused"));
    let job = person.out(&["schedule", "run", id]).trim().to_owned();
    assert_eq!(person.out(&["wait", &job]), "1\n");
    person.out(&["schedule", "rm", id]);
    assert!(person.out(&["runners"]).contains("alive"));
    assert!(person.out(&["whoami"]).contains("admin"));
    assert_eq!(person.out(&["call", "run_job", "[\"6 * 7\", \"OSIS\"]"]), "\"42\"\n");
    let doctor = person.out(&["doctor"]);
    assert!(doctor.contains("job store") && doctor.contains("are served"), "{doctor}");
    let (status, words) = person.fails(&["call", "no_such_method"]);
    assert!(status == Some(64) && words.contains("METHOD_NOT_FOUND"), "{words}");
}

#[test]
fn keys_circles_and_the_whole_node_are_looked_after() {
    let person = Person::with_a_node();
    let secret = person.out(&["key", "new", "oven", "--scope", "user"]).trim().to_owned();
    assert!(person.out(&["key", "ls"]).contains("oven"));
    assert!(person.out(&["--key", &secret, "whoami"]).contains("oven (user)"));
    let another = person.out(&["key", "rotate", "oven"]).trim().to_owned();
    assert_ne!(secret, another);
    let (status, words) = person.fails(&["key", "rm", "oven"]);
    assert!(status == Some(64) && words.contains("--yes"), "{words}");
    person.out(&["key", "rm", "oven", "--yes"]);
    assert!(person.out(&["audit"]).contains("rotate_key"));

    let file = person.folder.path().join("own.key");
    let file = file.to_str().unwrap();
    let circle = person.out(&["circle", "new", "--out", file]).trim().to_owned();
    person.out(&["circle", "add", &circle, "--max-timeout", "60"]);
    assert!(person.out(&["circle", "ls"]).contains(&circle));
    person.out(&["circle", "login", "--secret-key", file, "--save-as", "own"]);
    assert!(person.json(&["context", "ls"]).to_string().contains(&circle));
    // The url of the context is the circle's, so that of the command line stays away here.
    let who = hero(person.folder.path()).args(["--context", "own", "whoami"]).output().unwrap();
    assert!(String::from_utf8(who.stdout).unwrap().contains(&format!("in circle {circle}")));
    person.out(&["circle", "rm", &circle]);
}

#[test]
fn a_node_is_looked_at_as_a_whole_and_over_a_websocket_too() {
    let person = Person::with_a_node();
    let broken = person.script("broken.rhai", "throw \"no flour\"");
    assert_eq!(person.fails(&["run", &broken]).0, Some(2));
    let seen = person.out(&["top", "--once"]);
    for words in ["queued 0", "1 alive", "no flour", "Redis 7", "Python"] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    assert_eq!(person.json(&["top"])["jobs"]["failed"], 1);
    let measured = person.json(&["bench", "--jobs", "20", "--parallel", "4"]);
    assert!(measured["jobs_per_second"].as_f64().unwrap() > 0.0, "{measured}");
    let (status, words) = person.fails(&["nodes", "--decide", "ban"]);
    assert!(status == Some(64) && words.contains("name the node"), "{words}");
    let websocket = person.url.replacen("http", "ws", 1);
    let who = hero(person.folder.path()).args(["--url", &websocket, "whoami"]).output().unwrap();
    assert!(who.status.success() && String::from_utf8(who.stdout).unwrap().contains("admin"));
    let wrong = hero(person.folder.path()).args(["--url", "ftp://here", "whoami"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn contexts_are_kept_and_used() {
    let person = Person::with_a_node();
    person.out(&["context", "add", "here"]);
    assert!(person.out(&["context", "ls"]).contains(&person.url));
    let alone = |arguments: &[&str]| hero(person.folder.path()).args(arguments).output().unwrap();
    assert!(alone(&["whoami"]).status.success());
    let elsewhere = alone(&["--url", "http://127.0.0.1:1", "whoami"]);
    let words = String::from_utf8(elsewhere.stderr).unwrap();
    assert!(elsewhere.status.code() == Some(69) && words.contains("hero up"), "{words}");
    assert_eq!(alone(&["--context", "nowhere", "whoami"]).status.code(), Some(64));
}

#[test]
fn a_script_comes_over_the_input_and_the_shell_is_completed() {
    let person = Person::with_a_node();
    let mut run = hero(person.folder.path())
        .args(["--url", &person.url, "run", "--type", "python", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(b"print(6 * 7)").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("42\n"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(person.out(&["completions", shell]).contains("explain"), "{shell}");
    }
    let folder = person.folder.path().join("man");
    person.out(&["manual", "--man", folder.to_str().unwrap()]);
    assert!(folder.join("hero-run.1").exists());
}

#[test]
fn the_page_of_the_command_is_fresh() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/cli.md");
    let output = Command::new(HERO).arg("manual").output().unwrap();
    let made = String::from_utf8(output.stdout).unwrap();
    let kept = std::fs::read_to_string(page).unwrap_or_default();
    assert!(kept == made, "docs/cli.md is old; write it anew: cargo run -p hero-cli -- manual > docs/cli.md");
}
