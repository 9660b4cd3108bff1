//! Turns the committed facts into Rust tables in read-only data.

mod facts;
mod tables;

use std::path::{Path, PathBuf};

fn main() {
    if let Err(error) = run() {
        println!("cargo::error={error}");
    }
}

fn run() -> Result<(), String> {
    let source = Path::new("facts/types.txt");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=build");
    let text = std::fs::read_to_string(source)
        .map_err(|e| format!("read {}: {e}", source.display()))?;
    let types = facts::parse(&text)?;
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    let target = out.join("tables.rs");
    std::fs::write(&target, tables::generate(&types)?)
        .map_err(|e| format!("write {}: {e}", target.display()))
}
