//! Objects that upstream's server makes at its first start, as facts.
use skiff_json::{Value, json};

pub(super) const PRIORITIES: [(&str, i64, &str); 2] = [
    ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
];

/// Group, versions, and the group's priority.
const GROUPS: [(&str, &[(&str, i32)], i32); 21] = [
    ("", &[("v1", 1)], 18000),
    ("admissionregistration.k8s.io", &[("v1", 15)], 16700),
    ("apiextensions.k8s.io", &[("v1", 15)], 16700),
    ("apps", &[("v1", 15)], 17800),
    ("authentication.k8s.io", &[("v1", 15)], 17700),
    ("authorization.k8s.io", &[("v1", 15)], 17600),
    ("autoscaling", &[("v1", 15), ("v2", 30)], 17500),
    ("batch", &[("v1", 15)], 17400),
    ("certificates.k8s.io", &[("v1", 15)], 17300),
    ("coordination.k8s.io", &[("v1", 15)], 16500),
    ("discovery.k8s.io", &[("v1", 15)], 16200),
    ("events.k8s.io", &[("v1", 15)], 17750),
    ("flowcontrol.apiserver.k8s.io", &[("v1", 21)], 16100),
    ("networking.k8s.io", &[("v1", 15)], 17200),
    ("node.k8s.io", &[("v1", 15)], 16300),
    ("policy", &[("v1", 15)], 17100),
    ("rbac.authorization.k8s.io", &[("v1", 15)], 17000),
    ("resource.k8s.io", &[("v1", 21)], 16200),
    ("scheduling.k8s.io", &[("v1", 15)], 16600),
    ("storage.k8s.io", &[("v1", 15)], 16800),
    ("storagemigration.k8s.io", &[("v1", 15)], 15800),
];

pub(super) fn api_services() -> Vec<Value> {
    let mut all = Vec::new();
    for (group, versions, priority) in &GROUPS {
        for (version, version_priority) in *versions {
            let mut spec = json!({"version": version, "groupPriorityMinimum": priority, "versionPriority": version_priority});
            if !group.is_empty() {
                spec["group"] = (*group).into();
            }
            all.push(json!({
                "kind": "APIService",
                "metadata": {"name": format!("{version}.{group}"), "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
                "spec": spec,
            }));
        }
    }
    all
}
