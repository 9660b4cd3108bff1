//! The `local-path` provisioner that k3s users expect: a folder on the node where the first pod runs.
//!
//! The server makes the volume object; the node's agent makes the folder when it mounts it (DirectoryOrCreate) and, by
//! [`reclaim_on_node`], removes it when the volume is released and its policy is Delete.
use super::binder::SELECTED_NODE;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_client::{Client, DeleteOptions, Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Informers, Typed, split_key};
use skiff_json::json;
use skiff_meta::{Reason, Status};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// The provisioner's name in StorageClasses, as in k3s.
pub const PROVISIONER: &str = "rancher.io/local-path";
/// The annotation by which a node says where its local-path volumes are.
pub const STORAGE_PATH: &str = "skiff.dev/local-storage-path";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const HOSTNAME: &str = "kubernetes.io/hostname";

struct Local {
    deps: Deps,
    claims: Typed<PersistentVolumeClaim>,
    classes: Typed<StorageClass>,
    nodes: Typed<Node>,
}

pub(crate) fn start(deps: Deps) -> Started {
    let (claims, classes, nodes) = (deps.informers.of::<PersistentVolumeClaim>(), deps.informers.of::<StorageClass>(), deps.informers.of::<Node>());
    let queue = Queue::new();
    let q = queue.clone();
    claims.subscribe(move |c| q.add(c.key()));
    (queue, Arc::new(Local { deps, claims, classes, nodes }))
}

#[async_trait]
impl Reconcile for Local {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let (namespace, name) = split_key(key);
        let Some(claim) = self.claims.get(namespace, name).filter(|c| c.metadata.deletion_timestamp.is_none()) else { return Ok(Action::Done) };
        let spec = claim.spec.clone().unwrap_or_default();
        if spec.volume_name.as_deref().is_some_and(|v| !v.is_empty()) {
            return Ok(Action::Done);
        }
        let Some(class) = spec.storage_class_name.as_deref().and_then(|c| self.classes.get("", c)).filter(|c| c.provisioner == PROVISIONER) else {
            return Ok(Action::Done);
        };
        let Some(node) = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE)) else { return Ok(Action::Done) };
        let regarding = Regarding::of(&claim);
        if spec.access_modes.iter().flatten().any(|m| m == "ReadWriteMany" || m == "ReadOnlyMany") {
            let why = "failed to provision volume with StorageClass \"local-path\": NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes";
            self.deps.recorder.warning(&regarding, "ProvisioningFailed", why);
            return Ok(Action::Done);
        }
        let volume = self.volume(&claim, &class, node);
        let created = self.deps.client.create_bytes(Target::new(resource_of::<PersistentVolume>(), "", ""), volume.to_string()).await;
        match created {
            Err(e) if e.is(Reason::AlreadyExists) => {}
            Err(e) => {
                self.deps.recorder.warning(&regarding, "ProvisioningFailed", e.to_string());
                return Err(e).at("create volume for", key);
            }
            Ok(_) => {
                let name = volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                self.deps.recorder.normal(&regarding, "ProvisioningSucceeded", format!("Successfully provisioned volume {name}"));
            }
        }
        Ok(Action::Done)
    }
}

impl Local {
    /// The folder of volumes on that node.
    fn root(&self, node: &str) -> PathBuf {
        let told = self.nodes.get("", node).and_then(|n| n.metadata.annotations?.remove(STORAGE_PATH)).map(PathBuf::from);
        told.filter(|p| p.is_absolute()).unwrap_or_else(|| self.deps.settings.local_path.clone())
    }
    fn volume(&self, claim: &PersistentVolumeClaim, class: &StorageClass, node: &str) -> skiff_json::Value {
        let m = &claim.metadata;
        let (namespace, name, uid) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default(), m.uid.as_deref().unwrap_or_default());
        let volume = format!("pvc-{uid}");
        let path = self.root(node).join(format!("{volume}_{namespace}_{name}"));
        let spec = claim.spec.clone().unwrap_or_default();
        let storage = skiff_sched::fit::asked(claim).to_string();
        json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": volume, "annotations": {PROVISIONED_BY: PROVISIONER, "local.path.provisioner/selected-node": node}},
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": spec.access_modes,
            "volumeMode": spec.volume_mode,
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.metadata.name,
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": uid},
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node]}]}]}}
        }})
    }
}

/// Removes folders of released volumes on this node, then the volumes. Runs beside the node agent until `shutdown`.
/// Only folders directly below `root` are ever touched.
pub async fn reclaim_on_node(client: Client, informers: Informers, node: String, root: PathBuf, shutdown: CancellationToken) {
    let volumes = informers.of::<PersistentVolume>();
    let queue = Queue::new();
    let q = queue.clone();
    volumes.subscribe(move |c| q.add(c.key()));
    let r = Arc::new(Reclaim { client, volumes, node, root });
    skiff_controller::run("local-path-reclaim", queue, 1, r, shutdown).await;
}

struct Reclaim {
    client: Client,
    volumes: Typed<PersistentVolume>,
    node: String,
    root: PathBuf,
}

/// The folder to remove, if the volume is ours, released, to be deleted, on this node, and the folder is one of ours.
fn doomed(v: &PersistentVolume, node: &str, root: &Path) -> Option<PathBuf> {
    let (spec, notes) = (v.spec.as_ref()?, v.metadata.annotations.as_ref()?);
    let released = v.status.as_ref()?.phase.as_deref() == Some("Released");
    let ours = notes.get(PROVISIONED_BY).is_some_and(|p| p == PROVISIONER) && notes.get("local.path.provisioner/selected-node").is_some_and(|n| n == node);
    let path = PathBuf::from(&spec.host_path.as_ref()?.path);
    let below = path.parent() == Some(root) && path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pvc-"));
    (released && ours && below && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")).then_some(path)
}

#[async_trait]
impl Reconcile for Reclaim {
    async fn reconcile(&self, name: &str) -> Result<Action, Failed> {
        let Some(path) = self.volumes.get("", name).and_then(|v| doomed(&v, &self.node, &self.root)) else { return Ok(Action::Done) };
        match tokio::fs::remove_dir_all(&path).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Status::internal(format!("remove {}: {e}", path.display()))).at("reclaim volume", name);
            }
            _ => self.client.delete::<PersistentVolume>("", name, &DeleteOptions::default()).await.at("delete volume", name)?,
        }
        Ok(Action::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn volume(path: &str, phase: &str) -> PersistentVolume {
        skiff_json::from_value(json!({"metadata": {"name": "v", "annotations": {PROVISIONED_BY: PROVISIONER, "local.path.provisioner/selected-node": "n"}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": path}}, "status": {"phase": phase}}))
        .unwrap()
    }
    #[test]
    fn only_our_released_folders_go() {
        let root = Path::new("/s");
        for (path, phase, node, goes) in [
            ("/s/pvc-1_a_b", "Released", "n", true),
            ("/s/pvc-1_a_b", "Bound", "n", false),
            ("/s/pvc-1_a_b", "Released", "m", false),
            ("/s/../etc/pvc-1", "Released", "n", false),
            ("/s/other", "Released", "n", false),
        ] {
            assert_eq!(doomed(&volume(path, phase), node, root).is_some(), goes, "{path} {phase}");
        }
    }
}
