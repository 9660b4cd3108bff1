//! Invariants of the house that no compiler checks. Each finding says what to do.
//!
//! [`crates`] looks at the workspace as cargo sees it, [`licences`] at the outside crates' terms, [`texts`] at tracked
//! files. Generated facts are compared when the upstream modules are on the machine; nothing is fetched for that.

mod crates;
mod licences;
mod texts;

use crate::{codegen, output, root};
use anyhow::Context;
use crates::Workspace;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// Remove the lines of dependencies that nothing uses, bring sources into their form, then check
    #[arg(long)]
    fix: bool,
}

pub fn task(args: &Args) -> anyhow::Result<()> {
    if args.fix {
        fix()?;
    }
    let report = report()?;
    report.notes.iter().for_each(|n| println!("{n}"));
    report.findings.iter().for_each(|f| println!("{f}"));
    anyhow::ensure!(report.findings.is_empty(), "{} findings", report.findings.len());
    Ok(())
}

#[derive(Default)]
pub struct Report {
    /// What is not as it should be, each with what to do.
    pub findings: Vec<String>,
    /// Checks that could not be made here, each with why.
    pub notes: Vec<String>,
}

/// Makes every check.
pub fn report() -> anyhow::Result<Report> {
    let mut report = Report::default();
    let found = &mut report.findings;
    let workspace = Workspace::read(&root())?;
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).context("read Cargo.toml")?;
    found.extend(crates::arrows(&workspace.crates));
    found.extend(crates::reasons(&manifest));
    let idle = crates::unused_declarations(&manifest, &workspace.crates);
    found.extend(idle.iter().map(|name| format!("Cargo.toml: no crate uses {name}: remove the line (cargo xtask tidy --fix)")));
    for krate in &workspace.crates {
        let manifest = krate.manifest_text()?;
        let idle = crates::unused(krate, &manifest, &krate.sources()?);
        found.extend(idle.iter().map(|name| {
            format!("{}: its sources never name {name}: remove its line (cargo xtask tidy --fix), or say in a comment on it why it must stay", krate.name)
        }));
        found.extend(crates::lints(krate, &manifest));
    }
    found.extend(workspace.outside.iter().filter_map(licences::finding));
    let mut sources = Vec::new();
    for file in output(Command::new("git").current_dir(root()).args(["ls-files"]))?.lines() {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        found.extend(texts::findings(file, &text));
        if file.ends_with(".rs") {
            sources.push((file.to_owned(), text));
        }
    }
    found.extend(texts::components(&sources));
    match unformatted() {
        None => report.notes.push("skipped: the sources' form is not compared: cargo fmt is not on the machine (rustup component add rustfmt)".into()),
        Some(Ok(files)) => report.findings.extend(files.iter().map(|f| format!("{f}: not in the form of rustfmt.toml (cargo fmt, or cargo xtask tidy --fix)"))),
        Some(Err(e)) => report.findings.push(format!("cargo fmt: {e:#}")),
    }
    match codegen::fresh() {
        None => report.notes.push("skipped: the schema facts are not compared: the upstream Go modules are not in the module cache (go mod download)".into()),
        Some(Ok(())) => {}
        Some(Err(e)) => report.findings.push(format!("codegen: {e:#}")),
    }
    Ok(report)
}

/// The sources that rustfmt would write otherwise. None: it is not there.
fn unformatted() -> Option<anyhow::Result<Vec<String>>> {
    Command::new("cargo").args(["fmt", "--version"]).output().ok().filter(|o| o.status.success())?;
    Some(differing())
}

fn differing() -> anyhow::Result<Vec<String>> {
    let checked = Command::new("cargo").current_dir(root()).args(["fmt", "--all", "--check", "--", "--files-with-diff"]).output()?;
    let at = format!("{}/", root().display());
    let files: Vec<String> = String::from_utf8_lossy(&checked.stdout).lines().map(|l| l.strip_prefix(&at).unwrap_or(l).to_owned()).collect();
    anyhow::ensure!(checked.status.success() || !files.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr).trim());
    Ok(files)
}

/// Writes the sources in their form, takes the lines of unused dependencies out of the crates' manifests, then out of the workspace's.
fn fix() -> anyhow::Result<()> {
    for krate in Workspace::read(&root())?.crates {
        let manifest = krate.manifest_text()?;
        let idle = crates::unused(&krate, &manifest, &krate.sources()?);
        rewrite(&krate.folder.join("Cargo.toml"), &manifest, &idle)?;
    }
    let path = root().join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).context("read Cargo.toml")?;
    rewrite(&path, &manifest, &crates::unused_declarations(&manifest, &Workspace::read(&root())?.crates))?;
    if crate::has("rustfmt") {
        crate::run(Command::new("cargo").current_dir(root()).args(["fmt", "--all"]))?;
    }
    Ok(())
}

fn rewrite(path: &Path, manifest: &str, idle: &BTreeSet<String>) -> anyhow::Result<()> {
    if idle.is_empty() {
        return Ok(());
    }
    println!("{}: without {}", path.display(), idle.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    std::fs::write(path, crates::without(manifest, idle)).with_context(|| format!("write {}", path.display()))
}
