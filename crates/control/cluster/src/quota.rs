//! What a ResourceQuota's namespace uses, in its status. Admission keeps it from being exceeded; this mends the count
//! when objects go.
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod usage;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use skiff_client::{ListParams, Target, resource_of};
use skiff_codec::{text_at, value_at};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Change, Selection, Typed, split_key};
use skiff_json::{Value, json};
use skiff_meta::{GroupVersionResource, LabelSelector, Quantity, Reason, Status};
use std::collections::BTreeMap;
use std::{sync::Arc, time::Duration};

/// Counts of kinds that are not watched are mended so often.
const RECOUNT: Duration = Duration::from_secs(10);
/// Kinds whose coming and going is counted at once; what a service or a claim uses changes with its content, too.
const WATCHED: [(&str, bool); 5] =
    [("configmaps", false), ("secrets", false), ("replicationcontrollers", false), ("services", true), ("persistentvolumeclaims", true)];

struct Quotas {
    deps: Deps,
    quotas: Typed<ResourceQuota>,
    pods: Typed<Pod>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (quotas, pods) = (deps.informers.of::<ResourceQuota>(), deps.informers.of::<Pod>());
    let queue = Queue::new();
    let q = queue.clone();
    quotas.subscribe(move |c| q.add(c.key()));
    let (q, all) = (queue.clone(), quotas.clone());
    let recount = move |c: &Change, counts: fn(&Change) -> bool| {
        let keys: Vec<_> = all.rows(c.row().namespace(), &LabelSelector::everything()).iter().map(|r| r.key.clone()).collect();
        if !keys.is_empty() && counts(c) {
            keys.into_iter().for_each(|k| q.add(k));
        }
    };
    let pod = recount.clone();
    pods.subscribe(move |c| pod(c, pod_counts));
    for (resource, by_content) in WATCHED {
        let recount = recount.clone();
        let informer = deps.informers.raw(Selection::of(GroupVersionResource::new("", "v1", resource)));
        let counts: fn(&Change) -> bool = if by_content { |_| true } else { |c| c.old.is_none() || c.new.is_none() };
        informer.subscribe(move |c| recount(c, counts));
    }
    (queue, Arc::new(Quotas { deps, quotas, pods }))
}

/// Pods count when they come, go, end, are resized or are about to go.
fn pod_counts(c: &Change) -> bool {
    let (Some(old), Some(new)) = (&c.old, &c.new) else { return true };
    let over = |r: &skiff_informer::Row| matches!(text_at(&r.bytes, &["status", "phase"]), Some("Succeeded" | "Failed"));
    over(new) || new.deleting || generation(old) != generation(new)
}

fn generation(r: &skiff_informer::Row) -> i64 {
    value_at(&r.bytes, &["metadata", "generation"]).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok()).unwrap_or_default()
}

#[async_trait]
impl Reconcile for Quotas {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(quota) = self.quotas.get(namespace, name) else { return Ok(Action::Done) };
        let hard = quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
        let mut used = BTreeMap::new();
        for resource in hard.keys() {
            let amount = self.used(&quota, namespace, resource).await.at("count for quota", key)?;
            used.insert(resource.clone(), amount.to_string());
        }
        let hard: BTreeMap<String, String> = hard.into_iter().map(|(k, q)| (k, q.0)).collect();
        let status = quota.status.clone().unwrap_or_default();
        let flat = |m: Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| -> BTreeMap<String, String> {
            m.unwrap_or_default().into_iter().map(|(k, q)| (k, q.0)).collect()
        };
        if flat(status.hard) != hard || flat(status.used) != used {
            self.write(key, json!({"hard": hard, "used": used})).await.at("write quota", key)?;
        }
        Ok(Action::RequeueAfter(RECOUNT))
    }
}

impl Quotas {
    /// Upstream's role lets this controller write the status and nothing else: what is written goes out of the watch.
    async fn write(&self, key: &str, status: Value) -> Result<(), Status> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.quotas.row(namespace, name) else { return Ok(()) };
        let mut v: Value = skiff_json::from_slice(&row.bytes).map_err(|e| Status::internal(format!("decode quota {key}: {e}")))?;
        v["status"] = status;
        let target = Target::new(resource_of::<ResourceQuota>(), namespace, name).sub("status");
        self.deps.client.update_bytes(target, v.to_string()).await.map(drop)
    }

    async fn used(&self, quota: &ResourceQuota, namespace: &str, resource: &str) -> Result<Quantity, Status> {
        if usage::counts_pods(resource) {
            let pods = self.pods.list(namespace, &LabelSelector::everything());
            return Ok(pods.iter().filter(|p| usage::in_scope(quota, p)).map(|p| usage::of_pod(p, resource)).sum());
        }
        let Some(counted) = usage::counted(resource, &(self.deps.settings.resources)()) else { return Ok(Quantity::ZERO) };
        let page = match self.deps.client.list_bytes(counted.resource.clone(), namespace, &ListParams::default()).await {
            Err(e) if e.is(Reason::NotFound) => return Ok(Quantity::ZERO),
            other => other?,
        };
        let scoped = page.items.iter().filter(|o| usage::object_in_scope(quota, &counted.resource.resource, o));
        Ok(scoped.map(|o| counted.of(o)).sum())
    }
}
