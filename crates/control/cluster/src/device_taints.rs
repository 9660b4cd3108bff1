//! Pods whose devices are tainted: evicted, at once or when their claim's toleration runs out; and what DeviceTaintRules say in
//! their status about that (KEP-5055).
mod plan;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{DeviceTaintRule, ResourceClaim, ResourceSlice};
use parking_lot::Mutex;
use plan::World;
use skiff_client::{DeleteOptions, PatchBody};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Row, Typed, split_key};
use skiff_json::json;
use skiff_meta::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const MANAGER: &str = "device-taint-eviction-controller";
const EVENT: &str = "DeviceTaintManagerEviction";
const WITH_CLAIMS: &str = "with claims of devices";
/// A rule's status changes no more often, in seconds.
const STATUS_EVERY: i64 = 10;

struct Taints {
    deps: Deps,
    pods: Typed<Pod>,
    claims: Typed<ResourceClaim>,
    slices: Typed<ResourceSlice>,
    rules: Typed<DeviceTaintRule>,
    /// Pods that are to go later.
    waiting: Mutex<BTreeSet<String>>,
    /// Pods that went because of a rule, by its uid.
    evicted: Mutex<BTreeMap<String, u64>>,
}

fn asks(row: &Row) -> bool {
    row.mentions("\"resourceClaims\"")
}

/// Keys are `pod|ns/name` and `rule|name`.
pub(crate) fn start(deps: Deps) -> Started {
    let (pods, claims) = (deps.informers.of::<Pod>(), deps.informers.of::<ResourceClaim>());
    let (slices, rules) = (deps.informers.of::<ResourceSlice>(), deps.informers.of::<DeviceTaintRule>());
    pods.index(WITH_CLAIMS, |r| if asks(r) { vec![String::new()] } else { Vec::new() });
    rules.index("all", |_| vec![String::new()]);
    let queue = Queue::new();
    let (q, p, r) = (queue.clone(), pods.clone(), rules.clone());
    let all = move || {
        p.indexed(WITH_CLAIMS, "").iter().for_each(|row| q.add(format!("pod|{}", row.key)));
        r.indexed("all", "").iter().for_each(|row| q.add(format!("rule|{}", row.key)));
    };
    let (q, r) = (queue.clone(), rules.clone());
    pods.subscribe(move |c| {
        if asks(c.row()) {
            q.add(format!("pod|{}", c.key()));
            r.indexed("all", "").iter().for_each(|row| q.add(format!("rule|{}", row.key)));
        }
    });
    let (of_claims, of_slices) = (all.clone(), all.clone());
    claims.subscribe(move |_| of_claims());
    slices.subscribe(move |_| of_slices());
    rules.subscribe(move |_| all());
    (queue, Arc::new(Taints { deps, pods, claims, slices, rules, waiting: Mutex::default(), evicted: Mutex::default() }))
}

#[async_trait]
impl Reconcile for Taints {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        match key.split_once('|') {
            Some(("pod", k)) => self.pod(k).await,
            Some(("rule", k)) => self.rule(k).await,
            _ => Ok(Action::Done),
        }
    }
}

impl Taints {
    fn world(&self) -> World {
        World { claims: self.claims.all(), slices: self.slices.all(), rules: self.rules.all() }
    }

    async fn pod(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(pod) = self.pods.get(namespace, name).filter(|p| p.metadata.deletion_timestamp.is_none()) else {
            self.waiting.lock().remove(key);
            return Ok(Action::Done);
        };
        let Some(eviction) = plan::eviction(&pod, &self.world(), None) else {
            if self.waiting.lock().remove(key) {
                self.deps.recorder.normal(&Regarding::of(&pod), EVENT, "Cancelling deletion".to_owned());
            }
            return Ok(Action::Done);
        };
        let left = eviction.at.saturating_sub(self.deps.clock.seconds().0);
        if left > 0 {
            self.waiting.lock().insert(key.to_owned());
            return Ok(Action::RequeueAfter(Duration::from_secs(left as u64)));
        }
        self.deps.recorder.normal(&Regarding::of(&pod), EVENT, "Marking for deletion".to_owned());
        let stamp = self.deps.clock.seconds().to_string();
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByDeviceTaintManager", "message": "Device Taint manager: deleting due to NoExecute taint", "lastTransitionTime": stamp});
        self.deps
            .client
            .patch_status::<Pod>(namespace, name, PatchBody::strategic(&json!({"status": {"conditions": [condition]}})))
            .await
            .at("mark pod", key)?;
        let options = DeleteOptions::default().uid(pod.metadata.uid.as_deref().unwrap_or_default());
        self.deps.client.delete::<Pod>(namespace, name, &options).await.at("evict pod", key)?;
        self.waiting.lock().remove(key);
        let mut evicted = self.evicted.lock();
        for rule in eviction.rules {
            *evicted.entry(rule).or_default() += 1;
        }
        Ok(Action::Done)
    }

    async fn rule(&self, name: &str) -> Result<Action, Failed> {
        let Some(rule) = self.rules.get("", name) else {
            let known: BTreeSet<String> = self.rules.all().into_iter().filter_map(|r| r.metadata.uid).collect();
            self.evicted.lock().retain(|uid, _| known.contains(uid));
            return Ok(Action::Done);
        };
        let (generation, now) = (rule.metadata.generation.unwrap_or_default(), self.deps.clock.seconds().0);
        let said = rule.status.iter().flat_map(|s| s.conditions.iter().flatten()).find(|c| c.type_ == plan::CONDITION);
        if let Some(c) = said.filter(|c| c.observed_generation == Some(generation)) {
            let since = now - c.last_transition_time.0.as_second();
            // What a rule without effect would do is told once.
            if c.reason == plan::NO_EFFECT {
                return Ok(Action::Done);
            }
            if since < STATUS_EVERY {
                return Ok(Action::RequeueAfter(Duration::from_secs((STATUS_EVERY - since).max(1) as u64)));
            }
        }
        let evicted = self.evicted.lock().get(rule.metadata.uid.as_deref().unwrap_or_default()).copied().unwrap_or_default();
        let finding = plan::finding(&rule, &self.world(), &self.pods.list_indexed(WITH_CLAIMS, ""), evicted);
        let status = if finding.pending { "True" } else { "False" };
        if said.is_some_and(|c| c.observed_generation == Some(generation) && c.status == status && c.reason == finding.reason && c.message == finding.message) {
            return Ok(Action::Done);
        }
        let condition = json!({"type": plan::CONDITION, "status": status, "reason": finding.reason, "message": finding.message, "observedGeneration": generation, "lastTransitionTime": Timestamp(now).to_string()});
        let body = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule", "metadata": {"name": name, "uid": rule.metadata.uid}, "status": {"conditions": [condition]}});
        self.deps
            .client
            .patch_status::<DeviceTaintRule>("", name, PatchBody::apply(&body, MANAGER))
            .await
            .at("tell of evictions by device taint rule", name)?;
        Ok(Action::Done)
    }
}
