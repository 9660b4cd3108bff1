//! The workspace's crates: which may use which, and what is declared but not used.

use crate::output;
use anyhow::Context;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of `crates/`, the lowest first. A crate may use its own layer and those below.
const LAYERS: [&str; 10] = ["base", "api", "store", "server", "client", "control", "node", "net", "ui", "skiff"];

/// What cargo knows, without a network.
pub struct Workspace {
    pub crates: Vec<Crate>,
    pub outside: Vec<Outside>,
}

/// One of ours.
#[derive(Clone, Debug)]
pub struct Crate {
    pub name: String,
    pub folder: PathBuf,
    /// The folder below `crates/` that it lies in; none for tests and tasks, which may use everything.
    pub layer: Option<String>,
    pub uses: Vec<Use>,
}

/// A line of `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Use {
    pub name: String,
    pub rename: Option<String>,
}

/// A crate that others wrote, with its terms.
#[derive(Clone, Debug)]
pub struct Outside {
    pub name: String,
    pub license: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    source: Option<String>,
    license: Option<String>,
    dependencies: Vec<Use>,
}

impl Workspace {
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let text = output(Command::new(program).current_dir(root).args(["metadata", "--format-version", "1"]))?;
        let metadata: Metadata = skiff_json::from_str(&text).context("read cargo's metadata")?;
        let (ours, others): (Vec<_>, Vec<_>) = metadata.packages.into_iter().partition(|p| p.source.is_none());
        let krate = |p: Package| {
            let folder = p.manifest_path.parent().map(Path::to_owned).unwrap_or_default();
            let inside = folder.strip_prefix(&metadata.workspace_root).unwrap_or(&folder);
            let layer = inside.strip_prefix("crates").ok().and_then(|f| f.iter().next()).map(|f| f.to_string_lossy().into_owned());
            Crate { name: p.name, layer, folder, uses: p.dependencies }
        };
        Ok(Self { crates: ours.into_iter().map(krate).collect(), outside: others.into_iter().map(|p| Outside { name: p.name, license: p.license }).collect() })
    }
}

impl Crate {
    pub fn manifest_text(&self) -> anyhow::Result<String> {
        let path = self.folder.join("Cargo.toml");
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
    /// All Rust text of the crate, one after the other.
    pub fn sources(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut waiting = vec![self.folder.clone()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    waiting.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    text += &std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                }
            }
        }
        Ok(text)
    }
}

fn height(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|l| *l == layer)
}

/// Arrows that point up, and crates that lie in no layer. What only tests use counts too: a test that needs a higher
/// layer belongs to that layer, or to `tests/`.
pub fn arrows(crates: &[Crate]) -> Vec<String> {
    let layers: BTreeMap<&str, &str> = crates.iter().filter_map(|c| Some((c.name.as_str(), c.layer.as_deref()?))).collect();
    let mut found = Vec::new();
    for c in crates {
        let Some(layer) = &c.layer else { continue };
        let Some(own) = height(layer) else {
            found.push(format!("{}: crates/{layer} is no layer: move it into one of {}", c.name, LAYERS.join(", ")));
            continue;
        };
        let above = |u: &&Use| layers.get(u.name.as_str()).and_then(|l| height(l)).is_some_and(|other| other > own);
        for other in c.uses.iter().filter(above) {
            let higher = layers.get(other.name.as_str()).copied().unwrap_or_default();
            found.push(format!(
                "{}: layer {layer} must not use {} of layer {higher}: arrows point down only ({}). Move what is needed down, let {} take a trait that the upper layer implements, or, for a test, move the test up",
                c.name, other.name, LAYERS.join(" < "), c.name
            ));
        }
    }
    found
}

/// The lines of `[workspace.dependencies]` that name outside crates.
fn declarations(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|s| s.split("\n[").next()).unwrap_or_default();
    section.lines().filter(|l| !l.contains("path = ") && !l.trim_start().starts_with('#')).filter_map(|l| Some((l.split_once('=')?.0.trim(), l)))
}

/// Each outside crate says why it is here.
pub fn reasons(manifest: &str) -> Vec<String> {
    let silent = declarations(manifest).filter(|(_, line)| line.split_once('#').is_none_or(|(_, reason)| reason.trim().is_empty()));
    silent.map(|(name, _)| format!("Cargo.toml: {name}: say in a comment at the end of the line why this crate is here")).collect()
}

/// Outside crates that are declared for all and used by none.
pub fn unused_declarations(manifest: &str, crates: &[Crate]) -> BTreeSet<String> {
    let used: BTreeSet<&str> = crates.iter().flat_map(|c| &c.uses).flat_map(|u| [Some(u.name.as_str()), u.rename.as_deref()]).flatten().collect();
    declarations(manifest).filter(|(name, _)| !used.contains(name)).map(|(name, _)| name.to_owned()).collect()
}

/// What a crate's manifest names and its sources never do. A comment on the line says why one must stay all the same.
pub fn unused(c: &Crate, manifest: &str, sources: &str) -> BTreeSet<String> {
    let words: BTreeSet<&str> = sources.split(|ch: char| !ch.is_alphanumeric() && ch != '_').collect();
    let ident = |u: &Use| u.rename.as_ref().unwrap_or(&u.name).replace('-', "_");
    let excused = |u: &Use| manifest.lines().any(|l| declares(l, u.rename.as_ref().unwrap_or(&u.name)) && l.contains('#'));
    c.uses.iter().filter(|u| !words.contains(ident(u).as_str()) && !excused(u)).map(|u| u.rename.as_ref().unwrap_or(&u.name).clone()).collect()
}

/// Whether the line of a manifest declares the dependency.
fn declares(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
}

/// The manifest without the lines of these dependencies.
pub fn without(manifest: &str, names: &BTreeSet<String>) -> String {
    manifest.lines().filter(|l| !names.iter().any(|n| declares(l, n))).map(|l| format!("{l}\n")).collect()
}

/// Each crate takes the workspace's lints.
pub fn lints(c: &Crate, manifest: &str) -> Option<String> {
    let section = manifest.split("[lints]").nth(1).and_then(|s| s.split("\n[").next()).unwrap_or_default();
    let taken = section.lines().any(|l| l.replace(' ', "") == "workspace=true");
    (!taken).then(|| format!("{}: add `[lints]` with `workspace = true` to its Cargo.toml, so that the house's lints hold", c.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, layer: Option<&str>, uses: &[&str]) -> Crate {
        let uses = uses.iter().map(|u| Use { name: (*u).into(), rename: None }).collect();
        Crate { name: name.into(), folder: PathBuf::new(), layer: layer.map(Into::into), uses }
    }

    #[test]
    fn arrows_point_down() {
        let all = |uses: &[&str]| {
            vec![
                krate("low", Some("api"), uses),
                krate("peer", Some("api"), &[]),
                krate("high", Some("node"), &["low", "serde"]),
                krate("tests", None, &["high"]),
            ]
        };
        assert!(arrows(&all(&["peer", "serde"])).is_empty());
        let found = arrows(&all(&["high"]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("low: layer api must not use high of layer node"), "{found:?}");
        assert!(arrows(&[krate("x", Some("util"), &[])])[0].contains("no layer"));
    }

    #[test]
    fn declarations_have_reasons_and_users() {
        let manifest = "[workspace.dependencies]\na = \"1\" # why\nb = { version = \"2\" }\nc = \"1\" #\nours = { path = \"x\" }\n\n[profile.dev]\nd = 1\n";
        assert_eq!(reasons(manifest).len(), 2);
        let found = unused_declarations(manifest, &[krate("x", None, &["a", "c"])]);
        assert_eq!(found, BTreeSet::from(["b".to_owned()]));
        assert!(!without(manifest, &found).contains("version"));
    }

    #[test]
    fn what_is_not_named_is_not_needed() {
        let c = krate("x", None, &["serde-json", "tokio"]);
        let some = "use serde_json::Value; // tokio_util";
        assert_eq!(unused(&c, "tokio.workspace = true\n", some), BTreeSet::from(["tokio".to_owned()]));
        assert!(unused(&c, "tokio.workspace = true # for its features\n", some).is_empty());
        assert!(unused(&c, "", "serde_json::x(); tokio::spawn()").is_empty());
    }

    #[test]
    fn lints_are_taken() {
        let c = krate("x", None, &[]);
        assert_eq!(lints(&c, "[lints]\nworkspace = true\n\n[dependencies]\n"), None);
        assert!(lints(&c, "[dependencies]\nworkspace = true\n").is_some());
    }
}
