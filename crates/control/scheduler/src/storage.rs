//! What is known of the claims of pods: of volumes, with the volumes that a decision has promised but not yet written
//! down, and of devices.
use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, Pod, TopologySelectorTerm};
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceClass, DeviceTaintRule, ResourceClaim, ResourceSlice};
use k8s_openapi::api::storage::v1::StorageClass;
use parking_lot::Mutex;
use skiff_informer::{Informers, Row, Typed, key_of};
use skiff_sched::{
    Candidate, Claim, ClaimState, Devices, NodeFacts, PodFacts, VolumeView,
    devices::{self, Inventory, Selectors, Unable},
    fit, zones,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// By the claim's uid.
type Given = Arc<Mutex<BTreeMap<String, AllocationResult>>>;
/// By node: claims with the devices that they would get there.
pub(crate) type Allocations = BTreeMap<String, Vec<(ResourceClaim, AllocationResult)>>;

pub(crate) struct Storage {
    pub claims: Typed<PersistentVolumeClaim>,
    pub volumes: Typed<PersistentVolume>,
    classes: Typed<StorageClass>,
    devices: Typed<ResourceClaim>,
    slices: Typed<ResourceSlice>,
    device_classes: Typed<DeviceClass>,
    taints: Typed<DeviceTaintRule>,
    selectors: Selectors,
    /// Devices that a decision has given and that are not written down yet, by the claim's uid.
    given: Given,
    /// Volume → the claim that it was promised to.
    promised: Arc<Mutex<BTreeMap<String, String>>>,
}

/// The class of a volume that a claim could still get.
fn class_of_free(row: &Row) -> Vec<String> {
    let Ok(v) = row.decode::<PersistentVolume>() else { return Vec::new() };
    let Some(spec) = v.spec else { return Vec::new() };
    let taken = spec.claim_ref.as_ref().is_some_and(|r| r.uid.as_deref().is_some_and(|u| !u.is_empty()));
    if taken { Vec::new() } else { vec![spec.storage_class_name.unwrap_or_default()] }
}

impl Storage {
    pub fn start(informers: &Informers, changed: impl Fn() + Clone + Send + 'static, devices_changed: impl Fn() + Clone + Send + 'static) -> Self {
        let (claims, volumes, classes, devices) =
            (informers.of::<PersistentVolumeClaim>(), informers.of::<PersistentVolume>(), informers.of::<StorageClass>(), informers.of::<ResourceClaim>());
        volumes.index("free by class", class_of_free);
        let promised: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let (kept, tell) = (promised.clone(), changed.clone());
        volumes.subscribe(move |c| {
            // The promise is written down, or void.
            if c.new.as_ref().is_none_or(|r| class_of_free(r).is_empty()) {
                kept.lock().remove(c.row().name());
            }
            tell();
        });
        let tell = changed.clone();
        claims.subscribe(move |_| tell());
        classes.subscribe(move |_| changed());
        let given = Given::default();
        let (kept, tell) = (given.clone(), devices_changed.clone());
        devices.subscribe(move |c| {
            // The devices are written down, or the claim is gone.
            let told = c.new.as_ref().is_none_or(|r| r.decode::<ResourceClaim>().is_ok_and(|c| c.status.is_some_and(|s| s.allocation.is_some())));
            if told {
                kept.lock().remove(c.row().uid.as_str());
            }
            tell();
        });
        let (slices, device_classes, taints) = (informers.of::<ResourceSlice>(), informers.of::<DeviceClass>(), informers.of::<DeviceTaintRule>());
        let (tell, of_classes) = (devices_changed.clone(), devices_changed.clone());
        slices.subscribe(move |_| tell());
        device_classes.subscribe(move |_| of_classes());
        taints.subscribe(move |_| devices_changed());
        Self { claims, volumes, classes, devices, slices, device_classes, taints, selectors: Selectors::default(), given, promised }
    }

    /// What is known of the claims that the pod names.
    pub fn view(&self, pod: &PodFacts) -> VolumeView {
        pod.claims.iter().map(|name| (key_of(&pod.namespace, name), self.claim(&pod.namespace, name))).collect()
    }
    pub fn promise(&self, volume: &str, claim: &str) {
        self.promised.lock().insert(volume.to_owned(), claim.to_owned());
    }
    pub fn withdraw(&self, volume: &str) {
        self.promised.lock().remove(volume);
    }

    fn claim(&self, namespace: &str, name: &str) -> Claim {
        let Some(c) = self.claims.get(namespace, name) else { return Claim::default() };
        let spec = c.spec.clone().unwrap_or_default();
        let exclusive = spec.access_modes.iter().flatten().any(|m| m == "ReadWriteOncePod");
        let phase = c.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let volume = spec.volume_name.as_deref().unwrap_or_default();
        let completed = c.metadata.annotations.iter().flatten().any(|(k, _)| k == "pv.kubernetes.io/bind-completed");
        let state = match volume {
            _ if phase == "Lost" => ClaimState::Lost { volume: volume.to_owned() },
            _ if c.metadata.deletion_timestamp.is_some() => ClaimState::Deleting,
            "" => self.unbound(&c),
            v if completed => self.bound(v),
            _ => ClaimState::Immediate,
        };
        Claim { state, exclusive }
    }
    fn bound(&self, volume: &str) -> ClaimState {
        match self.volumes.get("", volume) {
            None => ClaimState::NoVolume,
            Some(v) => ClaimState::Bound { zones: zones(&v.metadata.labels.clone().unwrap_or_default()), terms: terms(&v) },
        }
    }
    fn unbound(&self, c: &PersistentVolumeClaim) -> ClaimState {
        let name = c.spec.as_ref().and_then(|s| s.storage_class_name.as_deref()).unwrap_or_default();
        let Some(class) = self.classes.get("", name).filter(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")) else {
            return ClaimState::Immediate;
        };
        let own = key_of(c.metadata.namespace.as_deref().unwrap_or_default(), c.metadata.name.as_deref().unwrap_or_default());
        let promised = self.promised.lock().clone();
        let free = |v: &PersistentVolume| promised.get(v.metadata.name.as_deref().unwrap_or_default()).is_none_or(|c| *c == own);
        let mut all: Vec<PersistentVolume> = self.volumes.list_indexed("free by class", name);
        all.retain(|v| free(v) && fit::suits(v, c) && (fit::free(v) || fit::names(v, c)));
        // What names the claim already goes before all others.
        all.sort_by_key(|v| (!fit::names(v, c), fit::capacity(v)));
        let volumes = all.iter().map(|v| Candidate { volume: v.metadata.name.clone().unwrap_or_default(), terms: terms(v) }).collect();
        ClaimState::WaitsForPod {
            provisions: class.provisioner != NO_PROVISIONER,
            topologies: class.allowed_topologies.iter().flatten().map(topology).collect(),
            volumes,
        }
    }

    /// What is known of the devices that the pod claims, and what it could get on which of the nodes.
    pub fn devices(&self, pod: &Pod, nodes: impl FnOnce() -> Vec<Arc<NodeFacts>>) -> (Devices, Allocations) {
        let (mut d, mut open) = (Devices::default(), Vec::new());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for name in device_claims(pod) {
            let refusal = match name {
                Err(()) => format!("pod {:?}: ResourceClaim not created yet", key_of(namespace, pod.metadata.name.as_deref().unwrap_or_default())),
                Ok(name) => match self.devices.get(namespace, &name) {
                    None => format!("resourceclaim.resource.k8s.io {name:?} not found"),
                    Some(c) if c.metadata.deletion_timestamp.is_some() => format!("resourceclaim {name:?} is being deleted"),
                    Some(c) => {
                        let given = || self.given.lock().get(c.metadata.uid.as_deref().unwrap_or_default()).cloned();
                        match c.status.as_ref().and_then(|s| s.allocation.clone()).or_else(given) {
                            Some(a) => d.selectors.extend(a.node_selector.map(|s| s.node_selector_terms)),
                            None => open.push(c),
                        }
                        continue;
                    }
                },
            };
            d.refusal.get_or_insert(refusal);
        }
        if open.is_empty() || d.refusal.is_some() {
            return (d, Allocations::new());
        }
        match self.allocations(&open, &nodes()) {
            Ok(all) => {
                d.able = Some(all.keys().cloned().collect());
                (d, all)
            }
            Err(why) => {
                d.refusal = Some(why);
                (d, Allocations::new())
            }
        }
    }

    fn allocations(&self, open: &[ResourceClaim], nodes: &[Arc<NodeFacts>]) -> Result<Allocations, String> {
        let written = self.devices.all();
        let mut taken: BTreeSet<_> = written.iter().filter_map(|c| c.status.as_ref()?.allocation.as_ref()).flat_map(devices::taken).collect();
        taken.extend(self.given.lock().values().flat_map(devices::taken));
        let classes = self.device_classes.all().into_iter().filter_map(|c| Some((c.metadata.name.clone()?, c))).collect();
        let inventory = Inventory { slices: self.slices.all(), classes, taints: self.taints.all(), taken };
        let mut all = Allocations::new();
        for node in nodes {
            match devices::allocate(&inventory, open, node, &self.selectors) {
                Ok(found) => drop(all.insert(node.name.clone(), open.iter().cloned().zip(found).collect())),
                Err(Unable::Here) => {}
                Err(Unable::Wrong(why)) => return Err(why),
            }
        }
        Ok(all)
    }

    /// Devices count as taken from now on, until that is written down or [`Storage::take_back`] is called.
    pub fn give(&self, all: &[(ResourceClaim, AllocationResult)]) {
        let mut given = self.given.lock();
        given.extend(all.iter().filter_map(|(c, a)| Some((c.metadata.uid.clone()?, a.clone()))));
    }
    pub fn take_back(&self, all: &[(ResourceClaim, AllocationResult)]) {
        let mut given = self.given.lock();
        for uid in all.iter().filter_map(|(c, _)| c.metadata.uid.as_ref()) {
            given.remove(uid);
        }
    }
}

/// The ResourceClaims of a pod by name; Err for one that is not made yet.
pub(crate) fn device_claims(pod: &Pod) -> Vec<Result<String, ()>> {
    let known: Vec<_> = pod.status.iter().flat_map(|s| s.resource_claim_statuses.iter().flatten()).collect();
    let entries = pod.spec.iter().flat_map(|s| s.resource_claims.iter().flatten());
    let name = |e: &k8s_openapi::api::core::v1::PodResourceClaim| match &e.resource_claim_name {
        Some(n) => Some(Ok(n.clone())),
        // The status names no claim: none is needed.
        None => match known.iter().find(|s| s.name == e.name) {
            Some(s) => s.resource_claim_name.clone().map(Ok),
            None => Some(Err(())),
        },
    };
    entries.filter_map(name).collect()
}

fn terms(v: &PersistentVolume) -> Option<Vec<NodeSelectorTerm>> {
    v.spec.as_ref().and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.as_ref()).map(|r| r.node_selector_terms.clone())
}

fn topology(t: &TopologySelectorTerm) -> NodeSelectorTerm {
    let requirement = |e: &k8s_openapi::api::core::v1::TopologySelectorLabelRequirement| k8s_openapi::api::core::v1::NodeSelectorRequirement {
        key: e.key.clone(),
        operator: "In".into(),
        values: Some(e.values.clone()),
    };
    NodeSelectorTerm { match_expressions: Some(t.match_label_expressions.iter().flatten().map(requirement).collect()), match_fields: None }
}
