//! `cargo xtask fuzz`: the fuzz targets of tests/fuzz on stable Rust. They are a program of their own, so that tasks do
//! not have to compile all of Skiff.

use crate::{root, run};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Targets; all of them when none is named
    targets: Vec<String>,
    /// Seconds a target
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the changes begin; the same number gives the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--quiet", "--package", "skiff-fuzz", "--"]).args(&args.targets);
    run(cargo.args(["--seconds", &args.seconds.to_string(), "--seed", &args.seed.to_string()]))
}
