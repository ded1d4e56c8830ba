//! The rules of the house that no compiler checks: who may import whom, and where which names may be spelled.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use hero_domain::Reason;

/// The table of ARCHITECTURE.md: a package may import packages on lower floors.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["hero-domain", "hero-config"]),
    (1, &["hero-auth", "hero-proto", "hero-redis", "hero-telemetry"]),
    (2, &["hero-client", "hero-jsonrpc", "hero-runtime", "hero-store", "hero-testing"]),
    (
        3,
        &[
            "hero-explorer",
            "hero-gateway",
            "hero-msgbus-relay",
            "hero-mycelium-bridge",
            "hero-runner",
            "hero-supervisor",
        ],
    ),
    (4, &["hero-bench", "hero-launcher", "hero-tests"]),
    (5, &["hero-cli"]),
];
/// For tests only, and for everybody's.
const DEV_ONLY: &str = "hero-testing";
/// What a manifest takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];
/// Folders whose text is not ours to check.
const SKIPPED: [&str; 4] = ["target", ".git", "data", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside the workspace").to_owned()
}

fn packages() -> Vec<Package> {
    let metadata =
        MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata answers");
    assert!(!metadata.packages.is_empty());
    metadata.packages
}

fn floor_of(package: &str) -> u8 {
    let found = FLOORS.iter().find(|(_, names)| names.contains(&package));
    found.unwrap_or_else(|| panic!("{package} stands on no floor: add it to FLOORS and to ARCHITECTURE.md")).0
}

/// Every file below `folder` with one of these extensions.
fn files(folder: &Path, extensions: &[&str], into: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                files(&path, extensions, into);
            }
        } else if path.extension().is_some_and(|have| extensions.iter().any(|want| have == *want)) {
            into.push(path);
        }
    }
}

/// Lines of files below `folders` for which `breaks` holds, as `path:line: text`.
fn offenders(
    folders: &[&str],
    extensions: &[&str],
    allowed: impl Fn(&Path) -> bool,
    breaks: impl Fn(&str) -> bool,
) -> Vec<String> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        files(&root.join(folder), extensions, &mut paths);
    }
    assert!(!paths.is_empty(), "nothing was looked at in {folders:?}");
    let mut found = Vec::new();
    for path in paths {
        let path = path.strip_prefix(&root).expect("it is below the root").to_owned();
        if allowed(&path) {
            continue;
        }
        let text = fs::read_to_string(root.join(&path)).expect("source is UTF-8");
        // What stands below `mod tests` is a test, and may name what it checks.
        for (number, line) in text.lines().take_while(|line| !line.starts_with("mod tests")).enumerate() {
            if breaks(line) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn a_package_imports_lower_floors_only() {
    let mut broken = Vec::new();
    for package in packages() {
        let floor = floor_of(&package.name);
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let is_dev = dependency.kind == DependencyKind::Development;
            let fine = match (dependency.name.as_str(), is_dev) {
                (DEV_ONLY, is_dev) => is_dev || floor == 4,
                // A crate's own tests may turn on its features.
                (name, true) if name == package.name.as_str() => true,
                (name, _) => floor_of(name) < floor,
            };
            if !fine {
                broken.push(format!("{} (floor {floor}) imports {}", package.name, dependency.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_package_is_named_after_its_folder_and_stands_in_the_table() {
    let found: BTreeSet<String> = packages()
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent().and_then(|folder| folder.file_name());
            let folder = folder.expect("a manifest has a folder");
            assert_eq!(package.name.as_str(), format!("hero-{folder}"));
            package.name.to_string()
        })
        .collect();
    let told: BTreeSet<String> =
        FLOORS.iter().flat_map(|(_, names)| names.iter()).map(|name| (*name).to_owned()).collect();
    assert_eq!(found, told);
}

#[test]
fn every_manifest_inherits_from_the_workspace() {
    let mut broken = Vec::new();
    for package in packages() {
        let text = fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let inherits = |table: &toml::Value, key: &str| {
            table.get(key).and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool)
                == Some(true)
        };
        for key in INHERITED {
            if !inherits(&manifest["package"], key) {
                broken.push(format!("{}: {key} is its own", package.name));
            }
        }
        if manifest["lints"].get("workspace").and_then(toml::Value::as_bool) != Some(true) {
            broken.push(format!("{}: lints are its own", package.name));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            let others = dependencies.keys().filter(|name| name.as_str() != package.name.as_str());
            for name in others.filter(|name| !inherits(&manifest[section], name)) {
                broken.push(format!("{}: the version of {name} is its own", package.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn heavy_crates_stay_behind_their_doors() {
    let doors: &[(&str, &[&str])] = &[
        ("tonic", &["hero-proto", "hero-runtime", "hero-supervisor", "hero-tests", "hero-bench"]),
        ("redis", &["hero-redis", "hero-store", "hero-testing", "hero-tests", "hero-bench"]),
        ("opentelemetry", &["hero-telemetry"]),
        (
            "jsonrpsee",
            &[
                "hero-client",
                "hero-jsonrpc",
                "hero-gateway",
                "hero-mycelium-bridge",
                "hero-tests",
                "hero-bench",
            ],
        ),
        ("axum", &["hero-runtime", "hero-gateway"]),
        ("config", &["hero-config"]),
        ("rhai", &["hero-runner", "hero-bench"]),
        ("landlock", &["hero-runner"]),
        ("seccompiler", &["hero-runner"]),
    ];
    let mut broken = Vec::new();
    for package in packages() {
        let normal =
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal {
            if let Some((name, owners)) = doors.iter().find(|(name, _)| *name == dependency.name)
                && !owners.contains(&package.name.as_str())
            {
                broken.push(format!("{} depends on {name}", package.name));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn keys_of_the_job_store_are_spelled_in_the_store_only() {
    let found = offenders(
        &["crates", "services", "proto"],
        &["rs", "lua"],
        |path| path.starts_with("crates/store") || path.starts_with("crates/testing") || is_test_path(path),
        // `hero::span` is the target of a log line.
        |line| {
            let line = line.replace("\"hero::", "");
            !is_comment(&line) && (line.contains("\"hero:") || line.contains("rhai_tasks:"))
        },
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn names_of_environment_variables_stand_in_config_only() {
    let found = offenders(
        &["crates", "services"],
        &["rs"],
        |path| path.starts_with("crates/config") || path.ends_with("config.rs") || is_test_path(path),
        |line| {
            let reads = ["env::var(", "env::var_os(", "env = \"", "\"EXPLORER_", "\"OTEL_"];
            // What a build is for is no variable.
            let line = &line.replace("target_env = ", "");
            // The errors that the store's scripts raise begin alike, but have no section.
            let is_ours = line.contains("\"HERO_") && line.contains("__");
            !is_comment(line) && (is_ours || reads.iter().any(|read| line.contains(read)))
        },
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn names_of_metrics_and_spans_stand_in_telemetry_only() {
    let found = offenders(
        &["crates", "services", "proto"],
        &["rs"],
        |path| path.starts_with("crates/telemetry") || is_test_path(path),
        |line| {
            let own = [
                "\"hero.job.",
                "\"hero.runner.",
                "\"hero.node.",
                "\"rpc.server.",
                "\"rpc.client.",
                "\"messaging.",
            ];
            // The protos' packages are called alike.
            !is_comment(line) && own.iter().any(|name| line.contains(name)) && !line.contains(".v1")
        },
    );
    assert!(found.is_empty(), "{found:#?}");
}

/// Tests of a crate that are files of their own.
fn is_test_path(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

#[test]
fn every_error_reason_has_a_page() {
    let folder = root().join("docs/errors");
    let index = fs::read_to_string(folder.join("README.md")).expect("the pages have an index");
    for reason in Reason::ALL {
        let name = reason.as_str();
        let page = fs::read_to_string(folder.join(format!("{name}.md")));
        let page = page.unwrap_or_else(|error| panic!("docs/errors/{name}.md: {error}"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name} has another title");
        assert!(page.contains("**What to do.**"), "{name} does not say what to do");
        assert!(index.contains(&format!("[{name}]({name}.md)")), "{name} is not in the index");
    }
}

#[test]
fn every_page_of_an_error_belongs_to_a_reason() {
    let mut pages = Vec::new();
    files(&root().join("docs/errors"), &["md"], &mut pages);
    for page in pages {
        let name = page.file_stem().expect("a page has a name").to_string_lossy().into_owned();
        // These are of JSON-RPC alone: no port fails with them.
        let of_jsonrpc = ["SCRIPT_FAILED", "METHOD_NOT_FOUND"];
        let known =
            Reason::from_name(&name).is_some() || of_jsonrpc.contains(&name.as_str()) || name == "README";
        assert!(known, "docs/errors/{name}.md belongs to nothing");
    }
}

#[test]
fn every_make_command_that_is_told_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("there is a Makefile");
    let mut told = 0;
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join(".ci/run")];
    files(&root().join("docs"), &["md"], &mut pages);
    for page in pages.iter().filter(|page| page.exists()) {
        let text = fs::read_to_string(page).expect("a page can be read");
        for (at, _) in text.match_indices("make ") {
            let is_command = text[..at].ends_with(['`', '\n']) || text[..at].ends_with("$ ");
            let is_letter = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
            let target: String = text[at + 5..].chars().take_while(is_letter).collect();
            if is_command && !target.is_empty() {
                told += 1;
                assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", page.display());
            }
        }
    }
    assert!(told > 0, "no make command was found");
}

#[test]
fn every_test_that_is_named_exists() {
    let mut sources = Vec::new();
    for folder in ["crates", "services", "proto", "tests"] {
        files(&root().join(folder), &["rs"], &mut sources);
    }
    let code: String =
        sources.iter().map(|path| fs::read_to_string(path).expect("source is UTF-8")).collect();
    let is_name = |text: &&str| {
        text.matches('_').count() >= 3 && text.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
    };
    for file in ["ARCHITECTURE.md", "docs/reliability.md"] {
        let page = fs::read_to_string(root().join(file)).expect("the page is there");
        let mut named = 0;
        // What stands between backticks.
        for name in page.split('`').skip(1).step_by(2).filter(is_name) {
            named += 1;
            assert!(code.contains(&format!("fn {name}")), "{file} names the test {name}");
        }
        assert!(named > 20, "{file}: only {named} tests are named");
    }
}

#[test]
fn every_file_that_is_named_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let mut paths = Vec::new();
    files(&root(), &["rs", "lua", "toml", "md", "proto"], &mut paths);
    let paths: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    for name in page.split('`').skip(1).step_by(2) {
        let name = name.trim_start_matches("crates/");
        let is_file = [".rs", ".lua"].iter().any(|ending| name.len() > 4 && name.ends_with(ending))
            && !name.contains('*');
        if is_file {
            assert!(
                paths.iter().any(|path| path.ends_with(&format!("/{name}"))),
                "ARCHITECTURE.md names {name}"
            );
        }
    }
}
