//! Claims that ask for more than they have: volumes grow by the driver that made them, and the claim says so meanwhile.
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use skiff_controller::{Action, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, split_key};
use skiff_meta::Quantity;
use std::sync::Arc;

struct Expand {
    deps: Deps,
    claims: Typed<PersistentVolumeClaim>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let claims = deps.informers.of::<PersistentVolumeClaim>();
    let queue = Queue::new();
    let q = queue.clone();
    claims.subscribe(move |c| {
        let grows = |r: &skiff_informer::Row| r.decode::<PersistentVolumeClaim>().is_ok_and(|c| grows(&c));
        // Once when the wish appears, not at every later change.
        if c.new.as_deref().is_some_and(grows) && !c.old.as_deref().is_some_and(grows) {
            q.add(c.key());
        }
    });
    (queue, Arc::new(Expand { deps, claims }))
}

fn grows(c: &PersistentVolumeClaim) -> bool {
    let storage =
        |m: Option<&std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| m?.get("storage")?.0.parse::<Quantity>().ok();
    let asked = storage(c.spec.as_ref().and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()));
    let status = c.status.as_ref();
    let has = storage(status.and_then(|s| s.capacity.as_ref()));
    let bound = status.and_then(|s| s.phase.as_deref()) == Some("Bound");
    bound && matches!((asked, has), (Some(asked), Some(has)) if asked > has)
}

#[async_trait]
impl Reconcile for Expand {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        if let Some(claim) = self.claims.get(namespace, name).filter(grows) {
            self.deps.recorder.named("volume_expand").normal(
                &Regarding::of(&claim),
                "ExternalExpanding",
                "waiting for an external controller to expand this PVC",
            );
        }
        Ok(Action::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn a_larger_wish() {
        let claim = |phase: &str, asked: &str, has: &str| -> PersistentVolumeClaim {
            skiff_json::from_value(
                json!({"metadata": {}, "spec": {"resources": {"requests": {"storage": asked}}}, "status": {"phase": phase, "capacity": {"storage": has}}}),
            )
            .unwrap()
        };
        assert!(grows(&claim("Bound", "2Gi", "1Gi")));
        assert!(!grows(&claim("Bound", "1Gi", "1024Mi")));
        // A volume can be larger than what was asked for.
        assert!(!grows(&claim("Bound", "1Gi", "2Gi")));
        assert!(!grows(&claim("Pending", "2Gi", "1Gi")));
    }
}
