//! Pods on nodes with NoExecute taints: evicted at once, or when their toleration runs out.
use crate::nodes::lifecycle::node_of;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use parking_lot::Mutex;
use skiff_client::{DeleteOptions, PatchBody};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, split_key};
use skiff_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

struct Evictor {
    deps: Deps,
    nodes: Typed<Node>,
    pods: Typed<Pod>,
    /// Pods whose time is running, and since when.
    marked: Mutex<BTreeMap<String, Instant>>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (nodes, pods) = (deps.informers.of::<Node>(), deps.informers.of::<Pod>());
    pods.index("node", |r| node_of(&r.bytes).into_iter().collect());
    let queue = Queue::new();
    let q = queue.clone();
    pods.subscribe(move |c| {
        q.add(c.key());
    });
    let (q, p) = (queue.clone(), pods.clone());
    nodes.subscribe(move |c| {
        if c.row().mentions("\"NoExecute\"") || c.old.as_ref().is_some_and(|o| o.mentions("\"NoExecute\"")) {
            p.indexed("node", c.row().name()).iter().for_each(|r| q.add(r.key.clone()));
        }
    });
    (queue, Arc::new(Evictor { deps, nodes, pods, marked: Mutex::default() }))
}

fn tolerates(t: &Toleration, taint: &Taint) -> bool {
    let (key, effect) = (t.key.as_deref().unwrap_or_default(), t.effect.as_deref().unwrap_or_default());
    let value_fits = t.operator.as_deref() == Some("Exists") || t.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && value_fits
}

/// How long the pod may stay: None for ever, otherwise seconds since it was first seen under these taints.
fn patience(pod: &Pod, taints: &[&Taint]) -> Option<u64> {
    let tolerations: Vec<&Toleration> = pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten()).collect();
    let mut least = None;
    for taint in taints {
        // The first that fits counts.
        let Some(fitting) = tolerations.iter().find(|t| tolerates(t, taint)) else { return Some(0) };
        if let Some(seconds) = fitting.toleration_seconds {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            least = Some(least.map_or(seconds, |l: u64| l.min(seconds)));
        }
    }
    least
}

#[async_trait]
impl Reconcile for Evictor {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.pods.row(namespace, name).filter(|r| !r.deleting) else {
            self.marked.lock().remove(key);
            return Ok(Action::Done);
        };
        let Some(node) = node_of(&row.bytes).and_then(|n| self.nodes.row("", &n)) else { return Ok(Action::Done) };
        // Every change of every pod comes here; next to no node has such a taint.
        if !node.mentions("\"NoExecute\"") && !self.marked.lock().contains_key(key) {
            return Ok(Action::Done);
        }
        let (Some(pod), Some(node)) = (self.pods.get(namespace, name), self.nodes.get("", node.name())) else { return Ok(Action::Done) };
        let all = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
        let taints: Vec<&Taint> = all.iter().filter(|t| t.effect == "NoExecute").collect();
        let now = Instant::now();
        let Some(patience) = patience(&pod, &taints) else { return Ok(self.keep(key, &pod)) };
        let left = {
            let mut marked = self.marked.lock();
            let since = *marked.entry(key.to_owned()).or_insert(now);
            (since + Duration::from_secs(patience)).saturating_duration_since(now)
        };
        if !left.is_zero() {
            return Ok(Action::RequeueAfter(left));
        }
        self.deps.recorder.normal(&Regarding::of(&pod), "TaintManagerEviction", format!("Marking for deletion Pod {namespace}/{name}"));
        let stamp = self.deps.clock.seconds().to_string();
        let condition = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": stamp}]}});
        self.deps.client.patch_status::<Pod>(namespace, name, PatchBody::strategic(&condition)).await.at("mark pod", key)?;
        self.deps.client.delete::<Pod>(namespace, name, &DeleteOptions::default()).await.at("evict pod", key)?;
        self.marked.lock().remove(key);
        Ok(Action::Done)
    }
}

impl Evictor {
    /// The pod stays; one whose time was running is told of it.
    fn keep(&self, key: &str, pod: &Pod) -> Action {
        if self.marked.lock().remove(key).is_some() {
            self.deps.recorder.normal(&Regarding::of(pod), "TaintManagerEviction", format!("Cancelling deletion of Pod {key}"));
        }
        Action::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn pod(tolerations: skiff_json::Value) -> Pod {
        skiff_json::from_value(json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}})).unwrap()
    }
    #[test]
    fn how_long_a_pod_may_stay() {
        let taint: Taint = skiff_json::from_value(json!({"key": "k", "effect": "NoExecute"})).unwrap();
        let other: Taint = skiff_json::from_value(json!({"key": "o", "effect": "NoExecute"})).unwrap();
        for (tolerations, want) in [
            (json!([]), Some(0)),
            (json!([{"key": "k", "operator": "Exists"}]), None),
            (json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}]), Some(30)),
            (json!([{"key": "k", "operator": "Exists", "tolerationSeconds": -1}]), Some(0)),
            (json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}, {"key": "k", "operator": "Exists"}]), Some(30)),
            (json!([{"key": "other", "operator": "Exists"}]), Some(0)),
        ] {
            assert_eq!(patience(&pod(tolerations), &[&taint]), want);
        }
        assert_eq!(patience(&pod(json!([])), &[]), None);
        let both = json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}, {"key": "o", "operator": "Exists", "tolerationSeconds": 20}]);
        assert_eq!(patience(&pod(both), &[&taint, &other]), Some(20));
    }
}
