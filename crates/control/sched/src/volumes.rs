//! Whether a pod's volumes and devices let it run on a node.
use crate::facts::{NodeFacts, PodFacts};
use crate::selector::term_matches;
use k8s_openapi::api::core::v1::NodeSelectorTerm;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one claim.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    pub state: ClaimState,
    /// `ReadWriteOncePod`.
    pub exclusive: bool,
}

#[derive(Clone, Debug, Default)]
pub enum ClaimState {
    #[default]
    Missing,
    /// Unbound with a class that binds at once: wait for the binder.
    Immediate,
    /// Unbound with `WaitForFirstConsumer`: a free volume that suits, or a new one on nodes of the class's topologies.
    WaitsForPod {
        provisions: bool,
        topologies: Vec<NodeSelectorTerm>,
        volumes: Vec<Candidate>,
    },
    /// Bound to a volume with this node affinity (None: everywhere), in these zones: label → values.
    Bound {
        terms: Option<Vec<NodeSelectorTerm>>,
        zones: Vec<(String, BTreeSet<String>)>,
    },
    /// Bound to a volume that is not there.
    NoVolume,
    /// The claim says that its volume is lost.
    Lost {
        volume: String,
    },
    Deleting,
}

/// A free volume that suits a claim, the smallest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub volume: String,
    pub terms: Option<Vec<NodeSelectorTerm>>,
}

/// Claims by `namespace/name`.
pub type VolumeView = BTreeMap<String, Claim>;

/// What is known of the devices that a pod claims (KEP-4381).
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// Why no node will do.
    pub refusal: Option<String>,
    /// Where the devices of claims that are allocated can be reached: all of these, each by any of its terms.
    pub selectors: Vec<Vec<NodeSelectorTerm>>,
    /// The nodes that have devices for the claims that have none yet; None: there are no such claims.
    pub able: Option<BTreeSet<String>>,
}

/// A reason that holds for every node.
pub(crate) fn refuses_all(pod: &PodFacts, view: &VolumeView) -> Option<String> {
    let mut immediate = false;
    for name in &pod.claims {
        match view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) {
            None | Some(ClaimState::Missing) if pod.ephemeral_claims.contains(name) => {
                return Some(format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"));
            }
            None | Some(ClaimState::Missing) => return Some(format!("persistentvolumeclaim {name:?} not found")),
            Some(ClaimState::Deleting) => return Some(format!("persistentvolumeclaim {name:?} is being deleted")),
            Some(ClaimState::Lost { volume }) => return Some(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}")),
            Some(ClaimState::Immediate) => immediate = true,
            _ => {}
        }
    }
    immediate.then(|| "pod has unbound immediate PersistentVolumeClaims".into())
}

fn fits(terms: &[NodeSelectorTerm], node: &NodeFacts) -> bool {
    terms.iter().any(|t| term_matches(t, &node.labels, &node.name))
}

/// Which claims are to be bound to which volumes when the pod goes to this node; None: to a new volume.
/// The error is the reason why the node will not do.
pub fn choose(pod: &PodFacts, node: &NodeFacts, view: &VolumeView) -> Result<Vec<(String, Option<String>)>, &'static str> {
    let (mut plan, mut used) = (Vec::new(), BTreeSet::new());
    for name in &pod.claims {
        let Some(ClaimState::WaitsForPod { provisions, topologies, volumes }) = view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) else {
            continue;
        };
        let there = volumes.iter().find(|c| !used.contains(&c.volume) && c.terms.as_deref().is_none_or(|t| fits(t, node)));
        match there {
            Some(c) => {
                used.insert(c.volume.clone());
                plan.push((name.clone(), Some(c.volume.clone())));
            }
            None if *provisions && (topologies.is_empty() || fits(topologies, node)) => plan.push((name.clone(), None)),
            None => return Err("node(s) didn't find available persistent volumes to bind"),
        }
    }
    Ok(plan)
}

pub(crate) fn refuses(pod: &PodFacts, node: &NodeFacts, view: &VolumeView) -> Option<&'static str> {
    for name in &pod.claims {
        match view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) {
            Some(ClaimState::NoVolume) => return Some("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
            Some(ClaimState::Bound { terms: Some(t), .. }) if !fits(t, node) => return Some("node(s) didn't match PersistentVolume's node affinity"),
            _ => {}
        }
    }
    if let Err(why) = choose(pod, node, view) {
        return Some(why);
    }
    for name in &pod.claims {
        let Some(ClaimState::Bound { zones, .. }) = view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) else { continue };
        // A node without any zone label takes volumes of every zone.
        let zoned = node.labels.keys().any(|k| ZONES.contains(&k.as_str()));
        if zoned && zones.iter().any(|(key, values)| node.labels.get(key).is_none_or(|v| !values.contains(v))) {
            return Some("node(s) had no available volume zone");
        }
    }
    None
}

/// Labels of nodes and volumes that name a zone or region.
pub(crate) const ZONES: [&str; 4] =
    ["topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"];

/// The zones that a volume's labels name; several in one value are joined by `__`.
pub fn zones(labels: &BTreeMap<String, String>) -> Vec<(String, BTreeSet<String>)> {
    let known = labels.iter().filter(|(k, _)| ZONES.contains(&k.as_str()));
    known.map(|(k, v)| (k.clone(), v.split("__").map(str::to_owned).collect())).collect()
}

pub(crate) fn devices_refuse(devices: &Devices, node: &NodeFacts) -> Option<&'static str> {
    if devices.selectors.iter().any(|terms| !fits(terms, node)) {
        return Some("resourceclaim not available on the node");
    }
    devices.able.as_ref().is_some_and(|able| !able.contains(&node.name)).then_some("cannot allocate all claims")
}
