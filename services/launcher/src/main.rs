//! The binary `launcher`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hero_runtime::main::<hero_launcher::Node>()
}
