//! Migrations are compiled in; a changed one compiles the store anew.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
