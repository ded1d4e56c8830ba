//! The runner as a process.

fn main() -> std::process::ExitCode {
    // The runner starts itself again for each SAL script.
    hero_runner::run_if_child().unwrap_or_else(hero_runtime::main::<hero_runner::Runner>)
}
