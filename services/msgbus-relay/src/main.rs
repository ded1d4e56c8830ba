//! The process `msgbus-relay`.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_msgbus_relay::MsgbusRelay>()
}
