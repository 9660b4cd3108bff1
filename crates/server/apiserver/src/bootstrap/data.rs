//! Objects that upstream's server makes at its first start, as facts.
use serde_json::{Value, json};

pub(super) const PRIORITIES: [(&str, i64, &str); 2] = [
    ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
];

fn metadata(name: &str) -> Value {
    json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}})
}

/// Name, shares, lendable percent, and queues with hand size (zero: reject).
const LEVELS: [(&str, u32, u32, u32, u32); 7] = [
    ("catch-all", 5, 0, 0, 0),
    ("global-default", 20, 50, 128, 6),
    ("leader-election", 10, 0, 16, 4),
    ("node-high", 40, 25, 64, 6),
    ("system", 30, 33, 64, 6),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
];

pub(super) fn priority_levels() -> Vec<Value> {
    let kind = "PriorityLevelConfiguration";
    let exempt = json!({"kind": kind, "metadata": metadata("exempt"), "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}});
    let limited = LEVELS.iter().map(|(name, shares, lendable, queues, hand)| {
        let response = match queues {
            0 => json!({"type": "Reject"}),
            q => json!({"type": "Queue", "queuing": {"queues": q, "handSize": hand, "queueLengthLimit": 50}}),
        };
        json!({"kind": kind, "metadata": metadata(name), "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}}})
    });
    std::iter::once(exempt).chain(limited).collect()
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}
fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}
fn accounts(namespace: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": "*"}})
}
fn resources(groups: &[&str], resources: &[&str], verbs: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}
fn everything() -> (Vec<Value>, Vec<Value>) {
    (vec![resources(&["*"], &["*"], &["*"], true)], vec![json!({"nonResourceURLs": ["*"], "verbs": ["*"]})])
}

fn schema(name: &str, level: &str, precedence: u32, by: &str, subjects: Vec<Value>, (resources, paths): (Vec<Value>, Vec<Value>)) -> Value {
    let mut rule = json!({"subjects": subjects});
    if !resources.is_empty() {
        rule["resourceRules"] = resources.into();
    }
    if !paths.is_empty() {
        rule["nonResourceRules"] = paths.into();
    }
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule]});
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    json!({"kind": "FlowSchema", "metadata": metadata(name), "spec": spec})
}

pub(super) fn flow_schemas() -> Vec<Value> {
    let anybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let leases = |verbs: &[&str]| resources(&["coordination.k8s.io"], &["leases"], verbs, false);
    let (manager, scheduler) = ("system:kube-controller-manager", "system:kube-scheduler");
    let nodes = resources(&[""], &["nodes", "nodes/status"], &["*"], true);
    let probes = json!({"nonResourceURLs": ["/healthz", "/readyz", "/livez"], "verbs": ["get"]});
    vec![
        schema("exempt", "exempt", 1, "", vec![group("system:masters")], everything()),
        schema("probes", "exempt", 2, "", anybody(), (vec![], vec![probes])),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            vec![user(manager), user(scheduler), accounts("kube-system")],
            (vec![leases(&["get", "create", "update"])], vec![]),
        ),
        schema("system-node-high", "node-high", 400, "ByUser", vec![group("system:nodes")], (vec![nodes, leases(&["*"])], vec![])),
        schema("system-nodes", "system", 500, "ByUser", vec![group("system:nodes")], everything()),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", vec![user(manager)], everything()),
        schema("kube-scheduler", "workload-high", 800, "ByNamespace", vec![user(scheduler)], everything()),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", vec![accounts("kube-system")], everything()),
        schema("service-accounts", "workload-low", 9000, "ByUser", vec![group("system:serviceaccounts")], everything()),
        schema("global-default", "global-default", 9900, "ByUser", anybody(), everything()),
        schema("catch-all", "catch-all", 10000, "ByUser", anybody(), everything()),
    ]
}

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
