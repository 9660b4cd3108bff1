//! Pods that nobody else removes: on nodes that are gone, ended long ago, or terminating without a node.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use skiff_client::{DeleteOptions, PatchBody};
use skiff_codec::text_at;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Row, Typed};
use skiff_json::json;
use skiff_meta::{LabelSelector, Reason};
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

fn over(pod: &Row) -> bool {
    matches!(text_at(&pod.bytes, &["status", "phase"]), Some("Succeeded" | "Failed"))
}

#[async_trait]
impl Reconcile for PodGc {
    async fn reconcile(&self, _: &str) -> Result<Action, Failed> {
        let now = self.deps.clock.now().0 / 1_000_000;
        let mut ended = Vec::new();
        let mut seen = BTreeMap::new();
        // All pods are looked at, and next to none decoded.
        for row in self.pods.rows("", &LabelSelector::everything()) {
            let node = text_at(&row.bytes, &["spec", "nodeName"]).filter(|n| !n.is_empty());
            match node {
                Some(n) if self.nodes.row("", n).is_none() => {
                    let since = *self.missing.lock().get(n).unwrap_or(&now);
                    seen.insert(n.to_owned(), since);
                    if now - since >= QUARANTINE && self.really_gone(n).await {
                        self.remove(&row, true).await?;
                    }
                }
                None if row.deleting => self.remove(&row, false).await?,
                // Somebody vouches that the machine is off: its pods need not wait for it.
                Some(n) if row.deleting && self.nodes.get("", n).is_some_and(|n| out_of_service(&n)) => self.remove(&row, false).await?,
                _ if over(&row) => ended.push(row),
                _ => {}
            }
        }
        *self.missing.lock() = seen;
        let surplus = ended.len().saturating_sub(ENDED_AT_MOST);
        if surplus > 0 {
            // As text, times are in their order.
            ended.sort_by_cached_key(|r| text_at(&r.bytes, &["metadata", "creationTimestamp"]).map(str::to_owned));
        }
        for row in ended.iter().take(surplus) {
            self.remove(row, false).await?;
        }
        Ok(Action::RequeueAfter(LOOK))
    }
}

impl PodGc {
    async fn really_gone(&self, node: &str) -> bool {
        matches!(self.deps.client.get::<Node>("", node).await, Err(e) if e.is(Reason::NotFound))
    }
    async fn remove(&self, pod: &Row, orphaned: bool) -> Result<(), Failed> {
        let (ns, name) = (pod.namespace(), pod.name());
        if orphaned && !over(pod) {
            let now = self.deps.clock.seconds().to_string();
            let patch = json!({"status": {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists", "lastTransitionTime": now}]}});
            self.deps
                .client
                .patch_status::<Pod>(ns, name, PatchBody::strategic(&patch))
                .await
                .map(drop)
                .or_else(|e| if e.is(Reason::NotFound) { Ok(()) } else { Err(e) })
                .at("mark pod", name)?;
        }
        let options = DeleteOptions::default().grace(0).uid(pod.uid.as_str());
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
        let node = |taint: &str, ready: &str| -> Node {
            skiff_json::from_value(json!({"metadata": {}, "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})).unwrap()
        };
        let key = "node.kubernetes.io/out-of-service";
        assert!(out_of_service(&node(key, "Unknown")));
        assert!(!out_of_service(&node(key, "True")) && !out_of_service(&node("node.kubernetes.io/unreachable", "Unknown")));
    }
}
