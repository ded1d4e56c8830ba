//! With a stand-in for the compiler, for none can be shipped with these tests: it "compiles" the lines of a script
//! that begin with `// sh: ` to a shell script. Where a real `v` is on the PATH, it is tried, too.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use hero_domain::{ErrorKind, LogStream, Progress, ScriptType};
use hero_store::Claimed;

use super::{V, VConfig, which};
use crate::{
    attempt::Order,
    engine::OutputLimits,
    sandbox::{Sandbox, SandboxConfig},
    trial::{self, Trial},
};

const LIMITS: OutputLimits = OutputLimits { max_output_bytes: 8 << 20 };
const STAND_IN: &str = r#"#!/bin/sh
if [ "$1" = version ]; then echo "V 0.0.0 stand-in"; exit; fi
echo compiling
if grep -q wrong main.v; then echo "main.v:$(grep -n wrong main.v | cut -d: -f1):1: error: it is wrong" >&2; exit 1; fi
if ! grep -q 'module hero' hero/hero.v || [ -n "$SECRET" ]; then exit 2; fi
out=; while [ $# -gt 0 ]; do if [ "$1" = -o ]; then out="$2"; fi; shift; done
(echo '#!/bin/sh'; sed -n 's|^// sh: ||p' main.v) > "$out" && chmod 755 "$out"
"#;

async fn engine(dir: &Path, compiler: &Path) -> Result<V, String> {
    let settings = SandboxConfig { work_dir: dir.to_owned(), ..SandboxConfig::default() };
    let sandbox = Sandbox::prepare(&settings).expect("these tests need a machine with a whole sandbox");
    let config = VConfig { compiler: compiler.to_owned(), ..VConfig::default() };
    V::find(&config, &sandbox, &settings, LIMITS).await
}

/// The engine with the stand-in.
async fn v(dir: &Path) -> V {
    let compiler = dir.join("compiler/v");
    fs::create_dir(dir.join("compiler")).unwrap();
    fs::write(&compiler, STAND_IN).unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
    engine(dir, &compiler).await.expect("a stand-in")
}

fn job(script: &str) -> Claimed {
    let mut job = trial::job(ScriptType::V, script);
    job.env_vars.insert("SECRET".to_owned(), "of the job".to_owned());
    job
}

#[tokio::test]
async fn a_script_is_compiled_once_and_runs_with_its_own_variables() {
    let dir = tempfile::tempdir().unwrap();
    let v = v(dir.path()).await;
    let script = "// sh: echo \"$SECRET $CALLER_ID\"; echo '{\"progress\":{\"fraction\":0.5}}' >&3";
    let first = Trial::start(&v, job(script)).ended().await;
    assert_eq!(first.output(), "of the job alice\n");
    assert_eq!(first.texts(LogStream::Stdout), ["compiling", "of the job alice"]);
    assert_eq!(first.said.progress, Some(Progress::new(0.5, "")));
    let second = Trial::start(&v, job(script)).ended().await;
    assert_eq!(second.texts(LogStream::Stdout), ["of the job alice"], "from the cache");
    let other = Trial::start(&v, job("// sh: rm -f .program; exit 3")).ended().await;
    assert!(other.error(ErrorKind::ScriptFailed).contains("exit status: 3"));
}

#[tokio::test]
async fn many_at_once_compile_once() {
    let dir = tempfile::tempdir().unwrap();
    let v = v(dir.path()).await;
    let trials: Vec<_> = (0..8).map(|_| Trial::start(&v, job("// sh: echo out"))).collect();
    let mut compiled = 0;
    for trial in trials {
        let verdict = trial.ended().await;
        assert_eq!(verdict.output(), "out\n");
        compiled += verdict.texts(LogStream::Stdout).iter().filter(|line| **line == "compiling").count();
    }
    assert_eq!(compiled, 1);
}

#[tokio::test]
async fn what_does_not_compile_is_an_invalid_script() {
    let dir = tempfile::tempdir().unwrap();
    let v = v(dir.path()).await;
    let verdict = Trial::start(&v, job("fn main() {\nwrong\n}")).ended().await;
    assert_eq!(verdict.error(ErrorKind::InvalidScript), "main.v:2:1: error: it is wrong");
}

#[tokio::test]
async fn a_stop_ends_a_program_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let v = v(dir.path()).await;
    let trial = Trial::start(&v, job("// sh: echo begun; sleep 100"));
    trial.logged("begun").await;
    let (verdict, took) = trial.order(Order::Stop).await;
    verdict.error(ErrorKind::Stopped);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn without_a_compiler_there_is_no_engine_and_the_way_out_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let why = engine(dir.path(), Path::new("no-such-v")).await.err().unwrap();
    assert!(why.contains("no `no-such-v`") && why.contains("v.compiler"), "{why}");
    let why = engine(dir.path(), Path::new("/bin/echo")).await.err().unwrap();
    assert!(why.contains("is not a V compiler"), "{why}");
}

#[tokio::test]
async fn the_real_compiler_works_where_there_is_one() {
    let Some(compiler) = which(Path::new("v")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let v = engine(dir.path(), &compiler).await.expect("the compiler on the PATH");
    let script = "import hero\n\nfn main() {\n\thero.log('a \"quoted\" word')\n\thero.progress(0.25, 'a quarter')\n\
        \thero.result('[1, 2]')\n\tprintln(hero.args()['SECRET'])\n}\n";
    for _ in 0..2 {
        let verdict = Trial::start(&v, job(script)).ended().await;
        assert_eq!(verdict.output(), "of the job\n");
        assert_eq!(verdict.texts(LogStream::Log), ["a \"quoted\" word"]);
        assert_eq!(verdict.said.progress, Some(Progress::new(0.25, "a quarter")));
        assert_eq!(verdict.said.result.as_deref(), Some("[1,2]"));
    }
    let verdict = Trial::start(&v, job("fn main() {\n\tprintln(nothing)\n}")).ended().await;
    let error = verdict.error(ErrorKind::InvalidScript);
    assert!(error.contains("main.v:2:") && error.contains("nothing"), "{error}");
}
