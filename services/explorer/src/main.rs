//! The explorer's binary.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_explorer::Explorer>()
}
