//! The static binary: glibc linked in and no position independence, so that a shim costs little memory and the file runs
//! on any Linux.
mod trained;

use crate::{output, root, run};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Without optimisation: faster to build, slower to run
    #[arg(long)]
    dev: bool,
    /// A release that was watched at work first, and is laid out for it: twice the time to build, less to run
    #[arg(long, conflicts_with = "dev")]
    trained: bool,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let path = if args.trained { trained::binary()? } else { binary(!args.dev)? };
    println!("{}", path.display());
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
    compile(release, &[], &target(), &[])
}

/// Where Cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the binary into a folder, with further arguments for the compiler and variables for Cargo.
fn compile(release: bool, further: &[String], target: &Path, variables: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let flags: Vec<String> =
        ["target-feature=+crt-static", "relocation-model=static"].map(str::to_owned).iter().chain(further).map(|f| format!("\"-C\",{f:?}")).collect();
    let flags = format!("target.{host}.rustflags=[{}]", flags.join(","));
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(root()).args(["rustc", "--quiet", "--package", "skiff", "--bin", "skiff", "--target", &host, "--config", &flags]);
    cargo.env("CARGO_TARGET_DIR", target).envs(variables.iter().copied());
    if release {
        cargo.arg("--release");
    }
    // The same decoder of the same type is compiled in each crate that uses it; the linker keeps one. It is lld where Rust
    // brings it along.
    if release && host == "x86_64-unknown-linux-gnu" {
        cargo.args(["--", "-C", "link-arg=-Wl,--icf=all"]);
    }
    run(&mut cargo)?;
    Ok(target.join(host).join(if release { "release" } else { "debug" }).join("skiff"))
}
