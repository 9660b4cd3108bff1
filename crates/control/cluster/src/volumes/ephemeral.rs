//! Claims of generic ephemeral volumes: one a volume, owned by the pod.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use skiff_client::{Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, split_key};
use skiff_json::json;
use skiff_meta::Reason;
use std::sync::Arc;

struct Ephemeral {
    deps: Deps,
    pods: Typed<Pod>,
    claims: Typed<PersistentVolumeClaim>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (pods, claims) = (deps.informers.of::<Pod>(), deps.informers.of::<PersistentVolumeClaim>());
    let queue = Queue::new();
    let q = queue.clone();
    pods.subscribe(move |c| {
        if c.new.as_ref().is_some_and(|r| r.mentions("\"volumeClaimTemplate\"")) {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Ephemeral { deps, pods, claims }))
}

#[async_trait]
impl Reconcile for Ephemeral {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(pod) = self.pods.get(namespace, name).filter(|p| p.metadata.deletion_timestamp.is_none()) else { return Ok(Action::Done) };
        for v in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let Some(template) = v.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref()) else { continue };
            let claim = format!("{name}-{}", v.name);
            if let Some(there) = self.claims.get(namespace, &claim) {
                let ours = there.metadata.owner_references.iter().flatten().any(|o| Some(&o.uid) == pod.metadata.uid.as_ref());
                if !ours {
                    let why = format!("PVC {namespace}/{claim} was not created for pod {namespace}/{name} (pod is not owner)");
                    self.deps.recorder.warning(&Regarding::of(&pod), "FailedBinding", why);
                }
                continue;
            }
            let metadata = template.metadata.clone().unwrap_or_default();
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.metadata.uid, "controller": true, "blockOwnerDeletion": true});
            let mut meta = json!({"name": claim, "namespace": namespace, "ownerReferences": [owner]});
            if let Some(l) = metadata.labels {
                meta["labels"] = json!(l);
            }
            if let Some(a) = metadata.annotations {
                meta["annotations"] = json!(a);
            }
            let body = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": template.spec});
            match self.deps.client.create_bytes(Target::new(resource_of::<PersistentVolumeClaim>(), namespace, ""), body.to_string()).await {
                Err(e) if e.is(Reason::AlreadyExists) => {}
                other => other.map(drop).at("create claim of ephemeral volume", key)?,
            }
        }
        Ok(Action::Done)
    }
}
