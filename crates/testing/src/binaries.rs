//! The real binaries of this workspace, for tests that start them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What cargo tells a test about its own package.
const TOLD_TO_TESTS: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "OUT_DIR",
];

/// The folder of every binary of this workspace, of the profile that the calling test was built in. They are built first,
/// with the very features that `cargo test --workspace` selects: then what it has built is not built again.
///
/// # Panics
/// When they cannot be built, or the caller is no test of this workspace.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        // target/<profile>/deps/it-<hash>
        let folder = test.ancestors().nth(2).expect("a test is in deps").to_owned();
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--workspace", "--bins", "--test", "it", "--target-dir"])
            .arg(folder.parent().expect("a profile is in target"));
        // What cargo tells a test of its package would reach build scripts, and those that ask for it (ring's) would run
        // again, here and in the next `cargo test`: a fifth of all crates is built on them.
        for told in TOLD_TO_TESTS {
            build.env_remove(told);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
        assert!(built.success(), "the binaries cannot be built");
        folder
    })
}
