//! Binds claims to volumes and keeps both phases.
use crate::edit::edit;
use crate::run::{Deps, Started};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use skiff_client::{Target, resource_of};
use skiff_controller::{Action, At, Failed, Queue, Reconcile, Regarding};
use skiff_informer::{Typed, key_of, split_key};
use skiff_json::json;
use skiff_meta::{LabelSelector, Status};
use skiff_sched::fit::{capacity, choose, names, suits};
use std::sync::Arc;

pub(crate) const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub(crate) const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

struct Binder {
    deps: Deps,
    claims: Typed<PersistentVolumeClaim>,
    volumes: Typed<PersistentVolume>,
    classes: Typed<StorageClass>,
    /// One binding decision at a time, so that no volume is given twice.
    turn: tokio::sync::Mutex<()>,
}

/// Keys are `claim|ns/name` and `volume|name`.
pub(crate) fn start(deps: Deps) -> Started {
    let (claims, volumes, classes) =
        (deps.informers.of::<PersistentVolumeClaim>(), deps.informers.of::<PersistentVolume>(), deps.informers.of::<StorageClass>());
    let queue = Queue::new();
    let (q, all) = (queue.clone(), volumes.clone());
    claims.subscribe(move |c| {
        q.add(format!("claim|{}", c.key()));
        let (ns, name) = (c.row().namespace().to_owned(), c.row().name().to_owned());
        for v in all.all() {
            let r = v.spec.and_then(|s| s.claim_ref);
            if r.is_some_and(|r| r.namespace.as_deref() == Some(&*ns) && r.name.as_deref() == Some(&*name)) {
                q.add(format!("volume|{}", v.metadata.name.unwrap_or_default()));
            }
        }
    });
    let (q, all) = (queue.clone(), claims.clone());
    let wake_claims = move |q: &Queue| all.rows("", &LabelSelector::everything()).iter().for_each(|r| q.add(format!("claim|{}", r.key)));
    let (wake, q2) = (wake_claims.clone(), q.clone());
    volumes.subscribe(move |c| {
        q2.add(format!("volume|{}", c.key()));
        wake(&q2);
    });
    classes.subscribe(move |_| wake_claims(&q));
    (queue, Arc::new(Binder { deps, claims, volumes, classes, turn: Default::default() }))
}

#[async_trait]
impl Reconcile for Binder {
    async fn reconcile(&self, key: &str) -> Result<Action, Failed> {
        let _turn = self.turn.lock().await;
        match key.split_once('|') {
            Some(("claim", k)) => self.claim(k).await.at("bind claim", k)?,
            Some(("volume", name)) => self.volume(name).await.at("keep volume", name)?,
            _ => {}
        }
        Ok(Action::Done)
    }
}

impl Binder {
    async fn claim(&self, key: &str) -> Result<(), Status> {
        let (namespace, name) = split_key(key);
        // The informer can lag behind what this loop has just written.
        let Some(claim) =
            (if self.claims.row(namespace, name).is_some() { self.deps.client.find::<PersistentVolumeClaim>(namespace, name).await? } else { None })
        else {
            return Ok(());
        };
        let spec = claim.spec.clone().unwrap_or_default();
        if let Some(volume) = spec.volume_name.as_deref().filter(|v| !v.is_empty()) {
            return self.named(&claim, volume).await;
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let class = spec.storage_class_name.as_deref().and_then(|c| self.classes.get("", c));
        let waits = class.as_ref().is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
        let selected = annotation(&claim.metadata.annotations, SELECTED_NODE).is_some();
        let volumes: Vec<PersistentVolume> = self.deps.client.list("", &Default::default()).await?;
        let promised = volumes.iter().any(|v| names(v, &claim));
        if waits && !selected && !promised {
            self.tell(&claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
            return self.pending(&claim).await;
        }
        // A claim that waits for its pod gets what the scheduler promised it, or a new volume on the chosen node.
        let found = if waits { volumes.iter().find(|v| names(v, &claim) && suits(v, &claim)) } else { choose(&volumes, &claim) };
        if let Some(v) = found {
            return self.bind(&claim, v).await;
        }
        self.pending(&claim).await?;
        match class.as_ref().map(|c| c.provisioner.as_str()) {
            // Of upstream's own names none makes volumes here.
            Some(p) if p.starts_with("kubernetes.io/") => {
                self.events().warning(&Regarding::of(&claim), "ProvisioningFailed", format!("no volume plugin matched name: {p}"));
                Ok(())
            }
            Some(p) => self.ask_provisioner(&claim, p).await,
            None if spec.storage_class_name.as_deref().is_some_and(|c| !c.is_empty()) => {
                let name = spec.storage_class_name.as_deref().unwrap_or_default();
                self.events().warning(&Regarding::of(&claim), "ProvisioningFailed", format!("storageclass.storage.k8s.io {name:?} not found"));
                Ok(())
            }
            _ => {
                self.tell(&claim, "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
                Ok(())
            }
        }
    }
    /// The claim names its volume: finish the binding, or see that it is lost.
    async fn named(&self, claim: &PersistentVolumeClaim, volume: &str) -> Result<(), Status> {
        let completed = annotation(&claim.metadata.annotations, COMPLETED).is_some();
        match self.deps.client.find::<PersistentVolume>("", volume).await? {
            None if completed => self.phase(claim, "Lost", None).await,
            None => self.pending(claim).await,
            Some(v) => {
                let free = v.spec.as_ref().is_some_and(|s| s.claim_ref.is_none());
                if names(&v, claim) || (free && suits(&v, claim)) {
                    self.bind(claim, &v).await
                } else if completed {
                    self.phase(claim, "Lost", None).await
                } else {
                    self.pending(claim).await
                }
            }
        }
    }
    /// Volume first, then claim: a crash in between is mended by the next turn.
    async fn bind(&self, claim: &PersistentVolumeClaim, v: &PersistentVolume) -> Result<(), Status> {
        let volume = v.metadata.name.as_deref().unwrap_or_default();
        let m = &claim.metadata;
        let (namespace, name) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
        let referred = v.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).and_then(|r| r.uid.as_ref()) == m.uid.as_ref();
        if !referred {
            let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": m.uid, "resourceVersion": m.resource_version});
            let mut patch = json!({"metadata": {"resourceVersion": v.metadata.resource_version}, "spec": {"claimRef": reference}});
            if v.spec.as_ref().is_some_and(|s| s.claim_ref.is_none()) {
                patch["metadata"]["annotations"] = json!({BY_CONTROLLER: "yes"});
            }
            edit(&self.deps.client, Target::new(resource_of::<PersistentVolume>(), "", volume), &patch).await?;
        }
        if phase_of(&v.status.as_ref().and_then(|s| s.phase.clone())) != "Bound" {
            edit(&self.deps.client, Target::new(resource_of::<PersistentVolume>(), "", volume).sub("status"), &json!({"status": {"phase": "Bound"}})).await?;
        }
        let spec = claim.spec.clone().unwrap_or_default();
        if spec.volume_name.as_deref() != Some(volume) || annotation(&m.annotations, COMPLETED).is_none() {
            let mut notes = json!({COMPLETED: "yes"});
            if spec.volume_name.is_none() {
                notes[BY_CONTROLLER] = "yes".into();
            }
            let patch = json!({"metadata": {"resourceVersion": m.resource_version, "annotations": notes}, "spec": {"volumeName": volume}});
            edit(&self.deps.client, Target::new(resource_of::<PersistentVolumeClaim>(), namespace, name), &patch).await?;
        }
        self.phase(claim, "Bound", Some(v)).await
    }
    async fn pending(&self, claim: &PersistentVolumeClaim) -> Result<(), Status> {
        self.phase(claim, "Pending", None).await
    }
    async fn phase(&self, claim: &PersistentVolumeClaim, phase: &str, v: Option<&PersistentVolume>) -> Result<(), Status> {
        let status = claim.status.clone().unwrap_or_default();
        if phase_of(&status.phase) == phase && (v.is_none() || status.capacity.as_ref().is_some_and(|c| !c.is_empty())) {
            return Ok(());
        }
        let mut wanted = json!({"phase": phase});
        if let Some(v) = v {
            wanted["accessModes"] = json!(v.spec.as_ref().and_then(|s| s.access_modes.clone()));
            wanted["capacity"] = json!({"storage": capacity(v).to_string()});
        }
        let m = &claim.metadata;
        let (namespace, name) = (m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
        if phase == "Lost" {
            self.events().warning(&Regarding::of(claim), "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
        }
        edit(&self.deps.client, Target::new(resource_of::<PersistentVolumeClaim>(), namespace, name).sub("status"), &json!({"status": wanted})).await
    }
    /// Names the provisioner on the claim, as external provisioners expect it.
    async fn ask_provisioner(&self, claim: &PersistentVolumeClaim, provisioner: &str) -> Result<(), Status> {
        const KEY: &str = "volume.kubernetes.io/storage-provisioner";
        let m = &claim.metadata;
        if annotation(&m.annotations, KEY) == Some(provisioner) {
            return Ok(());
        }
        self.tell(claim, "ExternalProvisioning", &format!("Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."));
        let patch = json!({"metadata": {"annotations": {KEY: provisioner, "volume.beta.kubernetes.io/storage-provisioner": provisioner}}});
        edit(
            &self.deps.client,
            Target::new(resource_of::<PersistentVolumeClaim>(), m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default()),
            &patch,
        )
        .await
    }
    fn tell(&self, claim: &PersistentVolumeClaim, reason: &'static str, message: &str) {
        self.events().normal(&Regarding::of(claim), reason, message);
    }
    /// Events bear upstream's name of the controller, which is not that of its identity.
    fn events(&self) -> skiff_controller::Recorder {
        self.deps.recorder.named("persistentvolume-controller")
    }
    /// Keeps a volume's phase; releases it when its claim is gone.
    async fn volume(&self, name: &str) -> Result<(), Status> {
        let Some(v) = self.volumes.get("", name) else { return Ok(()) };
        let phase = phase_of(&v.status.as_ref().and_then(|s| s.phase.clone())).to_owned();
        let wanted = match v.spec.as_ref().and_then(|s| s.claim_ref.as_ref()) {
            None => "Available",
            Some(r) if r.uid.as_deref().unwrap_or_default().is_empty() => "Available",
            Some(r) => {
                let key = key_of(r.namespace.as_deref().unwrap_or_default(), r.name.as_deref().unwrap_or_default());
                let (ns, claim) = split_key(&key);
                let there = self.deps.client.find::<PersistentVolumeClaim>(ns, claim).await?;
                if there.is_some_and(|c| c.metadata.uid == r.uid) { "Bound" } else { "Released" }
            }
        };
        if phase != wanted && phase != "Failed" {
            edit(&self.deps.client, Target::new(resource_of::<PersistentVolume>(), "", name).sub("status"), &json!({"status": {"phase": wanted}})).await?;
        }
        Ok(())
    }
}

fn annotation<'a>(a: &'a Option<std::collections::BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    a.as_ref()?.get(key).map(String::as_str)
}
fn phase_of(p: &Option<String>) -> &str {
    p.as_deref().unwrap_or_default()
}
