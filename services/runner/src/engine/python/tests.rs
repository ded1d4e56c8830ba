use std::{
    path::Path,
    time::{Duration, Instant},
};

use hero_domain::{ErrorKind, LogStream, ScriptType};
use hero_store::{Claimed, Outcome};

use super::{Python, PythonConfig};
use crate::{
    attempt::Order,
    engine::OutputLimits,
    sandbox::{Sandbox, SandboxConfig},
    trial::{self, Trial, Verdict},
};

const LIMITS: OutputLimits = OutputLimits { max_output_bytes: 8 << 20 };

/// The interpreter, with directories of jobs below a directory of the test's own.
async fn python(work_dir: &Path) -> Python {
    Python::find(&PythonConfig::default(), &sandbox(work_dir), LIMITS)
        .await
        .expect("these tests need python3")
}

fn sandbox(work_dir: &Path) -> Sandbox {
    let config = SandboxConfig { work_dir: work_dir.to_owned(), ..SandboxConfig::default() };
    Sandbox::prepare(&config).expect("these tests need a machine with a whole sandbox")
}

fn job(script: &str) -> Claimed {
    trial::job(ScriptType::Python, script)
}

async fn run(script: &str) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    Trial::start(&python(dir.path()).await, job(script)).ended().await
}

/// Whether a process lives; a zombie does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn standard_output_is_the_output_and_both_streams_are_the_log() {
    let verdict = run("import sys\nprint('one')\nprint('two', file=sys.stderr)\nprint('end', end='')").await;
    assert_eq!(verdict.output(), "one\nend");
    assert_eq!(verdict.texts(LogStream::Stdout), ["one", "end"]);
    assert_eq!(verdict.texts(LogStream::Stderr), ["two"]);
}

#[tokio::test]
async fn lines_are_logged_as_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let script = "import time\nprint('first')\ntime.sleep(0.4)\nprint('second')";
    let trial = Trial::start(&python(dir.path()).await, job(script));
    let first = trial.logged("first").await;
    let second = trial.logged("second").await;
    assert!(second.at - first.at > Duration::from_millis(300), "{:?}", second.at - first.at);
    assert_eq!(trial.ended().await.output(), "first\nsecond\n");
}

#[tokio::test]
async fn a_script_sees_its_job_as_globals_and_environment_and_nothing_of_the_runner() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job("import os, json\n\
         print(CALLER_ID, CONTEXT_ID, JOB_ID, os.environ['CALLER_ID'], os.environ['COLOUR'], __name__)\n\
         print(json.dumps(sorted(os.environ)))\n\
         print(os.getcwd() == os.path.realpath(os.environ['HOME']), os.listdir(), __file__, end='')");
    job.env_vars.insert("COLOUR".to_owned(), "blue".to_owned());
    let id = job.id;
    let verdict = Trial::start(&python(dir.path()).await, job).ended().await;
    let lines: Vec<_> = verdict.output().lines().collect();
    assert_eq!(lines[0], format!("alice lab {id} alice blue __main__"));
    let names: Vec<&str> = serde_json::from_str(lines[1]).unwrap();
    let known = ["CALLER_ID", "COLOUR", "CONTEXT_ID", "HOME", "JOB_ID", "LANG", "LC_CTYPE", "PATH", "TMPDIR"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(lines[2].starts_with("True [] script.py"), "{}", lines[2]);
}

#[tokio::test]
async fn the_directory_of_a_job_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let python = python(dir.path()).await;
    let script = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nos.chmod('a', 0o500)\nprint(os.getcwd())";
    let verdict = Trial::start(&python, job(script)).ended().await;
    let home = Path::new(verdict.output().trim_end()).to_owned();
    assert!(home.starts_with(dir.path()), "{home:?}");
    until("the directory is gone", || !home.exists()).await;
    drop(python);
    until("that of the runner, too", || std::fs::read_dir(dir.path()).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_directory_that_was_removed_while_it_waited_costs_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let python = python(dir.path()).await;
    let runner = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let homes = || std::fs::read_dir(&runner).unwrap().map(|it| it.unwrap().path());
    // The warm interpreter's own and those of its children.
    until("children wait in their directories", || homes().count() > 2).await;
    homes().for_each(|home| drop(std::fs::remove_dir(home)));
    for _ in 0..6 {
        assert_eq!(Trial::start(&python, job("print(1)")).ended().await.output(), "1\n");
    }
}

#[tokio::test]
async fn an_exception_is_told_with_the_scripts_own_lines() {
    let verdict = run("def f():\n    return 1 / 0\n\nprint('before')\nf()").await;
    let error = verdict.error(ErrorKind::ScriptFailed);
    assert!(error.starts_with("ZeroDivisionError: division by zero (exit status: 1)\nTraceback"), "{error}");
    assert!(error.contains("script.py\", line 5, in <module>"), "{error}");
    assert!(error.contains("script.py\", line 2, in f"), "{error}");
    assert!(
        error.contains("return 1 / 0") && error.ends_with("ZeroDivisionError: division by zero"),
        "{error}"
    );
    assert!(!error.contains("_run_job") && !error.contains("<string>"), "{error}");
    assert!(matches!(&verdict.outcome, Outcome::Failed { output: Some(output), .. } if output == "before\n"));
}

#[tokio::test]
async fn whoever_says_that_it_ends_and_does_not_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let python = python(dir.path()).await;
    let script = "import os\nprint(os.getpid(), flush=True)\nos.write(3, b'{\"ended\": 0}\\n')\n\
                  for number in (1, 2, 3): os.close(number)\nwhile True: pass";
    let verdict = Trial::start(&python, job(script)).ended().await;
    let pid = verdict.output().trim_end().to_owned();
    until("it is dead", || !is_alive(&pid)).await;
    // What is no status ends nothing.
    let script = "import os, sys\nos.write(3, b'{\"ended\": 256}\\n{\"ended\": \"0\"}\\n')\nsys.exit(3)";
    let verdict = Trial::start(&python, job(script)).ended().await;
    assert_eq!(verdict.error(ErrorKind::ScriptFailed), "the script ended with exit status: 3");
}

#[tokio::test]
async fn what_a_script_has_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let python = python(dir.path()).await;
    // In the background, in the background of a child that is gone, and with none of the job's outputs.
    let script = "import os, subprocess, sys\n\
                  quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n\
                  print(subprocess.Popen(['sleep', '60'], **quiet).pid)\n\
                  print(subprocess.check_output(['sh', '-c', 'sleep 60 >/dev/null 2>&1 & echo $!']).decode(), end='')";
    for _ in 0..5 {
        let verdict = Trial::start(&python, job(script)).ended().await;
        assert_eq!(verdict.output().lines().count(), 2, "{}", verdict.output());
        until("they are dead", || !verdict.output().lines().any(is_alive)).await;
    }
}

#[tokio::test]
async fn an_exit_status_is_told() {
    assert_eq!(run("import sys; sys.exit(0)").await.output(), "");
    assert_eq!(run("raise SystemExit").await.output(), "");
    let verdict = run("import sys; sys.exit(3)").await;
    assert_eq!(verdict.error(ErrorKind::ScriptFailed), "the script ended with exit status: 3");
    let verdict = run("import sys; sys.exit('out of paper')").await;
    assert_eq!(verdict.error(ErrorKind::ScriptFailed), "out of paper (exit status: 1)");
}

#[tokio::test]
async fn a_syntax_error_is_an_invalid_script_with_its_place() {
    let verdict = run("print('never')\nx = = 1\n").await;
    let error = verdict.error(ErrorKind::InvalidScript);
    assert!(error.starts_with("line 2, column 5: "), "{error}");
    assert!(verdict.lines.is_empty(), "{:?}", verdict.lines);
    run("a = 1\n\x00").await.error(ErrorKind::InvalidScript);
}

#[tokio::test]
async fn death_by_a_signal_is_told_by_name() {
    let verdict = run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)").await;
    assert!(verdict.error(ErrorKind::ScriptFailed).contains("SIGSEGV"), "{:?}", verdict.outcome);
}

#[tokio::test]
async fn bytes_that_are_not_utf8_survive_as_escapes() {
    let verdict =
        run("import sys\nsys.stdout.buffer.write(b'a\\xff\\xc3\\xa9\\n')\nsys.stderr.buffer.write(b'\\xfe')")
            .await;
    assert_eq!(verdict.output(), "a\\xffé\n");
    assert_eq!(verdict.texts(LogStream::Stdout), ["a\\xffé"]);
    assert_eq!(verdict.texts(LogStream::Stderr), ["\\xfe"]);
}

#[tokio::test]
async fn a_gigabyte_of_output_is_cut_off() {
    let begun = Instant::now();
    let verdict = run("import sys\nfor _ in range(1024): sys.stdout.write('x' * (1 << 20))").await;
    assert!(verdict.error(ErrorKind::OutputTooLarge).contains("8388608"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let logged: usize = verdict.lines.iter().map(|line| line.text.len()).sum();
    assert!(logged <= (8 << 20) + (1 << 20), "{logged}");
}

#[tokio::test]
async fn a_gigabyte_on_standard_error_does_not_stay_in_memory() {
    let script = "import sys\nfor n in range(64): sys.stderr.write('y' * (1 << 20) + '\\n')\nsys.exit(1)";
    let verdict = run(script).await;
    assert!(verdict.error(ErrorKind::ScriptFailed).len() < 8 << 10);
}

#[tokio::test]
async fn children_that_are_left_over_are_killed() {
    let script = "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        print(os.getpid(), flush=True)\n        time.sleep(1000)\n        os._exit(0)\n";
    let script = format!("{script}time.sleep(0.3)\n");
    let begun = Instant::now();
    let verdict = run(&script).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    let pids: Vec<_> = verdict.output().lines().collect();
    assert_eq!(pids.len(), 3);
    for pid in pids {
        until("a child that was left over is dead", || !is_alive(pid)).await;
    }
}

#[tokio::test]
async fn a_daemon_that_holds_the_output_open_does_not_hold_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let script = "import os, time\nif os.fork() == 0:\n    try: os.setsid()\n    except PermissionError: pass\n    print(os.getpid(), flush=True)\n    time.sleep(300)\n    os._exit(0)\ntime.sleep(0.3)";
    let python = python(dir.path()).await;
    let begun = Instant::now();
    let verdict = Trial::start(&python, job(script)).ended().await;
    verdict.output();
    // The start of the interpreter is not the job's time.
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_timeout_and_a_stop_kill_the_whole_tree() {
    let dir = tempfile::tempdir().unwrap();
    let python = python(dir.path()).await;
    let script = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\nos.write(1, b'pid %d\\n' % os.getpid())\ntime.sleep(0.1)\nprint('ready', flush=True)\ntime.sleep(1000)";
    let trial = Trial::start(&python, job(script));
    trial.logged("ready").await;
    let (stopped, took) = trial.order(Order::Stop).await;
    stopped.error(ErrorKind::Stopped);
    assert!(took < Duration::from_secs(1), "{took:?}");

    let mut job = job(script);
    job.timeout = Duration::from_millis(1_500);
    let begun = Instant::now();
    let timed_out = Trial::start(&python, job).ended().await;
    assert!(timed_out.error(ErrorKind::Timeout).contains("1.5 s"));
    assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());

    for verdict in [stopped, timed_out] {
        let pids: Vec<_> = verdict.lines.iter().filter_map(|line| line.text.strip_prefix("pid ")).collect();
        assert_eq!(pids.len(), 2, "{:?}", verdict.lines);
        for pid in pids {
            until("a process of the tree is dead", || !is_alive(pid)).await;
        }
        assert!(
            matches!(&verdict.outcome, Outcome::Failed { output: Some(text), .. } if text.contains("ready"))
        );
    }
}

#[tokio::test]
async fn a_drain_hands_a_running_job_back() {
    let dir = tempfile::tempdir().unwrap();
    let trial = Trial::start(&python(dir.path()).await, job("print('go')\nwhile True: pass"));
    trial.logged("go").await;
    assert_eq!(trial.order(Order::HandBack).await.0.outcome, Outcome::HandedBack);
}

#[tokio::test]
async fn standard_input_is_empty() {
    assert_eq!(run("import sys\nprint(repr(sys.stdin.read()))").await.output(), "''\n");
}

#[tokio::test]
async fn an_interpreter_that_is_not_there_is_told_with_a_way_out() {
    for (interpreter, words) in [("/nowhere/python3", "does not start"), ("true", "not a working Python 3")] {
        let config = PythonConfig { interpreter: interpreter.into(), ..PythonConfig::default() };
        let dir = tempfile::tempdir().unwrap();
        let error = Python::find(&config, &sandbox(dir.path()), LIMITS).await.err().unwrap();
        assert!(error.contains(words) && error.contains("python.interpreter"), "{error}");
    }
}

#[tokio::test]
async fn an_environment_that_cannot_be_passed_on_fails_the_job_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job("print(1)");
    job.env_vars.insert("A".to_owned(), "nul\0inside".to_owned());
    let verdict = Trial::start(&python(dir.path()).await, job).ended().await;
    assert!(verdict.error(ErrorKind::ScriptFailed).contains("could not be started"));
}

/// What the kernel says of the process of a script.
const STATUS: &str = "wanted = ('NoNewPrivs', 'Seccomp', 'CapEff', 'CapBnd', 'Uid')\n\
    for line in open('/proc/self/status'):\n\
    \x20   name, _, value = line.partition(':')\n\
    \x20   if name in wanted: print(name, *value.split())\n";

async fn engine(work_dir: &Path, warm: bool) -> Python {
    let config = PythonConfig { warm, ..PythonConfig::default() };
    Python::find(&config, &sandbox(work_dir), LIMITS).await.expect("these tests need python3")
}

#[tokio::test]
async fn warm_and_cold_scripts_wear_the_same_layers() {
    let dir = tempfile::tempdir().unwrap();
    for warm in [true, false] {
        let engine = engine(dir.path(), warm).await;
        let verdict = Trial::start(&engine, job(STATUS)).ended().await;
        let output = verdict.output();
        assert!(output.contains("NoNewPrivs 1\n") && output.contains("Seccomp 2\n"), "{output}");
        // At most the right to read past the permissions of the interpreter's directory.
        let capabilities = ["0000000000000000", "0000000000000004"];
        assert!(capabilities.iter().any(|kept| output.contains(&format!("CapEff {kept}\n"))), "{output}");
        if rustix::process::geteuid().is_root() {
            assert!(!output.contains("Uid 0") && output.contains("Uid 6"), "{output}");
        }
    }
}

#[tokio::test]
async fn scripts_run_in_copies_of_one_interpreter_and_see_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), true).await;
    let script = "import os, sys, builtins\n\
        print(os.getppid(), hasattr(builtins, 'mark'), 'mark' in globals(), 'MARK' in os.environ, os.getcwd())\n\
        builtins.mark = mark = 1\nos.environ['MARK'] = '1'";
    let first = Trial::start(&engine, job(script)).ended().await;
    let second = Trial::start(&engine, job(script)).ended().await;
    let words = |verdict: &Verdict| verdict.output().split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (words(&first), words(&second));
    assert_eq!(first[0], second[0], "both have the warm interpreter as their parent");
    assert_ne!(first[0], std::process::id().to_string());
    assert!(first[1..4].iter().chain(&second[1..4]).all(|seen| seen == "False"), "{first:?} {second:?}");
    assert_ne!(first[4], second[4]);
}

#[tokio::test]
async fn a_warm_interpreter_that_dies_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), true).await;
    let parent = Trial::start(&engine, job("import os\nprint(os.getppid(), end='')")).ended().await;
    let parent = parent.output().to_owned();
    let trial = Trial::start(&engine, job("import time\nprint('ready')\ntime.sleep(1000)"));
    trial.logged("ready").await;
    let pid = rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    trial.ended().await.error(ErrorKind::ScriptFailed);
    // Meanwhile, and afterwards, jobs run.
    assert_eq!(Trial::start(&engine, job("print(1)")).ended().await.output(), "1\n");
    let runner = std::process::id().to_string();
    let (engine, parent, runner) = (&engine, &parent, &runner);
    hero_testing::eventually("another warm interpreter", Duration::from_secs(20), || async move {
        let verdict = Trial::start(engine, job("import os\nprint(os.getppid(), end='')")).ended().await;
        let now = verdict.output();
        now != parent.as_str() && now != runner.as_str()
    })
    .await;
}

/// Who has the warm interpreter as its parent, and so waits for a job where none runs.
fn children_of(parent: &str) -> Vec<rustix::process::Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)).collect()
}

#[tokio::test]
async fn children_that_wait_for_a_job_are_made_up_for_when_they_are_used_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    let engine = &engine(dir.path(), true).await;
    let script = "import os, random\nprint(os.getppid(), os.getpid(), random.random(), sep=' ', end='')";
    let first = Trial::start(engine, job(script)).ended().await;
    let parent = first.output().split(' ').next().unwrap();
    hero_testing::eventually("children that wait", Duration::from_secs(20), || async {
        children_of(parent).len() >= 2
    })
    .await;
    let killed = &children_of(parent);
    for child in killed {
        // One that has gone meanwhile is no loss.
        let _ = rustix::process::kill_process(*child, rustix::process::Signal::KILL);
    }
    hero_testing::eventually("the end of those", Duration::from_secs(20), || async {
        children_of(parent).iter().all(|child| !killed.contains(child))
    })
    .await;
    // More at once than ever wait.
    let trials: Vec<_> = (0..20).map(|_| Trial::start(engine, job(script))).collect();
    let mut seen = std::collections::BTreeSet::new();
    for trial in trials {
        let verdict = trial.ended().await;
        let words: Vec<&str> = verdict.output().split(' ').collect();
        assert_eq!(words[0], parent, "the interpreter lives");
        assert!(seen.insert(words[1].to_owned()), "a child has one job: {words:?}");
        assert!(seen.insert(words[2].to_owned()), "copies do not draw the same numbers: {words:?}");
    }
    hero_testing::eventually("others in their place", Duration::from_secs(20), || async {
        !children_of(parent).is_empty()
    })
    .await;
}

#[tokio::test]
async fn the_helper_logs_and_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    for warm in [true, false] {
        let engine = engine(dir.path(), warm).await;
        let mut job =
            job("import hero\nhero.log('a', 1)\nhero.log('two\\nlines')\nhero.progress(0.5, 'half')\n\
            hero.result({'x': [1, None]})\nprint(hero.args['COLOUR'], hero.job_id == JOB_ID)\n\
            try: hero.progress(2)\nexcept ValueError as error: print(error)\n\
            import os\nos.write(3, b'nonsense\\n')");
        job.env_vars.insert("COLOUR".to_owned(), "blue".to_owned());
        let verdict = Trial::start(&engine, job).ended().await;
        assert_eq!(verdict.output(), "blue True\na fraction lies between 0 and 1, this is 2.0\n");
        let log = verdict.texts(LogStream::Log);
        assert_eq!(log[..3], ["a 1", "two", "lines"]);
        assert!(log[3].starts_with("a message of the script was dropped"), "{log:?}");
    }
}
