//! The levels and schemas that every cluster has from its first start, as facts.
//!
//! Mandatory ones are always as they are here. Suggested ones are kept so while they carry the annotation
//! `apf.kubernetes.io/autoupdate-spec: "true"`; see [`crate::upkeep`].
use skiff_json::{Value, json};
use std::sync::LazyLock;

/// An object of the first start, without apiVersion.
#[derive(Debug)]
pub(crate) struct Declared {
    pub object: Value,
    pub mandatory: bool,
}

pub(crate) const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The names of the mandatory levels, and of their schemas.
pub(crate) const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

fn declared(objects: Vec<Value>) -> Vec<Declared> {
    let mandatory = |o: &Value| MANDATORY.iter().any(|m| o["metadata"]["name"] == *m);
    objects.into_iter().map(|object| Declared { mandatory: mandatory(&object), object }).collect()
}

pub(crate) fn levels() -> &'static [Declared] {
    static ALL: LazyLock<Vec<Declared>> = LazyLock::new(|| declared(priority_levels()));
    &ALL
}
pub(crate) fn schemas() -> &'static [Declared] {
    static ALL: LazyLock<Vec<Declared>> = LazyLock::new(|| declared(flow_schemas()));
    &ALL
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "annotations": {AUTO_UPDATE: "true"}})
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

fn priority_levels() -> Vec<Value> {
    let kind = "PriorityLevelConfiguration";
    let exempt =
        json!({"kind": kind, "metadata": metadata("exempt"), "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}});
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

fn flow_schemas() -> Vec<Value> {
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
