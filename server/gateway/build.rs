//! Makes the folder that the SDK is embedded from, so that the server builds before the SDK does.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/typescript/dist");
    std::fs::create_dir_all(&dist).expect("the SDK's folder can be made");
    println!("cargo::rerun-if-changed={}", dist.display());
}
