//! The static binary: glibc linked in and no position independence, so that a shim costs little memory and the file runs
//! on any Linux.
use crate::{output, root, run};
use anyhow::Context;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Without optimisation: faster to build, slower to run
    #[arg(long)]
    dev: bool,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    println!("{}", binary(!args.dev)?.display());
    Ok(())
}

/// The machine's own target triple.
fn host() -> anyhow::Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    text.lines().find_map(|l| l.strip_prefix("host: ")).map(str::to_owned).context("rustc does not tell its host")
}

/// Builds the binary and gives its path. Where SKIFF_BINARY names one, that is taken instead: what was built elsewhere
/// is tested as it is.
pub fn binary(release: bool) -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("SKIFF_BINARY").map(PathBuf::from) {
        anyhow::ensure!(given.is_file(), "SKIFF_BINARY={} is no file", given.display());
        return Ok(given);
    }
    let host = host()?;
    let flags = format!("target.{host}.rustflags=[\"-C\",\"target-feature=+crt-static\",\"-C\",\"relocation-model=static\"]");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(root()).args(["rustc", "--quiet", "--package", "skiff", "--bin", "skiff", "--target", &host, "--config", &flags]);
    if release {
        cargo.arg("--release");
    }
    // The same decoder of the same type is compiled in each crate that uses it; the linker keeps one. It is lld where Rust
    // brings it along.
    if release && host == "x86_64-unknown-linux-gnu" {
        cargo.args(["--", "-C", "link-arg=-Wl,--icf=all"]);
    }
    run(&mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join(host).join(if release { "release" } else { "debug" }).join("skiff"))
}
