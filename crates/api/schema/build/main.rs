//! Turns the committed facts into Rust tables in read-only data, and packs the descriptions.

mod descriptions;
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
    let text = std::fs::read_to_string(source).map_err(|e| format!("read {}: {e}", source.display()))?;
    let types = facts::parse(&text)?;
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    write(&out.join("tables.rs"), tables::generate(&types)?.as_bytes())?;
    write(&out.join("descriptions.bin"), &packed_descriptions()?)
}

/// Without the crate's sources the server still works: its OpenAPI documents have no descriptions then.
fn packed_descriptions() -> Result<Vec<u8>, String> {
    let read = descriptions::sources().and_then(|folder| descriptions::read(&folder));
    let found = read.unwrap_or_else(|error| {
        println!("cargo::warning=OpenAPI documents will have no descriptions: {error}");
        descriptions::Descriptions::new()
    });
    descriptions::pack(&found)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|e| format!("write {}: {e}", path.display()))
}
