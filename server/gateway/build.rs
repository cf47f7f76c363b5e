//! Makes the folder that the SDK is embedded from, so that the server builds before the SDK does.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/typescript/dist");
    std::fs::create_dir_all(&dist).expect("the SDK's folder can be made");
    // The types beside it are written at every build of the SDK, and nobody asks the gateway for them.
    let sdk = dist.join("v1.js");
    let watched = if sdk.exists() { sdk } else { dist };
    println!("cargo::rerun-if-changed={}", watched.display());
}
