//! The process `msgbus-relay` under the name that old units and habits know.

fn main() -> std::process::ExitCode {
    hero_runtime::main::<hero_msgbus_relay::MsgbusRelay>()
}
