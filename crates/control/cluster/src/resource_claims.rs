//! ResourceClaims of pods: made from templates, reserved only by pods that still run, and removed with their pod
//! (KEP-4381). Which devices a claim gets is the scheduler's business.
mod plan;

use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use skiff_client::{DeleteOptions, PatchBody, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Row, Typed, key_of, split_key};
use skiff_json::{Value, json};
use std::sync::Arc;

const MANAGER: &str = "resource_claim_controller";

struct Claims {
    deps: Deps,
    pods: Typed<Pod>,
    claims: Typed<ResourceClaim>,
    templates: Typed<ResourceClaimTemplate>,
}

fn asks(row: &Row) -> bool {
    row.mentions("\"resourceClaims\"")
}

/// Keys are `pod|ns/name` and `claim|ns/name`.
pub(crate) fn start(deps: Deps) -> Started {
    let (pods, claims, templates) = (deps.informers.of::<Pod>(), deps.informers.of::<ResourceClaim>(), deps.informers.of::<ResourceClaimTemplate>());
    pods.index("resource claims", |r| if asks(r) { vec![r.namespace().to_owned()] } else { Vec::new() });
    let queue = Queue::new();
    let (q, all) = (queue.clone(), claims.clone());
    pods.subscribe(move |c| {
        if !asks(c.row()) {
            return;
        }
        q.add(format!("pod|{}", c.key()));
        for claim in all.all().iter().filter(|x| plan::concerns(x, &c.row().uid.to_string())) {
            q.add(format!("claim|{}", claim_key(claim)));
        }
    });
    let q = queue.clone();
    claims.subscribe(move |c| q.add(format!("claim|{}", c.key())));
    let (q, all) = (queue.clone(), pods.clone());
    templates.subscribe(move |c| all.indexed("resource claims", c.row().namespace()).iter().for_each(|r| q.add(format!("pod|{}", r.key))));
    (queue, Arc::new(Claims { deps, pods, claims, templates }))
}

fn claim_key(c: &ResourceClaim) -> String {
    key_of(c.metadata.namespace.as_deref().unwrap_or_default(), c.metadata.name.as_deref().unwrap_or_default())
}

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        match key.split_once('|') {
            Some(("pod", k)) => self.pod(k).await?,
            Some(("claim", k)) => self.claim(k).await?,
            _ => {}
        }
        Ok(Action::Done)
    }
}

impl Claims {
    /// Makes the claims that the pod lacks and says in its status which they are.
    async fn pod(&self, key: &str) -> Result<(), Failed> {
        let (namespace, name) = split_key(key);
        let Some(pod) = self.pods.get(namespace, name).filter(|p| !plan::done(p)) else { return Ok(()) };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut statuses = Vec::new();
        let mut news = false;
        for (entry, template) in plan::templated(&pod) {
            if let Some(known) = plan::known(&pod, &entry) {
                statuses.push(json!({"name": entry, "resourceClaimName": known}));
                continue;
            }
            let owned = self.claims.all().into_iter().find(|c| plan::made_for(c, &pod, &entry)).and_then(|c| c.metadata.name);
            let claim = match owned {
                Some(name) => name,
                None => match self.make(&pod, &entry, &template).await? {
                    Some(name) => name,
                    None => continue,
                },
            };
            news = true;
            statuses.push(json!({"name": entry, "resourceClaimName": claim}));
        }
        if news {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid}, "status": {"resourceClaimStatuses": statuses}});
            self.deps.client.patch_status::<Pod>(namespace, name, PatchBody::apply(&body, MANAGER)).await.at("tell of resource claims of pod", key)?;
        }
        Ok(())
    }

    /// None when there is no such template yet.
    async fn make(&self, pod: &Pod, entry: &str, template: &str) -> Result<Option<String>, Failed> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let Some(t) = self.templates.get(namespace, template) else {
            self.deps.recorder.warning(
                &Regarding::of(pod),
                "FailedResourceClaimCreation",
                format!("PodResourceClaim {entry}: resource claim template {template:?}: resourceclaimtemplate.resource.k8s.io {template:?} not found"),
            );
            return Ok(None);
        };
        let target = Target::new(resource_of::<ResourceClaim>(), namespace, "");
        let made = self
            .deps
            .client
            .create_bytes(target, plan::claim(pod, entry, &t).to_string())
            .await
            .at("make resource claim for pod", pod.metadata.name.as_deref().unwrap_or_default())?;
        let v: Value = skiff_json::from_slice(&made).unwrap_or_default();
        Ok(v["metadata"]["name"].as_str().map(str::to_owned))
    }

    /// Takes pods that are over out of the claim's reservations; gives the devices back when nobody is left.
    async fn claim(&self, key: &str) -> Result<(), Failed> {
        let (namespace, name) = split_key(key);
        let Some(claim) = self.claims.get(namespace, name) else { return Ok(()) };
        let alive = |pod: &str, uid: &str| self.pods.get(namespace, pod).is_some_and(|p| p.metadata.uid.as_deref() == Some(uid) && !plan::done(&p));
        if let Some(status) = plan::released(&claim, &alive) {
            let change = json!({"metadata": {"resourceVersion": claim.metadata.resource_version}, "status": status});
            let target = Target::new(resource_of::<ResourceClaim>(), namespace, name).sub("status");
            crate::edit::edit(&self.deps.client, target, &change).await.at("release resource claim", key)?;
            return Ok(());
        }
        if plan::unprotected(&claim) {
            let rest: Vec<&String> = claim.metadata.finalizers.iter().flatten().filter(|f| *f != plan::FINALIZER).collect();
            let change = json!({"metadata": {"resourceVersion": claim.metadata.resource_version, "finalizers": rest}});
            crate::edit::edit(&self.deps.client, Target::new(resource_of::<ResourceClaim>(), namespace, name), &change)
                .await
                .at("let go of resource claim", key)?;
        }
        if claim.metadata.deletion_timestamp.is_none()
            && plan::owner(&claim).is_some_and(|(pod, uid)| self.pods.row(namespace, &pod).is_some() && !alive(&pod, &uid))
        {
            self.deps.client.delete::<ResourceClaim>(namespace, name, &DeleteOptions::default()).await.at("remove resource claim", key)?;
        }
        Ok(())
    }
}
