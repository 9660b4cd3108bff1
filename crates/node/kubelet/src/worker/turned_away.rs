//! Around the node's own check: what it goes by is fresh, and a pod that it turned away has a status of its own.
use super::{Worker, known_reason};
use crate::node;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use skiff_pod::{admit, view};

impl Worker {
    /// A pod may be bound here because of a label or a taint that has only just changed: asks the API before that is held against it.
    pub(super) async fn see_node(&self) {
        let Some(pod) = self.slot.pod().filter(|_| !self.admitted) else { return };
        if view::finished(&pod) || view::deleted(&pod) || !admit::kept_away(&pod, &self.agent.room.lock()) {
            return;
        }
        match self.agent.client.get::<Node>("", &self.agent.config.node_name).await {
            Ok(node) => node::adopt(&self.agent, &node),
            Err(e) => tracing::debug!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, error = %e, "node not read for admission"),
        }
    }

    /// The status as it is when the node has turned the pod away, in this process or an earlier one.
    pub(super) fn unless_turned_away(&self, pod: &Pod, status: PodStatus) -> PodStatus {
        let none = |s: &PodStatus| s.container_statuses.as_ref().is_none_or(Vec::is_empty);
        let earlier = || view::finished(pod) && pod.status.as_ref().is_some_and(none);
        let now = self.slot.verdict.lock().as_ref().map(|v| known_reason(&v.reason) == v.reason);
        if !self.admitted && now.unwrap_or_else(earlier) { skiff_pod::rejected(status) } else { status }
    }
}
