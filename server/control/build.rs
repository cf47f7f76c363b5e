//! Makes sure that the folder of the built dashboard exists: rust-embed refuses a missing one at compile time.

fn main() -> std::io::Result<()> {
    std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboard/dist"))
}
