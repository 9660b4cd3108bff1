//! Pods on nodes with NoExecute taints: evicted at once, or when their toleration runs out.
use crate::nodes::lifecycle::node_of;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use serde_json::json;
use skiff_client::{DeleteOptions, PatchBody};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, split_key};
use std::{sync::Arc, time::Duration};

struct Evictor {
    deps: Deps,
    nodes: Typed<Node>,
    pods: Typed<Pod>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (nodes, pods) = (deps.informers.of::<Node>(), deps.informers.of::<Pod>());
    pods.index("node", |r| node_of(&r.bytes).into_iter().collect());
    let queue = Queue::new();
    let q = queue.clone();
    pods.subscribe(move |c| {
        if c.new.is_some() {
            q.add(c.key());
        }
    });
    let (q, p) = (queue.clone(), pods.clone());
    nodes.subscribe(move |c| {
        if c.row().bytes.windows(11).any(|w| w == b"\"NoExecute\"") || c.old.as_ref().is_some_and(|o| o.bytes.windows(11).any(|w| w == b"\"NoExecute\"")) {
            p.indexed("node", c.row().name()).iter().for_each(|r| q.add(r.key.clone()));
        }
    });
    (queue, Arc::new(Evictor { deps, nodes, pods }))
}

fn tolerates(t: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (t.key.as_deref().unwrap_or_default(), t.effect.as_deref().unwrap_or_default());
    let value_fits = t.operator.as_deref() == Some("Exists") || t.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && value_fits
}

/// When the pod must go: None never, Some(0) at once, otherwise seconds after the taint came.
fn deadline(pod: &Pod, taints: &[&Taint]) -> Option<i64> {
    let tolerations = pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten());
    let tolerations: Vec<&Toleration> = tolerations.collect();
    let mut soonest = None;
    for taint in taints {
        let fitting: Vec<_> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        if fitting.is_empty() {
            return Some(0);
        }
        let added = taint.time_added.as_ref().map_or(0, |t| t.0.as_second());
        for seconds in fitting.iter().filter_map(|t| t.toleration_seconds) {
            let at = if seconds <= 0 { 0 } else { added + seconds };
            soonest = Some(soonest.map_or(at, |s: i64| s.min(at)));
        }
    }
    soonest
}

#[async_trait]
impl Reconcile for Evictor {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(pod) = self.pods.get(namespace, name).filter(|p| p.metadata.deletion_timestamp.is_none()) else { return Ok(Action::Done) };
        let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).and_then(|n| self.nodes.get("", n)) else { return Ok(Action::Done) };
        let all = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
        let taints: Vec<&Taint> = all.iter().filter(|t| t.effect == "NoExecute").collect();
        let now = self.deps.clock.now().0 / 1_000_000;
        match deadline(&pod, &taints) {
            None => Ok(Action::Done),
            Some(at) if at > now => Ok(Action::RequeueAfter(Duration::from_secs((at - now) as u64))),
            Some(_) => {
                self.deps.recorder.normal(&Regarding::of(&pod), "TaintManagerEviction", format!("Marking for deletion Pod {namespace}/{name}"));
                let stamp = self.deps.clock.seconds().to_string();
                let condition = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": stamp}]}});
                self.deps.client.patch_status::<Pod>(namespace, name, PatchBody::strategic(&condition)).await.at("mark pod", key)?;
                self.deps.client.delete::<Pod>(namespace, name, &DeleteOptions::default()).await.at("evict pod", key)?;
                Ok(Action::Done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn pod(tolerations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}})).unwrap()
    }
    #[test]
    fn deadlines() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:40Z"})).unwrap();
        for (tolerations, want) in [
            (json!([]), Some(0)),
            (json!([{"key": "k", "operator": "Exists"}]), None),
            (json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}]), Some(130)),
            (json!([{"key": "other", "operator": "Exists"}]), Some(0)),
        ] {
            assert_eq!(deadline(&pod(tolerations), &[&taint]), want);
        }
        assert_eq!(deadline(&pod(json!([])), &[]), None);
    }
}
