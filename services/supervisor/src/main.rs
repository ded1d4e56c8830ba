//! The supervisor: keeps jobs in Redis and serves the job contract over gRPC.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_supervisor::Supervisor>()
}
