//! The binary `launcher`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The runner in it starts this program again for each SAL script.
    hero_runner::run_if_child().unwrap_or_else(hero_runtime::main::<hero_launcher::Node>)
}
