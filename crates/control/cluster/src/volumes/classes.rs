//! VolumeAttributesClasses that a volume or a claim uses stay (KEP-3751).
use super::protect::keep;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Row, Typed};
use std::sync::Arc;

const FINALIZER: &str = "kubernetes.io/vac-protection";

struct Classes {
    deps: Deps,
    classes: Typed<VolumeAttributesClass>,
    claims: Typed<PersistentVolumeClaim>,
    volumes: Typed<PersistentVolume>,
}

fn of_claim(row: &Row) -> Vec<String> {
    let Ok(c) = row.decode::<PersistentVolumeClaim>() else { return Vec::new() };
    let wanted = c.spec.and_then(|s| s.volume_attributes_class_name);
    let status = c.status.unwrap_or_default();
    let modifying = status.modify_volume_status.and_then(|m| m.target_volume_attributes_class_name);
    [wanted, status.current_volume_attributes_class_name, modifying].into_iter().flatten().filter(|n| !n.is_empty()).collect()
}
fn of_volume(row: &Row) -> Vec<String> {
    let class = row.decode::<PersistentVolume>().ok().and_then(|v| v.spec).and_then(|s| s.volume_attributes_class_name);
    class.into_iter().filter(|n| !n.is_empty()).collect()
}

pub(crate) fn start(deps: Deps) -> Started {
    let (classes, claims, volumes) =
        (deps.informers.of::<VolumeAttributesClass>(), deps.informers.of::<PersistentVolumeClaim>(), deps.informers.of::<PersistentVolume>());
    claims.index("attributes class", of_claim);
    volumes.index("attributes class", of_volume);
    let queue = Queue::new();
    let q = queue.clone();
    classes.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    claims.subscribe(move |c| c.old.iter().flat_map(|r| of_claim(r)).for_each(|k| q.add(k)));
    let q = queue.clone();
    volumes.subscribe(move |c| c.old.iter().flat_map(|r| of_volume(r)).for_each(|k| q.add(k)));
    (queue, Arc::new(Classes { deps, classes, claims, volumes }))
}

#[async_trait]
impl Reconcile for Classes {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(row) = self.classes.row("", name) else { return Ok(Action::Done) };
        let in_use = || !self.claims.indexed("attributes class", name).is_empty() || !self.volumes.indexed("attributes class", name).is_empty();
        keep::<VolumeAttributesClass>(&self.deps, &row, FINALIZER, in_use).await.at("protect volume attributes class", name)?;
        Ok(Action::Done)
    }
}
