//! Every test: the house, the crates, the whole with the real binary. One closing line counts them.
use crate::{root, tidy};
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// Leave the end-to-end tests out
    #[arg(long)]
    no_e2e: bool,
}

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    let mut count = Count::default();
    let findings = tidy::findings()?;
    findings.iter().for_each(|f| println!("tidy: {f}"));
    if findings.is_empty() { count.passed += 1 } else { count.failed += findings.len() as u64 }
    let mut ok = cargo(&["test", "--workspace", "--exclude", "skiff-e2e", "--no-fail-fast"], &mut count)?;
    if !args.no_e2e {
        ok &= cargo(&["test", "--package", "skiff-e2e", "--no-fail-fast", "--", "--test-threads=1", "--nocapture"], &mut count)?;
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if !ok || count.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

/// Runs cargo, shows its output and counts its results. A test that lacks something prints a line that begins with
/// `skipped`.
fn cargo(args: &[&str], count: &mut Count) -> anyhow::Result<bool> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut child = Command::new(program).current_dir(root()).args(args).stdout(Stdio::piped()).spawn().context("start cargo")?;
    let out = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if let Some(rest) = line.strip_prefix("test result: ") {
            let number = |word: &str| rest.split([';', '.']).find_map(|p| p.trim().strip_suffix(word)).and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
            count.passed += number("passed");
            count.failed += number("failed");
            count.skipped += number("ignored");
        } else if line.trim_start().starts_with("skipped") {
            count.skipped += 1;
        }
    }
    Ok(child.wait()?.success())
}
