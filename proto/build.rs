//! Compiles the protos: messages, clients and servers into `$OUT_DIR`, and the descriptor set that gRPC
//! reflection serves. protox does it in Rust, so nobody needs protoc.

use std::{env, error::Error, fs, path::PathBuf};

const SERVICES: &[&str] = &[
    "hero/bus/v1/bus_service.proto",
    "hero/job/v1/job_service.proto",
    "hero/runner/v1/runner_service.proto",
    "hero/circle/v1/circle_service.proto",
    "hero/key/v1/key_service.proto",
    "hero/schedule/v1/schedule_service.proto",
    "hero/node/v1/node_service.proto",
    "hero/overlay/v1/overlay_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=hero");
    // Comments stay out of the descriptor set: every process carries it in its memory.
    let descriptors = protox::Compiler::new(["."])?
        .include_imports(true)
        .include_source_info(false)
        .open_files(SERVICES)?
        .file_descriptor_set();
    let path = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(path, prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        // The domain keeps variables in a BTreeMap; the same map here moves over as it is.
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
