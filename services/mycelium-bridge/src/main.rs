//! The process `mycelium-bridge`.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_mycelium_bridge::Bridge>()
}
