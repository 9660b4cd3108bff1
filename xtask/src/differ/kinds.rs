//! The kinds to ask about: what upstream's discovery lists, with seed objects of ours and golden objects of upstream's modules.
//!
//! Golden objects have every field filled, mostly with what no server takes; they are read out of Go's module cache,
//! never copied. Without them the generated cases of single fields are left out.

use crate::http::Connection;
use anyhow::{Context, ensure};
use skiff_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DISCOVERY: &str = "accept: application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList";
const GOLDEN: &str = "k8s.io/api@v0.37.2/testdata/HEAD";

pub struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    /// Name and verbs.
    pub subresources: Vec<(String, Vec<String>)>,
    pub seeds: Vec<Seed>,
    pub golden: Option<Value>,
}

pub struct Seed {
    /// Tells several seeds of a kind apart.
    pub tag: String,
    pub object: Value,
    pub status: Option<Value>,
}

impl Kind {
    /// As in `deployments.apps/v1`.
    pub fn title(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}/{}", self.plural, self.group, self.version)
    }
    /// Its own, so that no kind's objects come between another's.
    pub fn namespace(&self) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group.split('.').next().unwrap_or_default() };
        format!("d-{}-{group}-{}", self.plural, self.version)
    }
    fn root(&self) -> String {
        if self.group.is_empty() { format!("/api/{}", self.version) } else { format!("/apis/{}/{}", self.group, self.version) }
    }
    pub fn collection(&self) -> String {
        let namespace = if self.namespaced { format!("/namespaces/{}", self.namespace()) } else { String::new() };
        format!("{}{namespace}/{}", self.root(), self.plural)
    }
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
    pub fn sub(&self, name: &str) -> bool {
        self.subresources.iter().any(|(n, _)| n == name)
    }
}

/// Every kind that the server lists, in its order.
pub fn discover(connection: &mut Connection) -> anyhow::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = connection.request("GET", path, &[DISCOVERY], &[])?;
        ensure!(answer.status == 200, "GET {path}: {}", answer.status);
        let list: Value = skiff_json::from_slice(&answer.body).with_context(|| format!("read the answer of {path}"))?;
        for group in items(&list, "items") {
            for version in items(group, "versions") {
                kinds.extend(items(version, "resources").iter().map(|r| kind(text(&group["metadata"], "name"), text(version, "version"), r)));
            }
        }
    }
    Ok(kinds)
}

fn kind(group: String, version: String, resource: &Value) -> Kind {
    let verbs = |v: &Value| items(v, "verbs").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Kind {
        group,
        version,
        kind: text(&resource["responseKind"], "kind"),
        plural: text(resource, "resource"),
        namespaced: resource["scope"] == "Namespaced",
        verbs: verbs(resource),
        subresources: items(resource, "subresources").iter().map(|s| (text(s, "subresource"), verbs(s))).collect(),
        seeds: Vec::new(),
        golden: None,
    }
}

fn items<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

/// Gives each kind its seeds: a line of JSON each, with `@NS@` for the namespace.
pub fn seed(kinds: &mut [Kind], file: &Path) -> anyhow::Result<()> {
    let lines = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut by_kind: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (number, line) in lines.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let seed: Value = skiff_json::from_str(line).with_context(|| format!("read line {} of {}", number + 1, file.display()))?;
        by_kind.entry((text(&seed["object"], "apiVersion"), text(&seed["object"], "kind"))).or_default().push(line);
    }
    for kind in kinds {
        let version = if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) };
        for line in by_kind.remove(&(version, kind.kind.clone())).unwrap_or_default() {
            let seed: Value = skiff_json::from_str(&line.replace("@NS@", &kind.namespace()))?;
            kind.seeds.push(Seed { tag: text(&seed, "tag"), object: seed["object"].clone(), status: seed.get("status").cloned() });
        }
    }
    ensure!(by_kind.is_empty(), "{} has seeds of kinds that are not served: {:?}", file.display(), by_kind.keys().collect::<Vec<_>>());
    Ok(())
}

/// Where upstream's golden objects are, if they are on this machine.
pub fn golden_folder() -> Option<PathBuf> {
    crate::codegen::modcache().ok().map(|c| c.join(GOLDEN)).filter(|d| d.is_dir())
}

pub fn read_golden(kinds: &mut [Kind], folder: &Path) -> anyhow::Result<usize> {
    let mut found = 0;
    for kind in kinds {
        let group = if kind.group.is_empty() { "core" } else { &kind.group };
        let path = folder.join(format!("{group}.{}.{}.json", kind.version, kind.kind));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        kind.golden = Some(skiff_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?);
        found += 1;
    }
    Ok(found)
}
