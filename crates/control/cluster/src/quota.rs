//! What a ResourceQuota's namespace uses, in its status. Admission keeps it from being exceeded; this mends the count
//! when objects go.
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod usage;

use crate::edit::edit;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use serde_json::json;
use skiff_client::{ListParams, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Typed, split_key};
use skiff_meta::{LabelSelector, Quantity, Reason, Status};
use std::collections::BTreeMap;
use std::{sync::Arc, time::Duration};

/// Counts of other kinds are mended so often.
const RECOUNT: Duration = Duration::from_secs(10);

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
    pods.subscribe(move |c| {
        let over = |r: &skiff_informer::Row| r.bytes.windows(19).any(|w| w == b"\"phase\":\"Succeeded\"") || r.bytes.windows(16).any(|w| w == b"\"phase\":\"Failed\"");
        let counts = c.old.is_none() || c.new.as_ref().is_none_or(|n| over(n));
        if counts {
            all.rows(c.row().namespace(), &LabelSelector::everything()).iter().for_each(|r| q.add(r.key.clone()));
        }
    });
    (queue, Arc::new(Quotas { deps, quotas, pods }))
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
        let flat = |m: Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| -> BTreeMap<String, String> { m.unwrap_or_default().into_iter().map(|(k, q)| (k, q.0)).collect() };
        if flat(status.hard) != hard || flat(status.used) != used {
            let body = json!({"metadata": {"resourceVersion": quota.metadata.resource_version}, "status": {"hard": hard, "used": used}});
            let target = Target::new(resource_of::<ResourceQuota>(), namespace, name).sub("status");
            edit(&self.deps.client, target, &body).await.at("write quota", key)?;
        }
        Ok(Action::RequeueAfter(RECOUNT))
    }
}

impl Quotas {
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
        Ok(page.items.iter().map(|o| counted.of(o)).sum())
    }
}
