//! The node's pods: one slot each, filled by the API and the manifest folder, worked by one task each.
use crate::agent::Agent;
use crate::worker;
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::{Mutex, RwLock};
use skiff_cri::SandboxId;
use skiff_informer::{Change, ChangeKind};
use skiff_pod::admit::Claim;
use skiff_pod::resize::Allotment;
use skiff_pod::view;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Phase, reason and message that end a pod from outside: evicted, preempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub phase: &'static str,
    pub reason: String,
    pub message: String,
}

/// One pod, as its worker and everyone who wakes it see it.
pub struct Slot {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pod: RwLock<Bytes>,
    /// How often the pod was replaced.
    version: AtomicU64,
    claimed: Mutex<Option<Claimed>>,
    /// Its object is no more: end it, whatever its last version says.
    gone: AtomicBool,
    wake: Notify,
    /// Cancelled when starting things for it makes no sense any more.
    pub ending: CancellationToken,
    pub verdict: Mutex<Option<Verdict>>,
    /// The status last decided, in JSON.
    pub status: RwLock<Bytes>,
    /// A static pod's mirror in the API.
    pub mirror_uid: Mutex<Option<String>>,
    pub is_static: bool,
    /// The worker has ended everything of it.
    pub terminated: AtomicBool,
    pub sandboxes: Mutex<Vec<SandboxId>>,
    /// What the node has given it; None until it is admitted.
    pub allotment: Mutex<Option<Allotment>>,
    /// It waits for others to leave room for its resize.
    pub deferred: AtomicBool,
}

/// A pod's claim on the node, and what it was made of.
struct Claimed {
    version: u64,
    allotment: Option<Allotment>,
    /// None where it claims nothing.
    claim: Option<Arc<Claim>>,
}

impl Slot {
    fn new(pod: &Pod, bytes: Bytes) -> Self {
        Self {
            uid: view::uid(pod).into(),
            namespace: view::namespace(pod).into(),
            name: view::name(pod).into(),
            pod: RwLock::new(bytes),
            version: AtomicU64::new(0),
            claimed: Mutex::default(),
            gone: AtomicBool::new(false),
            wake: Notify::new(),
            ending: CancellationToken::new(),
            verdict: Mutex::default(),
            status: RwLock::default(),
            mirror_uid: Mutex::default(),
            is_static: view::is_static(pod),
            terminated: AtomicBool::new(false),
            sandboxes: Mutex::default(),
            allotment: Mutex::default(),
            deferred: AtomicBool::new(false),
        }
    }
    pub fn wake(&self) {
        self.wake.notify_one();
    }
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
    pub fn bytes(&self) -> Bytes {
        self.pod.read().clone()
    }
    /// A typed view of the newest version.
    pub fn pod(&self) -> Option<Pod> {
        self.decoded(&self.bytes())
    }
    fn decoded(&self, bytes: &[u8]) -> Option<Pod> {
        skiff_json::from_slice(bytes)
            .map_err(|e| tracing::error!(target: "node", pod = self.name, namespace = self.namespace, error = %e, "pod cannot be decoded"))
            .ok()
    }
    fn update(&self, pod: &Pod, bytes: Bytes) {
        let old = self.pod();
        self.replace(bytes);
        if view::deleted(pod) {
            self.ending.cancel();
        }
        if old.is_none_or(|old| concerns(&old, pod)) {
            self.wake();
        }
    }
    fn replace(&self, bytes: Bytes) {
        let mut pod = self.pod.write();
        *pod = bytes;
        self.version.fetch_add(1, Ordering::Relaxed);
    }
    /// What it has of the node's room: as the node allotted it, from its admission to its end. Every admission asks all pods,
    /// so it is made once a version.
    fn claim(&self) -> Option<Arc<Claim>> {
        let (version, bytes) = {
            let pod = self.pod.read();
            (self.version.load(Ordering::Relaxed), pod.clone())
        };
        let allotment = self.allotment.lock().clone();
        let mut claimed = self.claimed.lock();
        if let Some(known) = claimed.as_ref().filter(|c| c.version == version && c.allotment == allotment) {
            return known.claim.clone();
        }
        let claim = self.decoded(&bytes).and_then(|pod| self.uses(pod, allotment.as_ref())).map(|pod| Arc::new(Claim::of(&pod)));
        *claimed = Some(Claimed { version, allotment, claim: claim.clone() });
        claim
    }
    /// The pod with what it was given, if it uses the node's room: it was admitted and hasn't finished.
    fn uses(&self, mut pod: Pod, allotment: Option<&Allotment>) -> Option<Pod> {
        if view::finished(&pod) {
            return None;
        }
        let admitted = allotment.map(|a| a.apply(&mut pod)).is_some();
        let started = || pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
        (admitted || started() || self.is_static).then_some(pod)
    }
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.ending.cancel();
        self.wake();
    }
    /// Ends the pod with this phase.
    pub fn evict(&self, verdict: Verdict) {
        *self.verdict.lock() = Some(verdict);
        self.ending.cancel();
        self.wake();
    }
}

/// Whether a change is more than the echo of the status that was sent from here.
fn concerns(old: &Pod, new: &Pod) -> bool {
    let (o, n) = (&old.metadata, &new.metadata);
    let gates = |p: &Pod| p.status.as_ref().and_then(|s| s.conditions.clone()).filter(|_| view::spec(p).readiness_gates.is_some());
    old.spec != new.spec
        || (&o.deletion_timestamp, o.deletion_grace_period_seconds) != (&n.deletion_timestamp, n.deletion_grace_period_seconds)
        || (&o.labels, &o.annotations) != (&n.labels, &n.annotations)
        || view::finished(old) != view::finished(new)
        || gates(old) != gates(new)
}

pub struct Pods {
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    manifests_read: watch::Sender<bool>,
    /// Held while a pod's wish is compared with what the others have.
    pub allotting: Mutex<()>,
}

impl Default for Pods {
    fn default() -> Self {
        Self { slots: Mutex::default(), manifests_read: watch::Sender::new(false), allotting: Mutex::default() }
    }
}

impl Pods {
    /// The manifest folder (if there is one) has been read once: all static pods have their slots.
    pub fn set_manifests_read(&self) {
        self.manifests_read.send_replace(true);
    }
    pub async fn manifests_read(&self) {
        let _ = self.manifests_read.subscribe().wait_for(|r| *r).await;
    }
    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().values().cloned().collect()
    }
    pub fn get(&self, uid: &str) -> Option<Arc<Slot>> {
        self.slots.lock().get(uid).cloned()
    }
    pub fn named(&self, namespace: &str, name: &str) -> Option<Arc<Slot>> {
        let slots = self.slots.lock();
        let mut all = slots.values().filter(|s| s.namespace == namespace && s.name == name);
        let first = all.next()?.clone();
        Some(all.find(|s| !s.is_gone()).cloned().unwrap_or(first))
    }
    pub fn remove(&self, uid: &str) {
        self.slots.lock().remove(uid);
    }
    pub fn of_sandbox(&self, id: &SandboxId) -> Option<Arc<Slot>> {
        self.slots.lock().values().find(|s| s.sandboxes.lock().contains(id)).cloned()
    }
    /// Pods that use the node's room, with what they were given: those that were admitted and haven't finished.
    pub fn active(&self, except: &str) -> Vec<Pod> {
        self.others(except).into_iter().filter_map(|s| s.uses(s.pod()?, s.allotment.lock().as_ref())).collect()
    }
    /// What these have of it.
    pub fn claims(&self, except: &str) -> Vec<Arc<Claim>> {
        self.others(except).iter().filter_map(|s| s.claim()).collect()
    }
    fn others(&self, except: &str) -> Vec<Arc<Slot>> {
        let mut all = self.all();
        all.retain(|s| s.uid != except && !s.terminated.load(Ordering::Acquire));
        all
    }
    /// Room was left: who waits for it looks again.
    pub fn room_left(&self) {
        self.all().iter().filter(|s| s.deferred.load(Ordering::Acquire)).for_each(|s| s.wake());
    }
}

impl Agent {
    /// A pod was added or changed; its first sight starts a worker.
    pub fn put_pod(self: &Arc<Self>, pod: &Pod, bytes: Bytes) {
        if view::is_mirror(pod) {
            if let Some(slot) = self.pods.named(view::namespace(pod), view::name(pod)).filter(|s| s.is_static) {
                *slot.mirror_uid.lock() = Some(view::uid(pod).to_owned());
                slot.wake();
            }
            return;
        }
        let mut slots = self.pods.slots.lock();
        match slots.get(view::uid(pod)) {
            Some(slot) => {
                let slot = slot.clone();
                drop(slots);
                slot.update(pod, bytes);
            }
            None => {
                let slot = Arc::new(Slot::new(pod, bytes));
                if view::deleted(pod) {
                    slot.ending.cancel();
                }
                slots.insert(slot.uid.clone(), slot.clone());
                drop(slots);
                worker::spawn(self.clone(), slot);
            }
        }
    }
    /// A change of the API's pods of this node.
    pub fn pod_changed(self: &Arc<Self>, change: &Change) {
        let row = change.row();
        let decode = || row.decode::<Pod>().map_err(|e| tracing::error!(target: "node", pod = &*row.key, error = %e, "pod cannot be decoded")).ok();
        let Some(pod) = decode() else { return };
        if change.kind == ChangeKind::Deleted {
            if view::is_mirror(&pod) {
                if let Some(slot) = self.pods.named(view::namespace(&pod), view::name(&pod)).filter(|s| s.is_static) {
                    *slot.mirror_uid.lock() = None;
                    slot.wake();
                }
            } else if let Some(slot) = self.pods.get(view::uid(&pod)) {
                // The last version carries the grace period that the object was removed with.
                slot.replace(row.bytes.clone());
                slot.set_gone();
            }
            return;
        }
        self.put_pod(&pod, row.bytes.clone());
    }
}
