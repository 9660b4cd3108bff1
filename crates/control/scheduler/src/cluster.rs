//! The snapshot, kept up to date by informers.
use crate::{NAME, PodQueue};
use k8s_openapi::api::core::v1::{Namespace, Node, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use parking_lot::Mutex;
use skiff_informer::{Change, ChangeKind, Informers, Typed};
use skiff_meta::LabelSelector;
use skiff_sched::{Budget, Claim, ClaimState, NodeFacts, PodFacts, Snapshot, VolumeView};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) struct Cluster {
    pub snapshot: Arc<Mutex<Snapshot>>,
    pub pods: Typed<Pod>,
    pub claims: Typed<PersistentVolumeClaim>,
    volumes: Typed<PersistentVolume>,
    classes: Typed<StorageClass>,
    budgets: Typed<PodDisruptionBudget>,
    /// Pods that were promised a node by preemption, by key.
    pub nominated: Mutex<BTreeMap<String, PodFacts>>,
    /// Raised whenever a claim changes.
    pub claims_changed: watch::Receiver<u64>,
}

/// Whether the pod holds resources: it is bound and not over.
fn holds(pod: &Pod) -> bool {
    !over(pod) && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_some_and(|n| !n.is_empty())
}
fn over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

impl Cluster {
    pub fn start(informers: &Informers, queue: PodQueue) -> Self {
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let (pods, nodes, namespaces) = (informers.of::<Pod>(), informers.of::<Node>(), informers.of::<Namespace>());
        let claims = informers.of::<PersistentVolumeClaim>();
        let volumes = informers.of::<PersistentVolume>();
        let classes = informers.of::<StorageClass>();
        let (s, q) = (snapshot.clone(), queue.clone());
        nodes.subscribe(move |c| node_changed(&s, &q, c));
        let (s, q) = (snapshot.clone(), queue.clone());
        namespaces.subscribe(move |c| namespace_changed(&s, &q, c));
        let (s, q) = (snapshot.clone(), queue.clone());
        pods.subscribe(move |c| pod_changed(&s, &q, c));
        let (raise, claims_changed) = watch::channel(0);
        let q = queue.clone();
        claims.subscribe(move |_| {
            raise.send_modify(|n| *n += 1);
            q.changed();
        });
        let q = queue.clone();
        volumes.subscribe(move |_| q.changed());
        classes.subscribe(move |_| queue.changed());
        Self { snapshot, pods, claims, volumes, classes, budgets: informers.of(), nominated: Mutex::default(), claims_changed }
    }

    /// What is known of the claims that the pod names.
    pub fn view(&self, pod: &PodFacts) -> VolumeView {
        pod.claims.iter().map(|name| (format!("{}/{name}", pod.namespace), self.claim(&pod.namespace, name))).collect()
    }
    fn claim(&self, namespace: &str, name: &str) -> Claim {
        let Some(c) = self.claims.get(namespace, name) else { return Claim::default() };
        let spec = c.spec.unwrap_or_default();
        let exclusive = spec.access_modes.iter().flatten().any(|m| m == "ReadWriteOncePod");
        let bound = c.status.and_then(|s| s.phase).is_some_and(|p| p == "Bound");
        let state = match spec.volume_name.as_deref().filter(|v| !v.is_empty()) {
            _ if c.metadata.deletion_timestamp.is_some() && !bound => ClaimState::Deleting,
            Some(volume) => match self.volumes.get("", volume) {
                Some(v) => ClaimState::Bound { terms: v.spec.and_then(|s| s.node_affinity).and_then(|a| a.required).map(|r| r.node_selector_terms) },
                None => ClaimState::Lost,
            },
            None => self.unbound(spec.storage_class_name.as_deref().unwrap_or_default()),
        };
        Claim { state, exclusive }
    }
    fn unbound(&self, class: &str) -> ClaimState {
        let Some(class) = self.classes.get("", class) else { return ClaimState::Immediate };
        if class.volume_binding_mode.as_deref() != Some("WaitForFirstConsumer") {
            return ClaimState::Immediate;
        }
        let term = |t: &k8s_openapi::api::core::v1::TopologySelectorTerm| {
            let requirement = |e: &k8s_openapi::api::core::v1::TopologySelectorLabelRequirement| k8s_openapi::api::core::v1::NodeSelectorRequirement {
                key: e.key.clone(),
                operator: "In".into(),
                values: Some(e.values.clone()),
            };
            NodeSelectorTerm { match_expressions: Some(t.match_label_expressions.iter().flatten().map(requirement).collect()), match_fields: None }
        };
        ClaimState::WaitsForPod { topologies: class.allowed_topologies.iter().flatten().map(term).collect() }
    }
    pub fn budgets(&self) -> Vec<Budget> {
        let budget = |b: PodDisruptionBudget| {
            let spec = b.spec.unwrap_or_default();
            let selector = spec.selector.and_then(|s| serde_json::to_value(s).ok());
            Budget {
                namespace: b.metadata.namespace.unwrap_or_default(),
                selector: LabelSelector::from_json(selector.as_ref()).unwrap_or_else(|_| LabelSelector::nothing()),
                allowed: b.status.map_or(0, |s| s.disruptions_allowed.unwrap_or(0)),
            }
        };
        self.budgets.all().into_iter().map(budget).collect()
    }
}

fn node_changed(snapshot: &Mutex<Snapshot>, queue: &PodQueue, c: &Change) {
    match (c.kind, c.row().decode::<Node>()) {
        (ChangeKind::Deleted, _) => snapshot.lock().remove_node(c.key()),
        (_, Ok(node)) => {
            let facts = NodeFacts::of(&node);
            let mut s = snapshot.lock();
            let same = s.node(&facts.name).is_some_and(|n| {
                let f = &n.facts;
                f.labels == facts.labels && f.taints == facts.taints && f.unschedulable == facts.unschedulable && f.allocatable == facts.allocatable && f.max_pods == facts.max_pods
            });
            s.set_node(facts);
            if same {
                return;
            }
        }
        (_, Err(e)) => return tracing::warn!(target: "scheduler", node = c.key(), error = %e, "node cannot be decoded"),
    }
    queue.changed();
}

fn namespace_changed(snapshot: &Mutex<Snapshot>, queue: &PodQueue, c: &Change) {
    let row = c.row();
    let labels: BTreeMap<String, String> = row.labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let mut s = snapshot.lock();
    if c.kind == ChangeKind::Deleted {
        s.namespaces.remove(row.name());
    } else if s.namespaces.insert(row.name().to_owned(), labels.clone()).as_ref() == Some(&labels) {
        return;
    }
    drop(s);
    queue.changed();
}

fn pod_changed(snapshot: &Mutex<Snapshot>, queue: &PodQueue, c: &Change) {
    let key = c.key();
    let pod = match c.row().decode::<Pod>() {
        Ok(p) => p,
        Err(e) => return tracing::warn!(target: "scheduler", pod = key, error = %e, "pod cannot be decoded"),
    };
    if c.kind == ChangeKind::Deleted || over(&pod) {
        queue.remove(key);
        snapshot.lock().remove_pod(key);
        return queue.changed();
    }
    if holds(&pod) {
        queue.remove(key);
        let facts = PodFacts::of(&pod);
        let known = {
            let mut s = snapshot.lock();
            let known = s.place(key) == Some(facts.node.as_str());
            s.set_pod(facts);
            known
        };
        // New labels or a resize can help others; the confirmation of an assumed pod cannot.
        if !known {
            queue.changed();
        }
    } else if pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref()).unwrap_or(NAME) == NAME && pod.metadata.deletion_timestamp.is_none() {
        let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
        let only_status = c.old.as_ref().and_then(|o| o.decode::<Pod>().ok()).is_some_and(|o| o.spec == pod.spec && o.metadata.labels == pod.metadata.labels);
        if !only_status {
            queue.add(key, priority);
        }
    } else {
        queue.remove(key);
    }
}
