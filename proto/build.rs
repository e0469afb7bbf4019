//! Generates the wire module from the .proto files, with a protoc written in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["proto/skerry/v1/app.proto", "proto/skerry/v1/session.proto", "proto/skerry/v1/store.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    // Ordered maps: the same message always has the same bytes, which digests rely on.
    // What may hold a Secret is never printed, not even in a panic's message: src/secrecy.rs says what is shown instead.
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug([".skerry.v1.ConfigObject", ".skerry.v1.AppFrame"])
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
