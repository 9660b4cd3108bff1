//! Nodes that stop answering, and taints that follow conditions.
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>
use crate::nodes::beat::{Beat, Signs};
use crate::nodes::zones::{Evict, Zones};
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use parking_lot::Mutex;
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Selection, Typed};
use skiff_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

const LOOK: Duration = Duration::from_secs(5);

struct Lifecycle {
    deps: Deps,
    nodes: Typed<Node>,
    leases: Typed<Lease>,
    pods: Typed<Pod>,
    beats: Mutex<BTreeMap<String, Beat>>,
    zones: Mutex<Zones>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (nodes, pods) = (deps.informers.of::<Node>(), deps.informers.of::<Pod>());
    let leases = Selection::of(skiff_client::resource_of::<Lease>()).namespace("kube-node-lease");
    let leases = deps.informers.select::<Lease>(leases);
    let queue = Queue::new();
    let q = queue.clone();
    nodes.subscribe(move |c| q.add(c.key()));
    pods.index("node", |r| node_of(&r.bytes).into_iter().collect());
    (queue, Arc::new(Lifecycle { deps, nodes, leases, pods, beats: Mutex::default(), zones: Mutex::default() }))
}

/// `spec.nodeName` out of a pod's bytes.
pub(crate) fn node_of(bytes: &[u8]) -> Option<String> {
    skiff_codec::text_at(bytes, &["spec", "nodeName"]).filter(|n| !n.is_empty()).map(str::to_owned)
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let all = node.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|c| c.type_ == kind).map(|c| c.status.as_str())
}

/// What a node's readiness asks for.
fn readiness(node: &Node) -> Option<&'static str> {
    match condition(node, "Ready")? {
        "True" => None,
        "False" => Some("node.kubernetes.io/not-ready"),
        _ => Some("node.kubernetes.io/unreachable"),
    }
}

/// The taints that the node's state asks for: (key, effect). Whether pods are to be driven away is not the node's affair alone.
fn wanted(node: &Node, evict: Evict) -> Vec<(&'static str, &'static str)> {
    let mut out = Vec::new();
    if let Some(key) = readiness(node) {
        out.push((key, "NoSchedule"));
        let tainted = |t: &Taint| t.effect == "NoExecute" && UNREADY.contains(&t.key.as_str());
        let before = node.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(tainted);
        if evict == Evict::Yes || (evict == Evict::Later && before) {
            out.push((key, "NoExecute"));
        }
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

const UNREADY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Ours of either effect are those of readiness; of the others, somebody else may want pods driven away.
fn ours(t: &Taint) -> bool {
    OURS.contains(&t.key.as_str()) && (t.effect == "NoSchedule" || (t.effect == "NoExecute" && UNREADY.contains(&t.key.as_str())))
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
fn taints(node: &Node, evict: Evict, now: &str) -> Option<Vec<Value>> {
    let have = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let wanted = wanted(node, evict);
    let keeps = |t: &Taint| !ours(t) || wanted.contains(&(t.key.as_str(), t.effect.as_str()));
    let missing: Vec<_> = wanted.iter().filter(|(k, e)| !have.iter().any(|t| t.key == *k && t.effect == *e)).collect();
    if missing.is_empty() && have.iter().all(keeps) {
        return None;
    }
    let mut out: Vec<Value> = have.iter().filter(|t| keeps(t)).filter_map(|t| skiff_json::to_value(t).ok()).collect();
    for (key, effect) in missing {
        out.push(if *effect == "NoExecute" { json!({"key": key, "effect": effect, "timeAdded": now}) } else { json!({"key": key, "effect": effect}) });
    }
    Some(out)
}

#[async_trait]
impl Reconcile for Lifecycle {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(node) = self.nodes.get("", name) else {
            self.beats.lock().remove(name);
            self.zones.lock().forget(name);
            return Ok(Action::Done);
        };
        let now = Instant::now();
        if self.silent(&node, name, now) && condition(&node, "Ready") != Some("Unknown") {
            self.mark_unknown(&node, name).await?;
            return Ok(Action::RequeueAfter(Duration::from_millis(10)));
        }
        let evict = {
            let mut zones = self.zones.lock();
            zones.note(name, &node, condition(&node, "Ready") == Some("True"));
            zones.evict(name, now)
        };
        let stamp = self.deps.clock.seconds().to_string();
        if let Some(taints) = taints(&node, evict, &stamp) {
            let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}});
            self.deps.client.patch::<Node>("", name, PatchBody::merge(&patch)).await.at("taint node", name)?;
        }
        Ok(Action::RequeueAfter(LOOK))
    }
}

impl Lifecycle {
    /// Neither the lease nor the status was renewed lately.
    fn silent(&self, node: &Node, name: &str, now: Instant) -> bool {
        let lease = self.leases.get("kube-node-lease", name).and_then(|l| l.spec).and_then(|s| s.renew_time);
        let ready = node.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "Ready");
        let status = ready.and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0.as_second());
        let signs = Signs { lease: lease.map(|t| t.0.as_microsecond()), status };
        let mut beats = self.beats.lock();
        let beat = beats.entry(name.to_owned()).or_insert_with(|| Beat::new(signs, now));
        beat.silent(signs, ready.is_some(), now)
    }
    async fn mark_unknown(&self, node: &Node, name: &str) -> Result<(), Failed> {
        let now = self.deps.clock.seconds().to_string();
        let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
        let created = node.metadata.creation_timestamp.as_ref();
        let conditions: Vec<Value> = kinds
            .iter()
            .filter_map(|k| match condition(node, k) {
                Some("Unknown") => None,
                Some(_) => Some(json!({"type": k, "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.", "lastTransitionTime": now})),
                None => Some(json!({"type": k, "status": "Unknown", "reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status.", "lastHeartbeatTime": created, "lastTransitionTime": now})),
            })
            .collect();
        self.deps
            .client
            .patch_status::<Node>("", name, PatchBody::strategic(&json!({"status": {"conditions": conditions}})))
            .await
            .at("mark node unknown", name)?;
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
        skiff_json::from_value(v).unwrap()
    }
    #[test]
    fn taints_follow_conditions() {
        let ready = node(
            json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/disk-pressure", "effect": "NoExecute"}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        );
        assert_eq!(
            taints(&ready, Evict::Yes, "t").unwrap(),
            [json!({"key": "mine", "effect": "NoSchedule"}), json!({"key": "node.kubernetes.io/disk-pressure", "effect": "NoExecute"})]
        );
        let fine = node(json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        assert!(taints(&fine, Evict::Yes, "t").is_none());
        let new = node(json!({"metadata": {"name": "n"}}));
        assert!(taints(&new, Evict::Yes, "t").is_none());
    }
    #[test]
    fn pods_are_driven_away_when_the_cluster_says_so() {
        let key = "node.kubernetes.io/unreachable";
        let dead = |taints: Value| {
            node(json!({"metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}))
        };
        let (schedule, execute) = (json!({"key": key, "effect": "NoSchedule"}), json!({"key": key, "effect": "NoExecute", "timeAdded": "t"}));
        let fresh = dead(json!([]));
        assert_eq!(taints(&fresh, Evict::Yes, "t").unwrap(), [schedule.clone(), execute.clone()]);
        assert_eq!(taints(&fresh, Evict::Later, "t").unwrap(), std::slice::from_ref(&schedule));
        let marked = dead(json!([schedule, {"key": key, "effect": "NoExecute"}]));
        assert!(taints(&marked, Evict::Later, "t").is_none());
        assert_eq!(taints(&marked, Evict::No, "t").unwrap(), [schedule.clone()]);
        // One that says again that it is there, but not well, keeps on losing its pods.
        let swapped = dead(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]));
        assert_eq!(taints(&swapped, Evict::Later, "t").unwrap(), [schedule, execute]);
    }
}
