//! A kubelet's own Node: it steers no pods to itself by labels or taints.
use crate::{
    request::{Operation, forbidden, operation},
    value,
};
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::Attributes;
use std::collections::BTreeSet;

const LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

pub(super) fn check(a: &Attributes<'_>, me: &str) -> Result<(), Status> {
    let asked = super::name(a);
    if asked != me {
        return Err(forbidden(a, format!("node {me:?} is not allowed to modify node {asked:?}")));
    }
    let Some(node) = a.object.as_deref() else { return Ok(()) };
    match operation(a) {
        Operation::Create => {
            if value::at(node, "spec.configSource").is_some() {
                return Err(forbidden(a, format!("node {me:?} is not allowed to create pods with a non-nil configSource")));
            }
            let labels = forbidden_labels(node, &Value::Null);
            if labels.is_empty() { Ok(()) } else { Err(forbidden(a, format!("node {me:?} is not allowed to set the following labels: {}", labels.join(", ")))) }
        }
        Operation::Update => changed(a, me, node),
        Operation::Delete | Operation::Connect => Ok(()),
    }
}

fn changed(a: &Attributes<'_>, me: &str, node: &Value) -> Result<(), Status> {
    let Some(old) = a.old else { return Ok(()) };
    if value::at(node, "spec.configSource").is_some_and(|s| Some(s) != value::at(old, "spec.configSource")) {
        return Err(forbidden(a, format!("node {me:?} is not allowed to update configSource to a new non-nil configSource")));
    }
    for (path, what) in [("spec.taints", "taints"), ("metadata.ownerReferences", "ownerReferences")] {
        if value::list(node, path) != value::list(old, path) {
            return Err(forbidden(a, format!("node {me:?} is not allowed to modify {what}")));
        }
    }
    let labels = forbidden_labels(node, old);
    if labels.is_empty() { Ok(()) } else { Err(forbidden(a, format!("is not allowed to modify labels: {}", labels.join(", ")))) }
}

/// Labels that differ and are not the kubelet's to set, sorted.
fn forbidden_labels(node: &Value, old: &Value) -> Vec<String> {
    let labels = |v| value::map(v, "metadata.labels");
    let keys: BTreeSet<_> = [node, old].into_iter().filter_map(labels).flat_map(|m| m.keys()).collect();
    let differs = |k: &str| labels(node).and_then(|m| m.get(k)) != labels(old).and_then(|m| m.get(k));
    keys.into_iter().filter(|k| differs(k) && !free(k)).map(ToString::to_string).collect()
}

fn free(key: &str) -> bool {
    let namespace = key.split_once('/').map_or("", |(n, _)| n);
    let under = |domain: &str| namespace == domain || namespace.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let restricted = under("node-restriction.kubernetes.io");
    let reserved = under("kubernetes.io") || under("k8s.io");
    let kubelets = LABELS.contains(&key) || under("kubelet.kubernetes.io") || under("node.kubernetes.io");
    !restricted && (!reserved || kubelets)
}

#[cfg(test)]
mod tests {
    use super::free;
    #[test]
    fn labels() {
        for (key, want) in [
            ("app", true),
            ("example.com/x", true),
            ("kubernetes.io/os", true),
            ("node.kubernetes.io/x", true),
            ("a.kubelet.kubernetes.io/x", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("notkubernetes.io/x", true),
            ("x.k8s.io/y", false),
        ] {
            assert_eq!(free(key), want, "{key}");
        }
    }
}
