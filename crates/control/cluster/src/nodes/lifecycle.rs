//! Nodes that stop answering, and taints that follow conditions.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Selection, Typed};
use skiff_meta::MicroTime;
use std::{sync::Arc, time::Duration};

/// A node whose lease is older than this does not answer (upstream's node-monitor-grace-period), in seconds.
const GRACE: i64 = 50;
const LOOK: Duration = Duration::from_secs(5);

struct Lifecycle {
    deps: Deps,
    nodes: Typed<Node>,
    leases: Typed<Lease>,
    pods: Typed<Pod>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (nodes, pods) = (deps.informers.of::<Node>(), deps.informers.of::<Pod>());
    let leases = Selection::of(skiff_client::resource_of::<Lease>()).namespace("kube-node-lease");
    let leases = deps.informers.select::<Lease>(leases);
    let queue = Queue::new();
    let q = queue.clone();
    nodes.subscribe(move |c| q.add(c.key()));
    pods.index("node", |r| node_of(&r.bytes).into_iter().collect());
    (queue, Arc::new(Lifecycle { deps, nodes, leases, pods }))
}

/// `spec.nodeName` out of a pod's bytes.
pub(crate) fn node_of(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct View {
        spec: Spec,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    serde_json::from_slice::<View>(bytes).ok()?.spec.node_name.filter(|n| !n.is_empty())
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let all = node.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|c| c.type_ == kind).map(|c| c.status.as_str())
}

/// The taints that the node's state asks for: (key, effect).
fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut out = Vec::new();
    match condition(node, "Ready") {
        Some("False") => out.extend([("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")]),
        Some("True") => {}
        _ => out.extend([("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")]),
    }
    for (kind, key) in [
        ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
        ("DiskPressure", "node.kubernetes.io/disk-pressure"),
        ("PIDPressure", "node.kubernetes.io/pid-pressure"),
        ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ] {
        if condition(node, kind) == Some("True") {
            out.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        out.push(("node.kubernetes.io/unschedulable", "NoSchedule"));
    }
    out
}

const OURS: [&str; 7] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
];

/// The node's taints with ours brought up to date; None when nothing changes.
fn taints(node: &Node, now: &str) -> Option<Vec<Value>> {
    let have = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let wanted = wanted(node);
    let keeps = |key: &str, effect: &str| !OURS.contains(&key) || wanted.contains(&(key, effect));
    let missing: Vec<_> = wanted.iter().filter(|(k, e)| !have.iter().any(|t| t.key == *k && t.effect == *e)).collect();
    if missing.is_empty() && have.iter().all(|t| keeps(&t.key, &t.effect)) {
        return None;
    }
    let mut out: Vec<Value> = have.iter().filter(|t| keeps(&t.key, &t.effect)).filter_map(|t| serde_json::to_value(t).ok()).collect();
    for (key, effect) in missing {
        out.push(if *effect == "NoExecute" { json!({"key": key, "effect": effect, "timeAdded": now}) } else { json!({"key": key, "effect": effect}) });
    }
    Some(out)
}

#[async_trait]
impl Reconcile for Lifecycle {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(node) = self.nodes.get("", name) else { return Ok(Action::Done) };
        let now = self.deps.clock.now();
        if self.silent(&node, name, now) && condition(&node, "Ready") != Some("Unknown") {
            self.mark_unknown(&node, name).await?;
            return Ok(Action::RequeueAfter(Duration::from_millis(10)));
        }
        let stamp = self.deps.clock.seconds().to_string();
        if let Some(taints) = taints(&node, &stamp) {
            let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}});
            self.deps.client.patch::<Node>("", name, PatchBody::merge(&patch)).await.at("taint node", name)?;
        }
        Ok(Action::RequeueAfter(LOOK))
    }
}

impl Lifecycle {
    /// Neither the lease nor the status was renewed lately.
    fn silent(&self, node: &Node, name: &str, now: MicroTime) -> bool {
        let lease = self.leases.get("kube-node-lease", name).and_then(|l| l.spec).and_then(|s| s.renew_time).map(|t| t.0.as_second());
        let beat = node.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0.as_second());
        let created = node.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
        let last = [lease, beat, created].into_iter().flatten().max().unwrap_or(0);
        now.0 / 1_000_000 - last > GRACE
    }
    async fn mark_unknown(&self, node: &Node, name: &str) -> Result<(), Failed> {
        let now = self.deps.clock.seconds().to_string();
        let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|k| json!({"type": k, "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.", "lastTransitionTime": now}))
            .collect();
        self.deps.client.patch_status::<Node>("", name, PatchBody::strategic(&json!({"status": {"conditions": conditions}}))).await.at("mark node unknown", name)?;
        self.deps.recorder.normal(&Regarding::of(node), "NodeNotReady", format!("Node {name} status is now: NodeNotReady"));
        for pod in self.pods.list_indexed("node", name) {
            let ready = pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True");
            let m = &pod.metadata;
            if ready {
                let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}]}});
                let (ns, pod_name) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
                if let Err(e) = self.deps.client.patch_status::<Pod>(ns, pod_name, PatchBody::strategic(&patch)).await {
                    tracing::debug!(target: "node-lifecycle", pod = pod_name, error = %e, "pod not marked");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn node(v: Value) -> Node {
        serde_json::from_value(v).unwrap()
    }
    #[test]
    fn taints_follow_conditions() {
        let ready = node(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        assert_eq!(taints(&ready, "t").unwrap(), [json!({"key": "mine", "effect": "NoSchedule"})]);
        let dead = node(json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        assert_eq!(taints(&dead, "t").unwrap().len(), 2);
        let fine = node(json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        assert!(taints(&fine, "t").is_none());
    }
}
