//! The process `gateway`.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_gateway::Gateway>()
}
