//! What is known of the cluster.
use crate::facts::{NodeFacts, PodFacts};
use crate::resources::Resources;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct NodeState {
    pub facts: Arc<NodeFacts>,
    /// By `namespace/name`.
    pub pods: BTreeMap<String, Arc<PodFacts>>,
    pub requested: Resources,
    pub scored: Resources,
}

impl NodeState {
    pub(crate) fn insert(&mut self, pod: Arc<PodFacts>) {
        self.remove(&pod.key());
        self.requested.add(&pod.requests);
        self.scored.add(&pod.scored);
        self.pods.insert(pod.key(), pod);
    }
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<PodFacts>> {
        let pod = self.pods.remove(key)?;
        self.requested.sub(&pod.requests);
        self.scored.sub(&pod.scored);
        Some(pod)
    }
}

/// Nodes and the pods on them, kept up to date pod by pod. Pods that are assumed (decided, not yet bound) are in it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeState>,
    /// Pod key → node, also of nodes that are not known (yet).
    places: BTreeMap<String, String>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Snapshot {
    /// Nodes that exist.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values().filter(|n| !n.facts.name.is_empty())
    }
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name).filter(|n| !n.facts.name.is_empty())
    }
    pub fn set_node(&mut self, facts: NodeFacts) {
        let name = facts.name.clone();
        self.nodes.entry(name).or_default().facts = Arc::new(facts);
    }
    pub fn remove_node(&mut self, name: &str) {
        let Some(n) = self.nodes.get_mut(name) else { return };
        if n.pods.is_empty() {
            self.nodes.remove(name);
        } else {
            n.facts = Arc::default();
        }
    }
    /// Puts a pod on `pod.node`; takes it away from where it was.
    pub fn set_pod(&mut self, pod: PodFacts) {
        self.remove_pod(&pod.key());
        self.places.insert(pod.key(), pod.node.clone());
        self.nodes.entry(pod.node.clone()).or_default().insert(Arc::new(pod));
    }
    pub fn remove_pod(&mut self, key: &str) {
        let Some(node) = self.places.remove(key) else { return };
        let Some(n) = self.nodes.get_mut(&node) else { return };
        n.remove(key);
        if n.pods.is_empty() && n.facts.name.is_empty() {
            self.nodes.remove(&node);
        }
    }
    pub fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(String::as_str)
    }
    pub(crate) fn replace_state(&mut self, state: NodeState) {
        self.nodes.insert(state.facts.name.clone(), state);
    }
}

impl PodFacts {
    pub(crate) fn has_pod_affinity(&self) -> bool {
        let t = &self.terms;
        !(t.near.is_empty() && t.apart.is_empty() && t.prefer_near.is_empty() && t.prefer_apart.is_empty())
    }
}
