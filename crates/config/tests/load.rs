//! Which layer wins, what is refused, and in which words.

use std::{collections::BTreeMap, fs, path::PathBuf};

use hero_config::{
    Error, Invalid, Overrides, Secret, Source, Validate, ensure, example::assert_covers, load_with, print,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Settings {
    name: String,
    circles: Vec<String>,
    redis: Redis,
    mode: Mode,
    labels: BTreeMap<String, String>,
    limit: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Redis {
    url: String,
    password: Option<Secret>,
    timeout_ms: u64,
    persistent: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Safe,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "settings".to_owned(),
            circles: Vec::new(),
            // Not what Redis::default says: a service's own default must hold for a section given in part.
            redis: Redis { timeout_ms: 250, ..Redis::default() },
            mode: Mode::Safe,
            labels: BTreeMap::new(),
            limit: None,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: "redis://127.0.0.1".to_owned(), password: None, timeout_ms: 1000, persistent: true }
    }
}

impl Validate for Settings {
    fn validate(&self) -> Result<(), Invalid> {
        ensure(self.redis.timeout_ms > 0, "redis.timeout_ms", "it must be more than 0")
    }
}

struct File {
    _dir: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hero.toml");
    fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn from_env(variables: &[(&str, &str)]) -> Result<Settings, Error> {
    load_with(Source { service: "mycelium-bridge", env: env(variables), ..Source::default() })
}

fn from_file(text: &str) -> Result<Settings, Error> {
    load_with(Source { service: "bridge", file: Some(&file(text).path), ..Source::default() })
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let file = file("name = 'file'\n[redis]\nurl = 'file'\ntimeout_ms = 2");
    let with = |variables: &[(&str, &str)], overrides| -> Settings {
        let source = Source {
            service: "bridge",
            file: Some(&file.path),
            env: env(variables),
            overrides,
            ..Source::default()
        };
        load_with(source).unwrap()
    };
    let settings = with(&[], Overrides::new());
    assert_eq!((settings.name.as_str(), settings.redis.timeout_ms), ("file", 2));
    assert!(settings.redis.persistent, "a default stays where the file says nothing");

    let variables = [("HERO_BRIDGE__REDIS__URL", "env"), ("HERO_BRIDGE__REDIS__TIMEOUT_MS", "3")];
    let settings = with(&variables, Overrides::new());
    assert_eq!((settings.name.as_str(), settings.redis.url.as_str()), ("file", "env"));
    assert_eq!(settings.redis.timeout_ms, 3);

    let overrides = Overrides::new()
        .set("redis.url", "--redis-url", Some("flag"))
        .set("name", "--name", None::<String>)
        .set_switch("redis.persistent", "--persistent", false);
    let settings = with(&variables, overrides);
    assert_eq!((settings.redis.url.as_str(), settings.redis.timeout_ms), ("flag", 3));
    assert_eq!(settings.name, "file", "a flag that was not given sets nothing");
}

#[test]
fn a_section_given_in_part_keeps_the_services_own_defaults() {
    assert_eq!(from_file("[redis]\nurl = 'x'").unwrap().redis.timeout_ms, 250);
}

#[test]
fn the_environment_reaches_every_kind_of_setting() {
    let settings = from_env(&[
        ("HERO_MYCELIUM_BRIDGE__CIRCLES", "a, b,"),
        ("HERO_MYCELIUM_BRIDGE__MODE", "fast"),
        ("HERO_MYCELIUM_BRIDGE__LIMIT", "7"),
        ("HERO_MYCELIUM_BRIDGE__REDIS__PERSISTENT", "false"),
        ("HERO_MYCELIUM_BRIDGE__LABELS", "{ zone = 'b' }"),
        ("HERO_MYCELIUM_BRIDGE__NAME", ""),
        ("HERO_BRIDGE__NAME", "another service's"),
        ("HERO_MYCELIUM", "not ours"),
    ])
    .unwrap();
    assert_eq!(settings.circles, ["a", "b"]);
    assert_eq!((settings.mode, settings.limit, settings.redis.persistent), (Mode::Fast, Some(7), false));
    assert_eq!(settings.labels["zone"], "b");
    assert_eq!(settings.name, "settings", "an empty variable counts as not set");
    assert_eq!(from_env(&[("HERO_MYCELIUM_BRIDGE__CIRCLES", "['a,b']")]).unwrap().circles, ["a,b"]);
}

#[test]
fn a_list_replaces_the_list_below_it() {
    let file = file("circles = ['a', 'b', 'c']");
    let overrides = Overrides::new().set_list("circles", "--circle", vec!["z".to_owned()]);
    let source = Source { service: "bridge", file: Some(&file.path), overrides, ..Source::default() };
    assert_eq!(load_with::<Settings>(source).unwrap().circles, ["z"]);
}

#[test]
fn promised_names_are_aliases() {
    let settings: Settings = load_with(Source {
        service: "explorer",
        env: env(&[("EXPLORER_NAME", "promised")]),
        aliases: &[("EXPLORER_NAME", "name")],
        ..Source::default()
    })
    .unwrap();
    assert_eq!(settings.name, "promised");
}

#[track_caller]
fn assert_refused(outcome: Result<Settings, Error>, key: &str, parts: &[&str]) {
    let error = outcome.expect_err("it should be refused");
    assert_eq!(error.key(), Some(key), "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
    }
}

#[test]
fn unknown_keys_are_refused_by_name_with_their_origin_and_the_known_ones() {
    assert_refused(from_file("nmae = 'x'"), "nmae", &["hero.toml", "known at the top are circles, labels"]);
    assert_refused(from_file("[redis]\nurll = 'x'"), "redis.urll", &["hero.toml", "timeout_ms, url"]);
    assert_refused(from_file("[rediss]\nurl = 'x'"), "rediss", &["unknown key", "hero.toml"]);
    let outcome = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS__URLL", "x")]);
    assert_refused(outcome, "redis.urll", &["environment variable HERO_MYCELIUM_BRIDGE__REDIS__URLL"]);
}

#[test]
fn a_section_that_denies_unknown_keys_itself_is_refused_in_the_same_words() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Inner,
    }
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        url: String,
    }
    impl Validate for Outer {
        fn validate(&self) -> Result<(), Invalid> {
            Ok(())
        }
    }
    let variables = env(&[("HERO_X__INNER__URLL", "x")]);
    let file = file("[inner]\nurl = 'x'");
    let source = Source { service: "x", file: Some(&file.path), env: variables, ..Source::default() };
    let error = load_with::<Outer>(source).unwrap_err();
    assert_eq!(error.key(), Some("inner.urll"), "{error}");
    assert!(error.to_string().contains("HERO_X__INNER__URLL: known in [inner] are url"), "{error}");
}

#[test]
fn a_bad_value_names_the_key_its_origin_and_what_is_wrong() {
    assert_refused(
        from_file("[redis]\ntimeout_ms = 'soon'"),
        "redis.timeout_ms",
        &["hero.toml", "soon", "integer"],
    );
    assert_refused(from_file("[redis]\ntimeout_ms = -1"), "redis.timeout_ms", &["hero.toml", "-1"]);
    assert_refused(from_file("mode = 'quick'"), "mode", &["hero.toml", "`quick`", "none of the choices"]);
    assert_refused(from_file("redis = 5"), "redis", &["hero.toml", "5"]);
    assert_refused(from_file("circles = [['a']]"), "circles[0]", &["hero.toml"]);
    let outcome = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS__PERSISTENT", "perhaps")]);
    assert_refused(
        outcome,
        "redis.persistent",
        &["HERO_MYCELIUM_BRIDGE__REDIS__PERSISTENT", "perhaps", "bool"],
    );
    let outcome = from_env(&[("HERO_MYCELIUM_BRIDGE__CIRCLES", "['a'")]);
    assert_refused(outcome, "circles", &["HERO_MYCELIUM_BRIDGE__CIRCLES", "TOML"]);
    let outcome = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS", "redis://")]);
    assert_refused(outcome, "redis", &["HERO_MYCELIUM_BRIDGE__REDIS", "TOML"]);
}

#[test]
fn what_validate_refuses_names_the_origin_too() {
    let file = file("[redis]\ntimeout_ms = 5");
    let overrides = Overrides::new().set("redis.timeout_ms", "--timeout", Some(0_u64));
    let source = Source { service: "bridge", file: Some(&file.path), overrides, ..Source::default() };
    assert_refused(load_with(source), "redis.timeout_ms", &["flag --timeout", "more than 0"]);
}

#[test]
fn a_file_that_is_missing_or_broken_is_named() {
    let missing =
        Source { service: "bridge", file: Some("/nowhere/hero.toml".as_ref()), ..Source::default() };
    let error = load_with::<Settings>(missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere/hero.toml") && error.contains("--config"), "{error}");
    let error = from_file("name = \n").unwrap_err().to_string();
    assert!(error.contains("hero.toml") && error.contains("line 1, column 8"), "{error}");
    let error = from_file("name = 'x'\npassword = 'hunter2' nonsense").unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
}

#[test]
fn secrets_are_used_and_never_printed() {
    let settings = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS__PASSWORD", "hunter2")]).unwrap();
    let secret = settings.redis.password.clone().unwrap();
    assert_eq!(secret.expose(), "hunter2");
    for printed in [print(&settings).unwrap(), format!("{settings:?}"), secret.to_string()] {
        assert!(printed.contains("[redacted]") && !printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_refused_secret_is_not_printed_either() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Guarded {
        pin: Secret,
    }
    impl Validate for Guarded {
        fn validate(&self) -> Result<(), Invalid> {
            ensure(self.pin.expose().len() >= 8, "pin", "it must have at least 8 characters")
        }
    }
    let source = Source { service: "x", env: env(&[("HERO_X__PIN", "hunter2")]), ..Source::default() };
    let error = load_with::<Guarded>(source).unwrap_err().to_string();
    assert!(error.contains("HERO_X__PIN") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_secret_can_be_a_mounted_file() {
    let secret = file("s3cret\n");
    let reference = format!("file:{}", secret.path.display());
    let settings = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS__PASSWORD", reference.as_str())]).unwrap();
    assert_eq!(settings.redis.password.unwrap().expose(), "s3cret");
    let outcome = from_env(&[("HERO_MYCELIUM_BRIDGE__REDIS__PASSWORD", "file:/nowhere")]);
    assert_refused(outcome, "redis.password", &["/nowhere", "HERO_MYCELIUM_BRIDGE__REDIS__PASSWORD"]);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let printed = print(&Settings::default()).unwrap();
    assert_eq!(from_file(&printed).unwrap().redis.timeout_ms, 250);
}

const EXAMPLE: &str = "
# What it is called.
name = 'x'
circles = []
mode = 'safe'
# At most so many; a comment with words = and more is prose.
# limit = 10
[labels]
[redis]
url = 'redis://127.0.0.1'
# password = 'file:/run/secrets/redis'
timeout_ms = 250
# persistent = true
";

#[test]
fn an_example_covers_every_setting() {
    assert_covers::<Settings>(EXAMPLE);
}

#[test]
#[should_panic(expected = "does not show redis.password, redis.persistent")]
fn an_example_that_leaves_settings_out_is_refused() {
    assert_covers::<Settings>(&EXAMPLE.replace("# p", "# the p"));
}

#[test]
#[should_panic(expected = "unknown key `limits`")]
fn an_example_with_a_stale_setting_is_refused() {
    assert_covers::<Settings>(&EXAMPLE.replace("# limit =", "# limits ="));
}
