//! What the checks look at: a pod's or a template's metadata and spec, and the words of their findings.
use crate::value;
use skiff_json::Value;
use std::collections::BTreeSet;

/// A pod, or the template of one: `metadata` and `spec`.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a>(pub &'a Value);

/// What a check found: a short reason, and the detail that names the culprits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub reason: String,
    pub detail: String,
}

impl Finding {
    pub fn new(reason: impl Into<String>, detail: impl Into<String>) -> Option<Self> {
        Some(Self { reason: reason.into(), detail: detail.into() })
    }
}

impl<'a> Subject<'a> {
    pub fn at(self, path: &str) -> Option<&'a Value> {
        value::at(self.0.get("spec")?, path)
    }
    pub fn list(self, path: &str) -> &'a [Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    /// Init containers, containers, ephemeral containers.
    pub fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |k| self.list(k))
    }
    pub fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        value::map(self.0, "metadata.annotations").into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
    }
    pub fn windows(self) -> bool {
        self.at("os.name").is_some_and(|n| n == "windows")
    }
    /// In a user namespace, root in the container is nobody on the node.
    pub fn own_users(self) -> bool {
        self.at("hostUsers").is_some_and(|h| h == false)
    }
    /// Names of the containers that `bad` says yes to.
    pub fn bad(self, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| bad(c)).map(|c| value::text(c, "name")).collect()
    }
}

pub(super) fn quoted<'b>(items: impl IntoIterator<Item = &'b str>) -> String {
    items.into_iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ")
}
pub(super) fn quoted_set(items: &BTreeSet<String>) -> String {
    quoted(items.iter().map(String::as_str))
}
pub(super) fn plural<'s>(one: &'s str, many: &'s str, n: usize) -> &'s str {
    if n == 1 { one } else { many }
}
/// `container "a"` or `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}
/// `pod and container "a"`: who set something bad explicitly.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let parts: Vec<String> = pod.then(|| "pod".to_owned()).into_iter().chain((!names.is_empty()).then(|| containers(names))).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}
