//! Whether a pod's volumes let it run on a node.
use crate::facts::{NodeFacts, PodFacts};
use crate::selector::term_matches;
use k8s_openapi::api::core::v1::NodeSelectorTerm;
use std::collections::BTreeMap;

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
    /// Unbound with `WaitForFirstConsumer`: any node whose labels fit the class's topologies.
    WaitsForPod { topologies: Vec<NodeSelectorTerm> },
    /// Bound to a volume with this node affinity (None: everywhere).
    Bound { terms: Option<Vec<NodeSelectorTerm>> },
    /// Bound to a volume that is gone, or lost.
    Lost,
    Deleting,
}

/// Claims by `namespace/name`.
pub type VolumeView = BTreeMap<String, Claim>;

/// A reason that holds for every node.
pub(crate) fn refuses_all(pod: &PodFacts, view: &VolumeView) -> Option<String> {
    for name in &pod.claims {
        match view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) {
            None | Some(ClaimState::Missing) => return Some(format!("persistentvolumeclaim {name:?} not found")),
            Some(ClaimState::Deleting) => return Some(format!("persistentvolumeclaim {name:?} is being deleted")),
            Some(ClaimState::Immediate) => return Some("pod has unbound immediate PersistentVolumeClaims".into()),
            Some(ClaimState::Lost) => return Some(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume")),
            _ => {}
        }
    }
    None
}

pub(crate) fn refuses(pod: &PodFacts, node: &NodeFacts, view: &VolumeView) -> Option<&'static str> {
    for name in &pod.claims {
        let fits = |terms: &[NodeSelectorTerm]| terms.iter().any(|t| term_matches(t, &node.labels, &node.name));
        match view.get(&format!("{}/{name}", pod.namespace)).map(|c| &c.state) {
            Some(ClaimState::Bound { terms: Some(t) }) if !fits(t) => return Some("node(s) didn't match PersistentVolume's node affinity"),
            Some(ClaimState::WaitsForPod { topologies }) if !topologies.is_empty() && !fits(topologies) => return Some("node(s) didn't find available persistent volumes to bind"),
            _ => {}
        }
    }
    None
}
