//! The runner as a process.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_runner::Runner>()
}
