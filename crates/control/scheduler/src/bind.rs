//! Carrying a decision out.
use crate::PodQueue;
use crate::cluster::Cluster;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use skiff_client::{Client, DeleteOptions, PatchBody, Target, resource_of};
use skiff_controller::{Clock, Recorder, Regarding};
use skiff_meta::{Reason, Status};
use skiff_sched::{ClaimState, PodFacts, VolumeView};
use std::{sync::Arc, time::Duration};

/// How long a pod may wait for its volumes, in seconds.
const VOLUMES_AT_MOST: Duration = Duration::from_secs(600);

pub(crate) struct Binder {
    pub client: Client,
    pub cluster: Arc<Cluster>,
    pub queue: PodQueue,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
}

impl Binder {
    /// Lets waiting claims be bound, then binds the pod. On failure the pod is taken back and tried again.
    pub async fn bind(&self, pod: &Pod, facts: &PodFacts, view: &VolumeView, node: &str) {
        match self.try_bind(pod, facts, view, node).await {
            Ok(()) => self.recorder.normal(&Regarding::of(pod), "Scheduled", format!("Successfully assigned {}/{} to {node}", facts.namespace, facts.name)),
            Err(e) if e.is(Reason::NotFound) => {
                self.queue.remove(&facts.key());
                self.forget(facts);
            }
            Err(e) => {
                tracing::warn!(target: "scheduler", pod = facts.key(), node, error = %e, "binding failed");
                self.recorder.warning(&Regarding::of(pod), "FailedScheduling", format!("binding rejected: {e}"));
                self.forget(facts);
                self.queue.retry(&facts.key());
            }
        }
    }
    /// Takes an assumed pod out of the snapshot, unless the informer has confirmed it meanwhile.
    fn forget(&self, facts: &PodFacts) {
        let bound = self.cluster.pods.get(&facts.namespace, &facts.name).and_then(|p| p.spec).and_then(|s| s.node_name).is_some_and(|n| !n.is_empty());
        if !bound {
            self.cluster.snapshot.lock().remove_pod(&facts.key());
            self.queue.changed();
        }
    }
    async fn try_bind(&self, pod: &Pod, facts: &PodFacts, view: &VolumeView, node: &str) -> Result<(), Status> {
        let waiting: Vec<&str> = view.iter().filter(|(_, c)| matches!(c.state, ClaimState::WaitsForPod { .. })).map(|(k, _)| skiff_informer::split_key(k).1).collect();
        for claim in &waiting {
            let patch = PatchBody::merge(&json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}}}));
            self.client.patch::<PersistentVolumeClaim>(&facts.namespace, claim, patch).await?;
        }
        if !waiting.is_empty() {
            let all = self.claims_bound(&facts.namespace, &waiting);
            tokio::time::timeout(VOLUMES_AT_MOST, all).await.map_err(|_| Status::new(Reason::Timeout, "timed out waiting for the volumes to be bound"))?;
        }
        let meta = &pod.metadata;
        let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let target = Target::new(resource_of::<Pod>(), &*facts.namespace, &*facts.name).sub("binding");
        self.client.create_bytes(target, body.to_string()).await.map(drop)
    }
    async fn claims_bound(&self, namespace: &str, names: &[&str]) {
        let mut changed = self.cluster.claims_changed.clone();
        let bound = |name: &&str| self.cluster.claims.get(namespace, name).and_then(|c| c.status).and_then(|s| s.phase).is_some_and(|p| p == "Bound");
        loop {
            changed.borrow_and_update();
            if names.iter().all(bound) || changed.changed().await.is_err() {
                return;
            }
        }
    }
    /// Evicts a victim of preemption: says why in its conditions, then deletes it gracefully.
    pub async fn evict(&self, victim: &PodFacts, by: &Pod) {
        let now = self.clock.seconds().to_string();
        let why = format!("{}: preempting to accommodate a higher priority pod", crate::NAME);
        let condition = json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": why, "lastTransitionTime": now}]}});
        let done = async {
            self.client.patch_status::<Pod>(&victim.namespace, &victim.name, PatchBody::strategic(&condition)).await?;
            self.client.delete::<Pod>(&victim.namespace, &victim.name, &DeleteOptions::default().uid(&victim.uid)).await
        };
        if let Err(e) = done.await {
            return tracing::warn!(target: "scheduler", pod = victim.key(), error = %e, "victim not evicted");
        }
        let regarding = self.cluster.pods.get(&victim.namespace, &victim.name).map(|p| Regarding::of(&p));
        if let Some(r) = regarding {
            let uid = by.metadata.uid.as_deref().unwrap_or_default();
            self.recorder.normal(&r, "Preempted", format!("Preempted by pod {uid} on node {}", victim.node));
        }
    }
    /// Sets PodScheduled to false, if that says something new, and the nominated node.
    pub async fn condition(&self, pod: &Pod, reason: &str, message: &str, nominated: Option<&str>) {
        let said = pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "PodScheduled");
        let same = said.is_some_and(|c| c.status == "False" && c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message));
        if same && nominated.is_none() {
            return;
        }
        let since = said.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref()).map_or_else(|| self.clock.seconds().to_string(), |t| skiff_meta::Timestamp(t.0.as_second()).to_string());
        let mut status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastTransitionTime": since}]});
        if let Some(n) = nominated {
            status["nominatedNodeName"] = n.into();
        }
        let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        if let Err(e) = self.client.patch_status::<Pod>(namespace, name, PatchBody::strategic(&json!({"status": status}))).await {
            tracing::debug!(target: "scheduler", pod = name, error = %e, "condition not written");
        }
    }
}
