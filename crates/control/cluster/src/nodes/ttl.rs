//! How long kubelets may keep what they read: an annotation on each node that grows with the cluster.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use skiff_client::PatchBody;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{ChangeKind, Typed};
use skiff_json::json;
use skiff_meta::LabelSelector;
use std::sync::Arc;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// Nodes at least, nodes at most, seconds. They overlap, so that a cluster at a border does not swing.
const STEPS: [(usize, usize, u32); 5] = [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

struct Ttl {
    deps: Deps,
    nodes: Typed<Node>,
    step: Mutex<usize>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let nodes = deps.informers.of::<Node>();
    let queue = Queue::new();
    let (q, all) = (queue.clone(), nodes.clone());
    nodes.subscribe(move |c| match c.kind {
        ChangeKind::Modified => q.add(c.key()),
        // The number of nodes decides about all of them.
        _ => all.rows("", &LabelSelector::everything()).iter().for_each(|r| q.add(r.key.clone())),
    });
    (queue, Arc::new(Ttl { deps, nodes, step: Mutex::new(0) }))
}

/// The step for so many nodes, coming from `step`.
fn next(mut step: usize, nodes: usize) -> usize {
    while STEPS.get(step).is_some_and(|s| nodes > s.1) && step + 1 < STEPS.len() {
        step += 1;
    }
    while step > 0 && STEPS.get(step).is_some_and(|s| nodes < s.0) {
        step -= 1;
    }
    step
}

#[async_trait]
impl Reconcile for Ttl {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(node) = self.nodes.get("", name) else { return Ok(Action::Done) };
        let step = {
            let mut step = self.step.lock();
            *step = next(*step, self.nodes.shared().len());
            *step
        };
        let wanted = STEPS.get(step).map_or(0, |s| s.2).to_string();
        if node.metadata.annotations.iter().flatten().any(|(k, v)| k == ANNOTATION && *v == wanted) {
            return Ok(Action::Done);
        }
        let patch = PatchBody::strategic(&json!({"metadata": {"annotations": {ANNOTATION: wanted}}}));
        self.deps.client.patch::<Node>("", name, patch).await.at("annotate node", name)?;
        Ok(Action::Done)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_overlap() {
        for (from, nodes, to) in [(0, 100, 0), (0, 101, 1), (1, 95, 1), (1, 89, 0), (0, 5000, 4), (4, 10, 0)] {
            assert_eq!(super::next(from, nodes), to, "{nodes}");
        }
    }
}
