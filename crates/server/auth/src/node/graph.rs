//! Which node may read what, because of the pods bound to it: counted by object and node, so a question is one look-up.
use super::references::{PersistentVolume, Pod};
use skiff_store::{Entry, Event, EventKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const PODS: &str = "pods/";
pub(super) const VOLUMES: &str = "persistentvolumes/";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Account,
    ResourceClaim,
    Volume,
    // The rest names its node itself and is not in the graph.
    Pod,
    Attachment,
    Slice,
    PodCertificate,
}

/// Kind, namespace, name.
type Object = (Kind, Arc<str>, Arc<str>);

#[derive(Default)]
pub(super) struct Graph {
    /// How many pods of a node need the object.
    needs: HashMap<Object, HashMap<Arc<str>, u32>>,
    pods: HashMap<Arc<str>, (Arc<str>, Vec<Object>)>,
    /// The claim that a volume is bound to, and the secrets that it takes.
    volumes: HashMap<Arc<str>, (Object, Vec<Object>)>,
    /// Volumes by the secrets that they take.
    takers: HashMap<Object, HashSet<Arc<str>>>,
}

impl Graph {
    pub fn of(entries: impl Iterator<Item = Entry>) -> Self {
        let mut graph = Self::default();
        entries.for_each(|e| graph.put(&e));
        graph
    }
    pub fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Deleted => self.remove(&event.entry),
            _ => self.put(&event.entry),
        }
    }
    pub fn reaches(&self, kind: Kind, namespace: &str, name: &str, node: &str) -> bool {
        let needed = |object: &Object| self.needs.get(object).is_some_and(|nodes| nodes.contains_key(node));
        let volume = |name: &str| self.volumes.get(name).is_some_and(|(claim, _)| needed(claim));
        let object = (kind, namespace.into(), name.into());
        match kind {
            Kind::Volume => volume(name),
            Kind::Secret => needed(&object) || self.takers.get(&object).is_some_and(|volumes| volumes.iter().any(|v| volume(v))),
            _ => needed(&object),
        }
    }
    fn put(&mut self, entry: &Entry) {
        self.remove(entry);
        if entry.key.starts_with(PODS) { self.put_pod(entry) } else { self.put_volume(entry) }
    }
    fn put_pod(&mut self, entry: &Entry) {
        let Some(pod) = skiff_json::from_slice::<Pod>(&entry.bytes).ok().filter(|p| !p.spec.node_name.is_empty()) else { return };
        let node: Arc<str> = pod.spec.node_name.as_str().into();
        let namespace: Arc<str> = entry.namespace().into();
        let r = pod.references();
        let lists = [
            (Kind::Secret, r.secrets),
            (Kind::ConfigMap, r.config_maps),
            (Kind::Claim, r.claims),
            (Kind::Account, r.accounts),
            (Kind::ResourceClaim, r.resource_claims),
        ];
        let objects: Vec<Object> = lists
            .into_iter()
            .flat_map(|(kind, names)| names.into_iter().map(move |n| (kind, n)))
            .map(|(kind, n)| (kind, namespace.clone(), n.into()))
            .collect();
        for object in &objects {
            *self.needs.entry(object.clone()).or_default().entry(node.clone()).or_default() += 1;
        }
        self.pods.insert(entry.key.clone(), (node, objects));
    }
    fn put_volume(&mut self, entry: &Entry) {
        let Ok(volume) = skiff_json::from_slice::<PersistentVolume>(&entry.bytes) else { return };
        let secrets: Vec<Object> = volume.spec.secrets().into_iter().map(|(ns, n)| (Kind::Secret, ns.into(), n.into())).collect();
        let Some(claim) = volume.spec.claim_ref else { return };
        let name: Arc<str> = entry.name().into();
        for secret in &secrets {
            self.takers.entry(secret.clone()).or_default().insert(name.clone());
        }
        self.volumes.insert(name, ((Kind::Claim, claim.namespace.into(), claim.name.into()), secrets));
    }
    fn remove(&mut self, entry: &Entry) {
        if let Some((node, objects)) = self.pods.remove(&entry.key) {
            for object in objects {
                self.release(&object, &node);
            }
        } else if let Some((_, secrets)) = entry.key.strip_prefix(VOLUMES).and_then(|_| self.volumes.remove(entry.name())) {
            for secret in secrets {
                if let Some(takers) = self.takers.get_mut(&secret) {
                    takers.remove(entry.name());
                    if takers.is_empty() {
                        self.takers.remove(&secret);
                    }
                }
            }
        }
    }
    fn release(&mut self, object: &Object, node: &str) {
        let Some(nodes) = self.needs.get_mut(object) else { return };
        match nodes.get_mut(node) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(nodes.remove(node)),
        }
        if nodes.is_empty() {
            self.needs.remove(object);
        }
    }
}
