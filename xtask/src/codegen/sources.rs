//! Which upstream packages are read, and where they are on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::go::{self, GoPackage};
use super::proto::{self, Messages};

/// The release that the facts describe.
const VERSION: &str = "v0.37.2";

/// One Go package whose types are served, or are used by served types.
pub struct Package {
    /// Import path, such as `k8s.io/api/core/v1`.
    pub path: String,
    /// Prefix of the OpenAPI names, such as `io.k8s.api.core.v1`.
    pub model: String,
    /// API group and version, when the package is one.
    pub gv: Option<(String, String)>,
    /// The declarations of its Go files.
    pub go: GoPackage,
    /// The messages of its generated.proto.
    pub proto: Messages,
}

/// Group-version folders under k8s.io/api that 1.37 can serve, or that webhooks and discovery speak.
const API: &[&str] = &[
    "admission/v1",
    "admissionregistration/v1",
    "admissionregistration/v1beta1",
    "admissionregistration/v1alpha1",
    "apidiscovery/v2",
    "apidiscovery/v2beta1",
    "apiserverinternal/v1alpha1",
    "apps/v1",
    "authentication/v1",
    "authorization/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates/v1",
    "certificates/v1beta1",
    "coordination/v1",
    "coordination/v1beta1",
    "coordination/v1alpha2",
    "core/v1",
    "discovery/v1",
    "events/v1",
    "flowcontrol/v1",
    "lifecycle/v1alpha1",
    "networking/v1",
    "networking/v1beta1",
    "node/v1",
    "policy/v1",
    "rbac/v1",
    "resource/v1",
    "resource/v1beta1",
    "resource/v1beta2",
    "resource/v1alpha3",
    "scheduling/v1",
    "scheduling/v1beta1",
    "scheduling/v1alpha3",
    "storage/v1",
    "storage/v1beta1",
    "storagemigration/v1",
    "storagemigration/v1beta1",
];

/// Packages outside k8s.io/api: module, folder in it.
const OTHERS: &[(&str, &str)] = &[
    ("k8s.io/apimachinery", "pkg/apis/meta/v1"),
    ("k8s.io/apimachinery", "pkg/runtime"),
    ("k8s.io/apimachinery", "pkg/types"),
    ("k8s.io/apimachinery", "pkg/version"),
    ("k8s.io/apimachinery", "pkg/api/resource"),
    ("k8s.io/apimachinery", "pkg/util/intstr"),
    ("k8s.io/apiextensions-apiserver", "pkg/apis/apiextensions/v1"),
    ("k8s.io/kube-aggregator", "pkg/apis/apiregistration/v1"),
    ("k8s.io/metrics", "pkg/apis/metrics/v1"),
    ("k8s.io/metrics", "pkg/apis/metrics/v1beta1"),
];

/// Reads every package, keyed by import path.
pub fn load(cache: &Path) -> Result<BTreeMap<String, Package>> {
    let mut packages = BTreeMap::new();
    let api = API.iter().map(|folder| ("k8s.io/api", *folder));
    for (module, folder) in api.chain(OTHERS.iter().copied()) {
        let package = load_one(cache, module, folder).with_context(|| format!("read the Go package {module}/{folder}"))?;
        packages.insert(package.path.clone(), package);
    }
    Ok(packages)
}

fn load_one(cache: &Path, module: &str, folder: &str) -> Result<Package> {
    let dir = cache.join(format!("{module}@{VERSION}")).join(folder);
    if !dir.is_dir() {
        bail!("{} is missing: run `go mod download {module}@{VERSION}`", dir.display());
    }
    let go = go::read_package(&dir)?;
    let proto_file = dir.join("generated.proto");
    let proto = if proto_file.is_file() { proto::parse(&std::fs::read_to_string(&proto_file)?) } else { Messages::new() };
    let path = format!("{module}/{folder}");
    Ok(Package { model: model_prefix(&path), gv: group_version(&go, folder), path, go, proto })
}

/// `k8s.io/api/core/v1` → `io.k8s.api.core.v1`: the host is reversed, slashes become dots.
fn model_prefix(path: &str) -> String {
    let (host, rest) = path.split_once('/').unwrap_or((path, ""));
    let reversed: Vec<&str> = host.split('.').rev().collect();
    format!("{}.{}", reversed.join("."), rest.replace('/', "."))
}

fn group_version(go: &GoPackage, folder: &str) -> Option<(String, String)> {
    let group = go.consts.get("GroupName")?;
    let version = folder.rsplit('/').next()?;
    Some((group.clone(), version.to_owned()))
}

/// Whether all of the modules are in the cache.
pub fn present(cache: &Path) -> bool {
    let others = OTHERS.iter().map(|(module, _)| *module);
    std::iter::once("k8s.io/api").chain(others).all(|module| cache.join(format!("{module}@{VERSION}")).is_dir())
}

/// Where Go keeps its modules.
pub fn default_modcache() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GOMODCACHE") {
        return Ok(PathBuf::from(path));
    }
    if let Some(path) = std::env::var_os("GOPATH") {
        return Ok(PathBuf::from(path).join("pkg/mod"));
    }
    let home = std::env::var_os("HOME").context("find the Go module cache: HOME is not set")?;
    Ok(PathBuf::from(home).join("go/pkg/mod"))
}

/// The folder of the workspace's Cargo.toml.
pub fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("find the workspace: xtask has no parent folder")?;
    Ok(root.to_owned())
}
