//! Pods that nobody else removes: on nodes that are gone, ended long ago, or terminating without a node.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use skiff_client::{DeleteOptions, PatchBody};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::Typed;
use skiff_meta::Reason;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const LOOK: Duration = Duration::from_secs(20);
/// Ended pods beyond this many are removed, oldest first.
const ENDED_AT_MOST: usize = 12_500;
/// A node must be missing for so long, in seconds.
const QUARANTINE: i64 = 40;

struct PodGc {
    deps: Deps,
    nodes: Typed<Node>,
    pods: Typed<Pod>,
    /// Node → when it was first missed, in seconds.
    missing: parking_lot::Mutex<BTreeMap<String, i64>>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (nodes, pods) = (deps.informers.of::<Node>(), deps.informers.of::<Pod>());
    let queue = Queue::new();
    queue.add("all");
    (queue, Arc::new(PodGc { deps, nodes, pods, missing: Default::default() }))
}

/// <https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown>
fn out_of_service(node: &Node) -> bool {
    let tainted = node.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(|t| t.key == "node.kubernetes.io/out-of-service");
    let ready = node.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True");
    tainted && !ready
}

#[async_trait]
impl Reconcile for PodGc {
    async fn reconcile(&self, _: &str) -> Result<Action, Failed> {
        let now = self.deps.clock.now().0 / 1_000_000;
        let mut ended = Vec::new();
        let mut seen = BTreeMap::new();
        for pod in self.pods.all() {
            let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).filter(|n| !n.is_empty());
            let over = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
            match node {
                Some(n) if self.nodes.row("", &n).is_none() => {
                    let since = *self.missing.lock().get(&n).unwrap_or(&now);
                    seen.insert(n.clone(), since);
                    if now - since >= QUARANTINE && self.really_gone(&n).await {
                        self.remove(&pod, true).await?;
                    }
                }
                None if pod.metadata.deletion_timestamp.is_some() => self.remove(&pod, false).await?,
                // Somebody vouches that the machine is off: its pods need not wait for it.
                Some(n) if pod.metadata.deletion_timestamp.is_some() && self.nodes.get("", &n).is_some_and(|n| out_of_service(&n)) => self.remove(&pod, false).await?,
                _ if over => ended.push(pod),
                _ => {}
            }
        }
        *self.missing.lock() = seen;
        ended.sort_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0));
        let surplus = ended.len().saturating_sub(ENDED_AT_MOST);
        for pod in &ended[..surplus] {
            self.remove(pod, false).await?;
        }
        Ok(Action::RequeueAfter(LOOK))
    }
}

impl PodGc {
    async fn really_gone(&self, node: &str) -> bool {
        matches!(self.deps.client.get::<Node>("", node).await, Err(e) if e.is(Reason::NotFound))
    }
    async fn remove(&self, pod: &Pod, orphaned: bool) -> Result<(), Failed> {
        let m = &pod.metadata;
        let (ns, name) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
        let over = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        if orphaned && !over {
            let now = self.deps.clock.seconds().to_string();
            let patch = json!({"status": {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists", "lastTransitionTime": now}]}});
            self.deps.client.patch_status::<Pod>(ns, name, PatchBody::strategic(&patch)).await.map(drop).or_else(|e| if e.is(Reason::NotFound) { Ok(()) } else { Err(e) }).at("mark pod", name)?;
        }
        let options = DeleteOptions::default().grace(0).uid(m.uid.as_deref().unwrap_or_default());
        match self.deps.client.delete::<Pod>(ns, name, &options).await {
            Err(e) if e.is(Reason::Conflict) || e.is(Reason::NotFound) => Ok(()),
            other => other.at("remove leftover pod", name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_off() {
        let node = |taint: &str, ready: &str| -> Node { serde_json::from_value(json!({"metadata": {}, "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})).unwrap() };
        let key = "node.kubernetes.io/out-of-service";
        assert!(out_of_service(&node(key, "Unknown")));
        assert!(!out_of_service(&node(key, "True")) && !out_of_service(&node("node.kubernetes.io/unreachable", "Unknown")));
    }
}
