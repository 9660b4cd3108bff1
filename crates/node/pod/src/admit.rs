//! Whether this node takes a pod: the last check, after the scheduler's.
use crate::{cgroup, view};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a node has to give.
#[derive(Clone, Debug, Default)]
pub struct NodeRoom {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Millicores.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    pub ephemeral_storage: i64,
    pub pods: i64,
}

/// What a pod has of its node that another cannot have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Millicores.
    cpu: i64,
    /// Bytes.
    memory: i64,
    ephemeral_storage: i64,
    ports: Vec<(String, i32, String)>,
}

impl Claim {
    pub fn of(pod: &Pod) -> Self {
        let request = |resource| cgroup::pod_request(pod, resource);
        Self {
            cpu: request("cpu").milli_value(),
            memory: request("memory").value(),
            ephemeral_storage: request("ephemeral-storage").value(),
            ports: host_ports(pod),
        }
    }
}

/// The reason and message of the pod's status when it is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

fn reject(reason: &str, message: impl Into<String>) -> Option<Rejection> {
    Some(Rejection { reason: reason.into(), message: message.into() })
}

/// None when it fits beside `others` (of the pods that the node already has and that haven't finished).
pub fn reject_reason(pod: &Pod, others: &[Arc<Claim>], node: &NodeRoom) -> Option<Rejection> {
    if view::spec(pod).os.as_ref().is_some_and(|os| os.name != "linux") {
        return reject("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
    }
    if others.len() as i64 + 1 > node.pods {
        return insufficient("OutOfpods", "pods", 1, others.len() as i64, node.pods);
    }
    type Amount = fn(&Claim) -> i64;
    let checks: [(&str, &str, Amount, i64); 3] = [
        ("OutOfcpu", "cpu", |c| c.cpu, node.cpu),
        ("OutOfmemory", "memory", |c| c.memory, node.memory),
        ("OutOfephemeral-storage", "ephemeral-storage", |c| c.ephemeral_storage, node.ephemeral_storage),
    ];
    let claim = Claim::of(pod);
    for (reason, resource, amount, capacity) in checks {
        let wanted = amount(&claim);
        let used: i64 = others.iter().map(|other| amount(other)).sum();
        if wanted > 0 && wanted.saturating_add(used) > capacity {
            return insufficient(reason, resource, wanted, used, capacity);
        }
    }
    if !selected(pod, node) {
        return reject("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
    }
    if let Some(name) = view::spec(pod).node_name.as_deref().filter(|n| *n != node.name && !n.is_empty()) {
        return reject("NodeName", format!("Predicate NodeName failed: node {name} is not this node"));
    }
    if port_conflict(&claim, others) {
        return reject("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
    }
    if !view::is_static(pod) && !tolerated(pod, &node.taints) {
        return reject("TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
    }
    None
}

/// Whether labels and taints of the node, as known, keep the pod away. They may have changed just before the pod was bound.
pub fn kept_away(pod: &Pod, node: &NodeRoom) -> bool {
    !selected(pod, node) || (!view::is_static(pod) && !tolerated(pod, &node.taints))
}

fn insufficient(reason: &str, resource: &str, wanted: i64, used: i64, capacity: i64) -> Option<Rejection> {
    reject(reason, format!("Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"))
}

fn selected(pod: &Pod, node: &NodeRoom) -> bool {
    let spec = view::spec(pod);
    let by_map = spec.node_selector.iter().flatten().all(|(k, v)| node.labels.get(k) == Some(v));
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()).and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
    by_map && required.is_none_or(|r| r.node_selector_terms.iter().any(|t| term_matches(t, node)))
}

fn term_matches(t: &NodeSelectorTerm, node: &NodeRoom) -> bool {
    let expressions = t.match_expressions.as_deref().unwrap_or_default();
    let fields = t.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|r| requirement(r, node.labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| requirement(r, (r.key == "metadata.name").then_some(node.name.as_str())))
}

fn requirement(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = r.values.as_deref().unwrap_or_default();
    let number = |s: &str| s.parse::<i64>().ok();
    let bound = || values.first().and_then(|v| number(v));
    match r.operator.as_str() {
        "In" => value.is_some_and(|v| values.iter().any(|x| x == v)),
        "NotIn" => value.is_none_or(|v| values.iter().all(|x| x != v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => matches!((value.and_then(number), bound()), (Some(v), Some(b)) if v > b),
        "Lt" => matches!((value.and_then(number), bound()), (Some(v), Some(b)) if v < b),
        _ => false,
    }
}

fn host_ports(pod: &Pod) -> Vec<(String, i32, String)> {
    let all = view::containers(pod).iter().chain(view::init_containers(pod).iter().filter(|c| view::is_sidecar(c)));
    all.flat_map(|c| c.ports.iter().flatten())
        .filter_map(|p| {
            let port = p.host_port.filter(|p| *p > 0)?;
            let ip = p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            Some((p.protocol.clone().unwrap_or_else(|| "TCP".into()), port, ip))
        })
        .collect()
}

fn port_conflict(claim: &Claim, others: &[Arc<Claim>]) -> bool {
    let mine = &claim.ports;
    let any = |ip: &str| matches!(ip, "0.0.0.0" | "::");
    !mine.is_empty()
        && others
            .iter()
            .flat_map(|other| &other.ports)
            .any(|(proto, port, ip)| mine.iter().any(|m| m.0 == *proto && m.1 == *port && (m.2 == *ip || any(&m.2) || any(ip))))
}

fn tolerated(pod: &Pod, taints: &[Taint]) -> bool {
    let tolerations = view::spec(pod).tolerations.as_deref().unwrap_or_default();
    taints.iter().filter(|t| t.effect == "NoExecute").all(|taint| tolerations.iter().any(|t| tolerates(t, taint)))
}

fn tolerates(t: &Toleration, taint: &Taint) -> bool {
    let effect = t.effect.as_deref().is_none_or(|e| e.is_empty() || e == taint.effect);
    let key = t.key.as_deref().is_none_or(|k| k.is_empty() || k == taint.key);
    let value = match t.operator.as_deref() {
        Some("Exists") => true,
        _ => t.key.as_deref().is_some_and(|k| !k.is_empty()) && t.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testpod::pod;

    #[test]
    fn rejections() {
        let node = NodeRoom {
            name: "n".into(),
            labels: BTreeMap::from([("disk".into(), "ssd".into())]),
            cpu: 1000,
            memory: 1 << 30,
            ephemeral_storage: 1 << 30,
            pods: 2,
            ..NodeRoom::default()
        };
        let other = pod(r#"{"containers":[{"name":"a","ports":[{"containerPort":80,"hostPort":80}],"resources":{"requests":{"cpu":"600m"}}}]}"#);
        let other = Arc::new(Claim::of(&other));
        for (spec, want) in [
            (r#"{"containers":[{"name":"a"}]}"#, ""),
            (r#"{"containers":[{"name":"a","resources":{"requests":{"cpu":"500m"}}}]}"#, "OutOfcpu"),
            (r#"{"containers":[{"name":"a","resources":{"requests":{"memory":"2Gi"}}}]}"#, "OutOfmemory"),
            (r#"{"nodeSelector":{"disk":"hdd"},"containers":[{"name":"a"}]}"#, "NodeAffinity"),
            (r#"{"containers":[{"name":"a","ports":[{"containerPort":1,"hostPort":80,"hostIP":"10.0.0.1"}]}]}"#, "NodePorts"),
            (r#"{"os":{"name":"windows"},"containers":[{"name":"a"}]}"#, "PodOSNotSupported"),
        ] {
            let got = reject_reason(&pod(spec), &[other.clone()], &node).map(|r| r.reason).unwrap_or_default();
            assert_eq!(got, want, "{spec}");
        }
        assert!(
            kept_away(&pod(r#"{"nodeSelector":{"disk":"hdd"},"containers":[]}"#), &node)
                && !kept_away(&pod(r#"{"nodeSelector":{"disk":"ssd"},"containers":[]}"#), &node)
        );
        assert_eq!(reject_reason(&pod(r#"{"containers":[]}"#), &[other.clone(), other], &node).unwrap().reason, "OutOfpods");
    }
}
