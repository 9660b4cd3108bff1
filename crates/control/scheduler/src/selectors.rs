//! What selects a pod together with its like: Services, and the set that owns it. Only for default spreading.
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Wire;
use parking_lot::Mutex;
use skiff_informer::{Change, Informers, Typed};
use skiff_meta::{LabelSelector, Requirement, SetOp};
use std::collections::BTreeMap;
use std::sync::Arc;

type Labels = BTreeMap<String, String>;

pub(crate) struct Selectors {
    /// Namespace → name → what it selects; never empty.
    services: Arc<Mutex<BTreeMap<String, BTreeMap<String, Labels>>>>,
    replicas: Typed<ReplicaSet>,
    stateful: Typed<StatefulSet>,
    controllers: Typed<ReplicationController>,
}

impl Selectors {
    pub fn start(informers: &Informers) -> Self {
        let services: Arc<Mutex<BTreeMap<String, BTreeMap<String, Labels>>>> = Arc::default();
        let known = services.clone();
        informers.of::<Service>().subscribe(move |c| service_changed(&mut known.lock(), c));
        Self { services, replicas: informers.of(), stateful: informers.of(), controllers: informers.of() }
    }

    pub fn of(&self, pod: &Pod) -> Vec<LabelSelector> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let selects = |s: &&Labels| s.iter().all(|(k, v)| labels.get(k) == Some(v));
        let mut all: Vec<LabelSelector> = self.services.lock().get(namespace).into_iter().flat_map(BTreeMap::values).filter(selects).map(of_labels).collect();
        let Some(owner) = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)) else { return all };
        let own = match owner.kind.as_str() {
            "ReplicaSet" => self.replicas.get(namespace, &owner.name).and_then(|o| of_wire(&o.spec.selector)),
            "StatefulSet" => self.stateful.get(namespace, &owner.name).and_then(|o| of_wire(&o.spec.selector)),
            "ReplicationController" => self.controllers.get(namespace, &owner.name).and_then(|o| o.spec).and_then(|s| s.selector).map(|s| of_labels(&s)),
            _ => None,
        };
        all.extend(own);
        all
    }
}

fn of_labels(labels: &Labels) -> LabelSelector {
    let mut s = LabelSelector::everything();
    s.requirements.extend(labels.iter().map(|(k, v)| Requirement { key: k.clone(), op: SetOp::In, values: vec![v.clone()] }));
    s
}
fn of_wire(selector: &Wire) -> Option<LabelSelector> {
    LabelSelector::from_json(skiff_json::to_value(selector).ok().as_ref()).ok()
}

fn service_changed(known: &mut BTreeMap<String, BTreeMap<String, Labels>>, c: &Change) {
    let row = c.row();
    let selector = c.new.as_ref().and_then(|r| r.decode::<Service>().ok()).and_then(|s| s.spec).and_then(|s| s.selector).unwrap_or_default();
    let of_namespace = known.entry(row.namespace().to_owned()).or_default();
    if selector.is_empty() {
        of_namespace.remove(row.name());
    } else {
        of_namespace.insert(row.name().to_owned(), selector);
    }
    if of_namespace.is_empty() {
        known.remove(row.namespace());
    }
}
