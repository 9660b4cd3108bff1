//! Finalizers that keep claims in use by pods, and volumes in use by claims, from going.
use crate::edit::edit;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde::{Deserialize, de::IgnoredAny};
use skiff_client::{Object, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile};
use skiff_informer::{Row, Typed, key_of, split_key};
use skiff_json::json;
use skiff_meta::{Head, Reason, Status, unmanaged};
use std::sync::Arc;

const CLAIMS: &str = "kubernetes.io/pvc-protection";
const VOLUMES: &str = "kubernetes.io/pv-protection";

/// Adds the finalizer to what lives; takes it from what is being deleted and not in use.
pub(super) async fn keep<K: Object>(deps: &Deps, row: &Row, finalizer: &str, in_use: impl FnOnce() -> bool) -> Result<(), Status> {
    let head = Head::of(&row.bytes).map_err(Status::internal)?;
    let has = head.finalizers.iter().any(|f| f == finalizer);
    let wanted: Vec<String> = match (row.deleting, has) {
        (false, false) => head.finalizers.iter().cloned().chain([finalizer.to_owned()]).collect(),
        (true, true) if !in_use() => head.finalizers.iter().filter(|f| *f != finalizer).cloned().collect(),
        _ => return Ok(()),
    };
    let patch = json!({"metadata": {"finalizers": wanted, "resourceVersion": head.resource_version}});
    match edit(&deps.client, Target::new(resource_of::<K>(), row.namespace(), row.name()), &patch).await {
        Err(e) if e.is(Reason::NotFound) => Ok(()),
        other => other,
    }
}

struct Claims {
    deps: Deps,
    claims: Typed<PersistentVolumeClaim>,
    pods: Typed<Pod>,
}

/// As much of a pod as tells which claims it uses.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Using {
    spec: UsingSpec,
    status: UsingStatus,
}
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsingSpec {
    node_name: String,
    volumes: Option<Vec<UsingVolume>>,
}
#[derive(Default, Deserialize)]
#[serde(default)]
struct UsingStatus {
    phase: String,
}
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsingVolume {
    name: String,
    persistent_volume_claim: Option<UsingClaim>,
    ephemeral: Option<IgnoredAny>,
}
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsingClaim {
    claim_name: String,
}

/// Names of the claims that a pod uses, read from its bytes.
fn claims_of(row: &Row) -> Vec<String> {
    if !row.mentions("\"persistentVolumeClaim\"") && !row.mentions("\"ephemeral\"") {
        return Vec::new();
    }
    let Ok(pod) = skiff_json::from_slice::<Using>(&unmanaged(&row.bytes)) else { return Vec::new() };
    if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") || pod.spec.node_name.is_empty() {
        return Vec::new();
    }
    let of = |v: UsingVolume| match (v.persistent_volume_claim, v.ephemeral) {
        (Some(c), _) => Some(c.claim_name),
        (None, Some(_)) => Some(format!("{}-{}", row.name(), v.name)),
        _ => None,
    };
    pod.spec.volumes.unwrap_or_default().into_iter().filter_map(of).map(|c| key_of(row.namespace(), &c)).collect()
}

pub(crate) fn start_claims(deps: Deps) -> Started {
    let (claims, pods) = (deps.informers.of::<PersistentVolumeClaim>(), deps.informers.of::<Pod>());
    pods.index("claim", claims_of);
    let queue = Queue::new();
    let q = queue.clone();
    claims.subscribe(move |c| q.add(c.key()));
    let q = queue.clone();
    pods.subscribe(move |c| [&c.old, &c.new].into_iter().flatten().flat_map(|r| claims_of(r)).for_each(|k| q.add(k)));
    (queue, Arc::new(Claims { deps, claims, pods }))
}

#[async_trait]
impl Reconcile for Claims {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(row) = self.claims.row(namespace, name) else { return Ok(Action::Done) };
        let in_use = || !self.pods.indexed("claim", key).is_empty();
        keep::<PersistentVolumeClaim>(&self.deps, &row, CLAIMS, in_use).await.at("protect claim", key)?;
        Ok(Action::Done)
    }
}

struct Volumes {
    deps: Deps,
    volumes: Typed<PersistentVolume>,
}

pub(crate) fn start_volumes(deps: Deps) -> Started {
    let volumes = deps.informers.of::<PersistentVolume>();
    let queue = Queue::new();
    let q = queue.clone();
    volumes.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Volumes { deps, volumes }))
}

#[async_trait]
impl Reconcile for Volumes {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let Some(row) = self.volumes.row("", key) else { return Ok(Action::Done) };
        let bound = row.decode::<PersistentVolume>().ok().and_then(|v| v.status).and_then(|s| s.phase).is_some_and(|p| p == "Bound");
        keep::<PersistentVolume>(&self.deps, &row, VOLUMES, || bound).await.at("protect volume", key)?;
        Ok(Action::Done)
    }
}
