//! The snapshot, kept up to date by informers.
use crate::selectors::Selectors;
use crate::storage::Storage;
use crate::{NAME, PodQueue};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use parking_lot::Mutex;
use skiff_informer::{Change, ChangeKind, Informers, Typed};
use skiff_meta::LabelSelector;
use skiff_sched::{Budget, NodeFacts, PodFacts, Snapshot, Wakes, with_defaults};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) struct Cluster {
    pub snapshot: Arc<Mutex<Snapshot>>,
    pub pods: Typed<Pod>,
    pub storage: Storage,
    selectors: Selectors,
    budgets: Typed<PodDisruptionBudget>,
    /// Pods that were promised a node by preemption, by key.
    pub nominated: Nominated,
    /// Raised whenever a claim or volume changes.
    pub claims_changed: watch::Receiver<u64>,
}

/// By the pod's key.
pub(crate) type Nominated = Arc<Mutex<BTreeMap<String, PodFacts>>>;

impl Cluster {
    pub fn start(informers: &Informers, queue: PodQueue) -> Self {
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let (pods, nodes, namespaces) = (informers.of::<Pod>(), informers.of::<Node>(), informers.of::<Namespace>());
        let nominated = Nominated::default();
        let (s, q) = (snapshot.clone(), queue.clone());
        nodes.subscribe(move |c| node_changed(&s, &q, c));
        let (s, q) = (snapshot.clone(), queue.clone());
        namespaces.subscribe(move |c| namespace_changed(&s, &q, c));
        let (s, q, n) = (snapshot.clone(), queue.clone(), nominated.clone());
        pods.subscribe(move |c| pod_changed(&s, &q, &n, c));
        let (raise, claims_changed) = watch::channel(0);
        let raise = Arc::new(raise);
        let q = queue.clone();
        let changed = move || {
            raise.send_modify(|n| *n += 1);
            q.changed(Wakes::STORAGE);
        };
        let storage = Storage::start(informers, changed, move || queue.changed(Wakes::DEVICES));
        Self { snapshot, pods, storage, selectors: Selectors::start(informers), budgets: informers.of(), nominated, claims_changed }
    }

    /// The pod's facts, with the cluster's default spreading where it can matter.
    pub fn facts(&self, pod: &Pod) -> PodFacts {
        let facts = PodFacts::of(pod);
        let several = self.snapshot.lock().nodes().nth(1).is_some();
        if several { with_defaults(facts, &self.selectors.of(pod)) } else { facts }
    }
    pub fn budgets(&self) -> Vec<Budget> {
        let budget = |b: PodDisruptionBudget| {
            let spec = b.spec.unwrap_or_default();
            let selector = spec.selector.and_then(|s| skiff_json::to_value(s).ok());
            Budget {
                namespace: b.metadata.namespace.unwrap_or_default(),
                selector: LabelSelector::from_json(selector.as_ref()).unwrap_or_else(|_| LabelSelector::nothing()),
                allowed: b.status.as_ref().map_or(0, |s| s.disruptions_allowed.unwrap_or(0)),
                disrupted: b.status.and_then(|s| s.disrupted_pods).map(|m| m.into_keys().collect()).unwrap_or_default(),
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
                f.labels == facts.labels
                    && f.taints == facts.taints
                    && f.unschedulable == facts.unschedulable
                    && f.allocatable == facts.allocatable
                    && f.max_pods == facts.max_pods
            });
            s.set_node(facts);
            if same {
                return;
            }
        }
        (_, Err(e)) => return tracing::warn!(target: "scheduler", node = c.key(), error = %e, "node cannot be decoded"),
    }
    queue.changed(Wakes::NODE);
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
    queue.changed(Wakes::NAMESPACE);
}

fn pod_changed(snapshot: &Mutex<Snapshot>, queue: &PodQueue, nominated: &Nominated, c: &Change) {
    let (key, seen) = (c.key(), Glance(&c.row().bytes));
    if c.kind == ChangeKind::Deleted || seen.over() {
        queue.remove(key);
        let promised = nominated.lock().remove(key).is_some();
        let mut s = snapshot.lock();
        let placed = s.place(key).is_some();
        s.remove_pod(key);
        drop(s);
        if placed || promised {
            queue.changed(Wakes::POD_GONE);
        }
    } else if !seen.text(NODE).is_empty() {
        queue.remove(key);
        nominated.lock().remove(key);
        if let Some(facts) = facts_of(c) {
            let news = put(&mut snapshot.lock(), key, facts);
            queue.changed(news);
        }
    } else if seen.ours() && !c.row().deleting {
        let before = c.old.as_ref().map(|o| Glance(&o.bytes));
        follow_promise(nominated, key, (&seen, before.as_ref()), c);
        if before.is_none_or(|before| NEWS.iter().any(|path| before.at(path) != seen.at(path))) {
            queue.add(key, seen.at(PRIORITY).and_then(|p| skiff_json::from_slice(p).ok()).unwrap_or(0));
        }
    } else {
        nominated.lock().remove(key);
        queue.remove(key);
    }
}

type Path = [&'static str];
const NODE: &Path = &["spec", "nodeName"];
const SCHEDULER: &Path = &["spec", "schedulerName"];
const PRIORITY: &Path = &["spec", "priority"];
const PHASE: &Path = &["status", "phase"];
const NOMINATED: &Path = &["status", "nominatedNodeName"];
/// What gives a waiting pod another turn.
const NEWS: [&Path; 3] = [&["spec"], &["metadata", "labels"], &["status", "resourceClaimStatuses"]];

/// A stored pod, of which a few fields are looked at: decoding all of it would be most of an event's work.
struct Glance<'a>(&'a [u8]);

impl<'a> Glance<'a> {
    fn at(&self, path: &Path) -> Option<&'a [u8]> {
        skiff_codec::value_at(self.0, path)
    }
    fn text(&self, path: &Path) -> &'a str {
        skiff_codec::text_at(self.0, path).unwrap_or_default()
    }
    fn ours(&self) -> bool {
        self.at(SCHEDULER).is_none_or(|s| skiff_json::from_slice::<&str>(s).is_ok_and(|s| s == NAME))
    }
    fn over(&self) -> bool {
        matches!(self.text(PHASE), "Succeeded" | "Failed")
    }
}

fn facts_of(c: &Change) -> Option<PodFacts> {
    let told = |e| tracing::warn!(target: "scheduler", pod = c.key(), error = %e, "pod cannot be decoded");
    c.row().decode::<Pod>().map_err(told).ok().map(|p| PodFacts::of(&p))
}

/// Puts a bound pod into the snapshot; what that could help.
fn put(s: &mut Snapshot, key: &str, facts: PodFacts) -> Wakes {
    let known = s.place(key).filter(|n| *n == facts.node).and_then(|n| s.node(n)).and_then(|n| n.pods.get(key)).cloned();
    let news = match known {
        None => Wakes::POD_PLACED,
        // The confirmation of an assumed pod helps nobody; new labels, a resize or its leaving can.
        Some(k) if k.labels == facts.labels && k.requests == facts.requests && k.terminating == facts.terminating => Wakes::default(),
        Some(_) => Wakes::POD_PLACED.and(Wakes::POD_GONE),
    };
    s.set_pod(facts);
    news
}

/// Keeps what a pod's status says about its promised node. A promise that is not written yet is left alone.
fn follow_promise(nominated: &Nominated, key: &str, (seen, before): (&Glance<'_>, Option<&Glance<'_>>), c: &Change) {
    if !seen.text(NOMINATED).is_empty() {
        if let Some(facts) = facts_of(c) {
            nominated.lock().insert(key.to_owned(), facts);
        }
    } else if before.is_some_and(|b| !b.text(NOMINATED).is_empty()) {
        nominated.lock().remove(key);
    }
}
