//! Carrying a decision out.
use crate::PodQueue;
use crate::cluster::Cluster;
use crate::storage::device_claims;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, PodCondition};
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim, ResourceClaimConsumerReference};
use skiff_client::{Client, DeleteOptions, PatchBody, Target, resource_of};
use skiff_controller::{Clock, EventType, Recorder, Regarding, change_status};
use skiff_json::json;
use skiff_meta::{Reason, Status};
use skiff_sched::{PodFacts, Wakes};
use std::{sync::Arc, time::Duration};

/// How long a pod may wait for its volumes, in seconds.
const VOLUMES_AT_MOST: Duration = Duration::from_secs(600);

/// What becomes of the pod's promised node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Promise {
    Keep,
    Set(String),
    Withdraw,
}

/// A claim and the volume that it gets; None: a new one.
pub(crate) type Volumes = [(String, Option<String>)];
/// Claims with the devices that they get.
pub(crate) type DevicesGiven = [(ResourceClaim, AllocationResult)];

/// Keeps a claim with devices from vanishing under those who use them.
const PROTECTION: &str = "resource.kubernetes.io/delete-protection";

pub(crate) struct Binder {
    pub client: Client,
    pub cluster: Arc<Cluster>,
    pub queue: PodQueue,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
}

impl Binder {
    /// Lets waiting claims be bound, then binds the pod. On failure the pod is taken back and tried again.
    pub async fn bind(&self, pod: &Pod, facts: &PodFacts, volumes: &Volumes, given: &DevicesGiven, node: &str) {
        let done = self.try_bind(pod, facts, volumes, given, node).await;
        if done.is_err() {
            volumes.iter().filter_map(|(_, v)| v.as_deref()).for_each(|v| self.cluster.storage.withdraw(v));
            self.cluster.storage.take_back(given);
        }
        match done {
            Ok(()) => self.recorder.deed(
                &Regarding::of(pod),
                None,
                EventType::Normal,
                "Scheduled",
                "Binding",
                format!("Successfully assigned {}/{} to {node}", facts.namespace, facts.name),
            ),
            Err(e) if e.is(Reason::NotFound) => {
                self.queue.remove(&facts.key());
                self.forget(facts);
            }
            Err(e) => {
                tracing::warn!(target: "scheduler", pod = facts.key(), node, error = %e, "binding failed");
                self.recorder.deed(&Regarding::of(pod), None, EventType::Warning, "FailedScheduling", "Scheduling", format!("binding rejected: {e}"));
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
            self.queue.changed(Wakes::POD_GONE);
        }
    }
    async fn try_bind(&self, pod: &Pod, facts: &PodFacts, volumes: &Volumes, given: &DevicesGiven, node: &str) -> Result<(), Status> {
        for (claim, volume) in volumes {
            match volume {
                Some(v) => self.give(&facts.namespace, claim, v).await?,
                None => {
                    let patch = PatchBody::merge(&json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}}}));
                    self.client.patch::<PersistentVolumeClaim>(&facts.namespace, claim, patch).await?;
                }
            }
        }
        if !volumes.is_empty() {
            let waiting: Vec<&str> = volumes.iter().map(|(c, _)| c.as_str()).collect();
            let all = self.claims_bound(&facts.namespace, &waiting);
            tokio::time::timeout(VOLUMES_AT_MOST, all).await.map_err(|_| Status::new(Reason::Timeout, "timed out waiting for the volumes to be bound"))?;
        }
        self.reserve_devices(pod, given).await?;
        let meta = &pod.metadata;
        let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let target = Target::new(resource_of::<Pod>(), &*facts.namespace, &*facts.name).sub("binding");
        self.client.create_bytes(target, body.to_string()).await.map(drop)
    }
    /// Writes on a volume whose it is; the binder does the rest.
    async fn give(&self, namespace: &str, claim: &str, volume: &str) -> Result<(), Status> {
        let (c, v) = (self.client.get::<PersistentVolumeClaim>(namespace, claim).await?, self.client.get::<PersistentVolume>("", volume).await?);
        let there = v.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
        if there.is_some_and(|r| r.uid == c.metadata.uid) {
            return Ok(());
        }
        let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim, "uid": c.metadata.uid, "resourceVersion": c.metadata.resource_version});
        let mut patch = json!({"metadata": {"resourceVersion": v.metadata.resource_version}, "spec": {"claimRef": reference}});
        if there.is_none() {
            patch["metadata"]["annotations"] = json!({"pv.kubernetes.io/bound-by-controller": "yes"});
        }
        self.client.patch::<PersistentVolume>("", volume, PatchBody::merge(&patch)).await.map(drop)
    }
    /// Says on each claim of devices which it gets, where that is decided here, and that the pod uses it.
    async fn reserve_devices(&self, pod: &Pod, given: &DevicesGiven) -> Result<(), Status> {
        let m = &pod.metadata;
        let (namespace, uid) = (m.namespace.as_deref().unwrap_or_default(), m.uid.clone().unwrap_or_default());
        for name in device_claims(pod).into_iter().flatten() {
            let consumer =
                ResourceClaimConsumerReference { resource: "pods".into(), name: m.name.clone().unwrap_or_default(), uid: uid.clone(), ..Default::default() };
            let own = given.iter().find(|(c, _)| c.metadata.name.as_deref() == Some(name.as_str()));
            if let Some((claim, _)) = own {
                self.protect(claim).await?;
            }
            let mut other = false;
            change_status::<ResourceClaim>(&self.client, namespace, &name, |c| {
                let status = c.status.get_or_insert_default();
                if let Some((_, allocation)) = own {
                    other = status.allocation.as_ref().is_some_and(|there| there != allocation);
                    if other {
                        return false;
                    }
                    status.allocation = Some(allocation.clone());
                }
                let all = status.reserved_for.get_or_insert_default();
                let known = all.iter().any(|r| r.uid == uid);
                if !known {
                    all.push(consumer.clone());
                }
                !known || own.is_some()
            })
            .await?;
            if other {
                return Err(Status::new(Reason::Conflict, format!("claim {namespace}/{name} was allocated otherwise meanwhile")));
            }
        }
        Ok(())
    }
    async fn protect(&self, claim: &ResourceClaim) -> Result<(), Status> {
        let m = &claim.metadata;
        let mut all = m.finalizers.clone().unwrap_or_default();
        if all.iter().any(|f| f == PROTECTION) {
            return Ok(());
        }
        all.push(PROTECTION.to_owned());
        let patch = json!({"metadata": {"uid": m.uid, "resourceVersion": m.resource_version, "finalizers": all}});
        let (namespace, name) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
        self.client.patch::<ResourceClaim>(namespace, name, PatchBody::merge(&patch)).await.map(drop)
    }
    async fn claims_bound(&self, namespace: &str, names: &[&str]) {
        let mut changed = self.cluster.claims_changed.clone();
        let bound = |name: &&str| self.cluster.storage.claims.get(namespace, name).and_then(|c| c.status).and_then(|s| s.phase).is_some_and(|p| p == "Bound");
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
            self.recorder.deed(
                &r,
                Some(&Regarding::of(by)),
                EventType::Normal,
                "Preempted",
                "Preempting",
                format!("Preempted by pod {uid} on node {}", victim.node),
            );
        }
    }
    /// Less important pods that were promised the node look for another one.
    pub async fn displace(&self, by: &PodFacts, node: &str) {
        let theirs = |p: &&PodFacts| p.nominated == node && p.priority < by.priority;
        let displaced: Vec<PodFacts> = self.cluster.nominated.lock().values().filter(theirs).cloned().collect();
        for p in displaced {
            self.cluster.nominated.lock().remove(&p.key());
            if let Err(e) = self.client.patch_status::<Pod>(&p.namespace, &p.name, PatchBody::strategic(&json!({"status": {"nominatedNodeName": null}}))).await
            {
                tracing::debug!(target: "scheduler", pod = p.key(), error = %e, "promise not withdrawn");
            }
            self.queue.changed(Wakes::POD_GONE);
        }
    }
    /// Sets PodScheduled to false, if that says something new, and the nominated node.
    pub async fn condition(&self, pod: &Pod, reason: &str, message: &str, promise: Promise) {
        let said = pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == "PodScheduled");
        let same = said.is_some_and(|c| c.status == "False" && c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message));
        if same && promise == Promise::Keep {
            return;
        }
        let mut status = json!({"conditions": [not_scheduled(pod, said, reason, message, &self.clock.seconds().to_string())]});
        match promise {
            Promise::Keep => {}
            Promise::Set(node) => status["nominatedNodeName"] = node.into(),
            Promise::Withdraw => status["nominatedNodeName"] = skiff_json::Value::Null,
        }
        let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        if let Err(e) = self.client.patch_status::<Pod>(namespace, name, PatchBody::strategic(&json!({"status": status}))).await {
            tracing::debug!(target: "scheduler", pod = name, error = %e, "condition not written");
        }
    }
}

/// The condition of a pod that has no node, since when it says so, and of which generation.
fn not_scheduled(pod: &Pod, said: Option<&PodCondition>, reason: &str, message: &str, now: &str) -> skiff_json::Value {
    let since = said
        .filter(|c| c.status == "False")
        .and_then(|c| c.last_transition_time.as_ref())
        .map_or_else(|| now.to_owned(), |t| skiff_meta::Timestamp(t.0.as_second()).to_string());
    json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastTransitionTime": since, "observedGeneration": pod.metadata.generation})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_tells_its_generation_and_keeps_its_time() {
        let pod: Pod = skiff_json::from_value(json!({"metadata": {"generation": 3}})).unwrap();
        let first = not_scheduled(&pod, None, "Unschedulable", "m", "2026-01-01T00:00:09Z");
        assert_eq!(
            first,
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m", "lastTransitionTime": "2026-01-01T00:00:09Z", "observedGeneration": 3})
        );
        let said: PodCondition = skiff_json::from_value(first).unwrap();
        let again = not_scheduled(&pod, Some(&said), "Unschedulable", "other", "2026-01-01T00:00:20Z");
        assert_eq!((&again["lastTransitionTime"], &again["message"]), (&json!("2026-01-01T00:00:09Z"), &json!("other")));
    }
}
