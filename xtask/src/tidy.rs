//! Invariants of the house that no compiler checks.
use crate::{output, root};
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Folders of `crates/`, the lowest first. A crate may use its own layer and those below.
const LAYERS: [&str; 10] = ["base", "api", "store", "server", "client", "control", "node", "net", "ui", "skiff"];
/// Longer files must say why.
const LONG: usize = 800;

pub fn task() -> anyhow::Result<()> {
    let found = findings()?;
    found.iter().for_each(|f| println!("{f}"));
    anyhow::ensure!(found.is_empty(), "{} findings", found.len());
    Ok(())
}

/// What is not as it should be, each with what to do.
pub fn findings() -> anyhow::Result<Vec<String>> {
    let files: Vec<String> = output(Command::new("git").current_dir(root()).args(["ls-files"]))?.lines().map(str::to_owned).collect();
    let mut found = arrows(&files)?;
    found.extend(reasons(&std::fs::read_to_string(root().join("Cargo.toml"))?));
    for file in &files {
        let path = root().join(file);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        found.extend(texts(file, &text));
    }
    Ok(found)
}

/// The layer of a crate's folder.
fn layer(path: &str) -> Option<usize> {
    let first = path.strip_prefix("crates/")?.split('/').next()?;
    LAYERS.iter().position(|l| *l == first)
}

fn arrows(files: &[String]) -> anyhow::Result<Vec<String>> {
    let manifests: Vec<&String> = files.iter().filter(|f| f.starts_with("crates/") && f.ends_with("/Cargo.toml")).collect();
    let mut layers = BTreeMap::new();
    for m in &manifests {
        let text = std::fs::read_to_string(root().join(m))?;
        let name = text.lines().find_map(|l| l.strip_prefix("name = \"")).and_then(|l| l.strip_suffix('"')).with_context(|| format!("{m} has no name"))?.to_owned();
        layers.insert(name, layer(m).with_context(|| format!("{m} lies in no layer: its folder is one of {LAYERS:?}"))?);
    }
    let mut found = Vec::new();
    for m in &manifests {
        let Some(own) = layer(m) else { continue };
        let text = std::fs::read_to_string(root().join(m))?;
        // What only tests use does not shape the house.
        let used = text.split("[dev-dependencies]").next().unwrap_or_default();
        for name in used.lines().filter_map(|l| l.split(['.', ' ', '=']).next()) {
            if let Some(other) = layers.get(name).filter(|o| **o > own) {
                found.push(format!("{m}: layer {} must not use {name} of layer {}: arrows point down; move the code, or let the lower one take a trait", LAYERS[own], LAYERS[*other]));
            }
        }
    }
    Ok(found)
}

/// Each outside crate says why it is here.
fn reasons(manifest: &str) -> Vec<String> {
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|s| s.split("\n[").next()).unwrap_or_default();
    let outside = section.lines().filter(|l| l.contains('=') && !l.contains("path = ") && !l.trim_start().starts_with('#'));
    outside.filter(|l| !l.contains('#')).map(|l| format!("Cargo.toml: say in a comment why this crate is here: {l}")).collect()
}

fn texts(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let this = file == "xtask/src/tidy.rs";
    for (i, line) in text.lines().enumerate() {
        let machine = ["/work/", "/root/.", "/tmp/bash_jobs"].iter().any(|p| line.contains(p));
        if machine && !this && file != "Cargo.lock" {
            found.push(format!("{file}:{}: a path of one machine: take it from the environment or a flag", i + 1));
        }
    }
    let long = Path::new(file).extension().is_some_and(|e| e == "rs") && text.lines().count() > LONG;
    if long && !text.contains("reason =") {
        found.push(format!("{file}: {} lines: split it by noun, or say why not with #[expect(…, reason = …)]", text.lines().count()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_found() {
        assert_eq!(layer("crates/store/sqlite/Cargo.toml"), Some(2));
        assert_eq!(reasons("[workspace.dependencies]\na = \"1\" # why\nb = \"2\"\n[x]").len(), 1);
        assert_eq!(texts("a.rs", &"x\n".repeat(801)).len(), 1);
        assert!(texts("a.rs", "fn a() {}").is_empty());
    }
}
