//! Development tasks of Skiff, as a library so that end-to-end tests start clusters and make images the same way.
//!
//! `build` makes the static binary, [`cluster`] starts and ends clusters of it, [`image`] packs folders into image
//! archives, [`http`] sends load and faults, `demo` shows the whole, `tidy` checks the house, `test` runs everything, `codegen` writes the schema facts.

pub mod bench;
pub mod build;
pub mod clients;
pub mod cluster;
pub mod codegen;
pub mod compare;
pub mod demo;
pub mod differ;
pub mod fuzz;
pub mod http;
pub mod image;
mod reasons;
pub mod test;
pub mod tidy;

use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::Command;

/// The project's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// Runs a program and fails with its name when it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs a program and gives what it printed.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("start {name}"))?;
    if !out.status.success() {
        bail!("{name} failed ({}): {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether the program can be started.
pub fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(program).is_file()))
}
