//! Every test: the house, the crates, the whole with the real binary. One closing line counts them.
//!
//! [`outcome`] reads what cargo's tests print; this module runs them.

mod outcome;

use crate::{root, tidy};
use anyhow::{Context, bail};
use outcome::{Count, Reader};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Leave the end-to-end tests out
    #[arg(long)]
    no_e2e: bool,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let mut count = house()?;
    let mut ok = cargo(&["--workspace", "--exclude", "skiff-e2e"], &[], &mut count)?;
    if !args.no_e2e {
        ok &= cargo(&["--package", "skiff-e2e"], &["--test-threads=1"], &mut count)?;
    }
    // A crate that does not compile fails without a result line.
    if !ok && count.failed == 0 {
        count.failed = 1;
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if !ok || count.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// The checks of `cargo xtask tidy`, counted as one test that passes or as many as there are findings.
fn house() -> anyhow::Result<Count> {
    let report = tidy::report()?;
    report.notes.iter().chain(&report.findings).for_each(|line| println!("tidy: {line}"));
    let failed = report.findings.len() as u64;
    Ok(Count { passed: u64::from(failed == 0), failed, skipped: report.notes.len() as u64 })
}

/// Runs `cargo test`, shows its output and counts its results.
fn cargo(what: &[&str], how: &[&str], count: &mut Count) -> anyhow::Result<bool> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).arg("test").args(what).args(["--no-fail-fast", "--", "--show-output"]).args(how);
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo")?;
    let out = child.stdout.take().context("cargo has no output")?;
    let mut reader = Reader::default();
    for line in BufReader::new(out).split(b'\n') {
        let line = line?;
        if let Some(shown) = reader.line(&String::from_utf8_lossy(&line)) {
            println!("{shown}");
        }
    }
    count.add(reader.count);
    Ok(child.wait()?.success())
}
