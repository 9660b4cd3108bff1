//! Inter-pod affinity and anti-affinity.
use crate::facts::PodFacts;
use crate::selector;
use crate::snapshot::Snapshot;
use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm};
use skiff_meta::{LabelSelector, Requirement, SetOp};
use std::collections::{BTreeMap, HashMap};

/// One term: pods that `selector` selects in the namespaces, near by `key`.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub selector: LabelSelector,
    namespaces: Vec<String>,
    /// None: no namespace selector.
    by_namespace: Option<LabelSelector>,
    pub key: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub near: Vec<Term>,
    pub apart: Vec<Term>,
    pub prefer_near: Vec<(i32, Term)>,
    pub prefer_apart: Vec<(i32, Term)>,
}

impl Term {
    fn of(t: &PodAffinityTerm, namespace: &str, own: &BTreeMap<String, String>) -> Self {
        let mut sel = selector::labels(t.label_selector.as_ref());
        let mut add = |keys: &Option<Vec<String>>, op: SetOp| {
            for key in keys.iter().flatten() {
                if let Some(v) = own.get(key) {
                    sel.requirements.push(Requirement { key: key.clone(), op, values: vec![v.clone()] });
                }
            }
        };
        add(&t.match_label_keys, SetOp::In);
        add(&t.mismatch_label_keys, SetOp::NotIn);
        let mut namespaces = t.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && t.namespace_selector.is_none() {
            namespaces.push(namespace.to_owned());
        }
        Self { selector: sel, namespaces, by_namespace: t.namespace_selector.as_ref().map(|s| selector::labels(Some(s))), key: t.topology_key.clone() }
    }
    pub fn selects(&self, pod: &PodFacts, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> bool {
        let there = self.namespaces.contains(&pod.namespace)
            || self.by_namespace.as_ref().is_some_and(|s| s.is_everything() || namespaces.get(&pod.namespace).is_some_and(|l| s.matches(l)));
        there && self.selector.matches(&pod.labels)
    }
}

impl Terms {
    pub fn of(a: Option<&Affinity>, namespace: &str, own: &BTreeMap<String, String>) -> Self {
        let term = |t: &PodAffinityTerm| Term::of(t, namespace, own);
        let (near, apart) = (a.and_then(|a| a.pod_affinity.as_ref()), a.and_then(|a| a.pod_anti_affinity.as_ref()));
        let weighted = |t: &k8s_openapi::api::core::v1::WeightedPodAffinityTerm| (t.weight, term(&t.pod_affinity_term));
        Self {
            near: near.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten().map(term).collect(),
            apart: apart.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten().map(term).collect(),
            prefer_near: near.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten().map(weighted).collect(),
            prefer_apart: apart.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref()).into_iter().flatten().map(weighted).collect(),
        }
    }
}

/// Counts by (topology key, value) that decide whether a node fits and how well. Made once a pod.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Domains with a pod that all required terms select.
    near: HashMap<(String, String), u32>,
    /// For each required term of the other sort: domains with a pod that it selects.
    apart: Vec<HashMap<String, u32>>,
    /// Domains from which a pod that is there keeps this one away.
    kept_out: HashMap<(String, String), u32>,
    pub scores: HashMap<(String, String), i64>,
    first_of_its_kind: bool,
}

/// The weight of a hard affinity of the pods that are there (upstream's default).
const HARD_WEIGHT: i64 = 1;

impl Pairs {
    pub fn of(pod: &PodFacts, s: &Snapshot) -> Self {
        let t = &pod.terms;
        let mut p = Pairs { apart: vec![HashMap::new(); t.apart.len()], ..Default::default() };
        let own = !(t.near.is_empty() && t.apart.is_empty() && t.prefer_near.is_empty() && t.prefer_apart.is_empty());
        for node in s.nodes() {
            let labels = &node.facts.labels;
            for other in node.pods.values().filter(|o| own || o.has_pod_affinity()) {
                p.count(pod, other, labels, s);
            }
        }
        p.first_of_its_kind = p.near.is_empty() && t.near.iter().all(|t| t.selects(pod, &s.namespaces));
        p
    }
    fn count(&mut self, pod: &PodFacts, other: &PodFacts, labels: &BTreeMap<String, String>, s: &Snapshot) {
        let (mine, theirs, ns) = (&pod.terms, &other.terms, &s.namespaces);
        if !mine.near.is_empty() && mine.near.iter().all(|t| t.selects(other, ns)) {
            for term in &mine.near {
                if let Some(v) = labels.get(&term.key) {
                    *self.near.entry((term.key.clone(), v.clone())).or_default() += 1;
                }
            }
        }
        for (term, domains) in mine.apart.iter().zip(&mut self.apart) {
            if let Some(v) = labels.get(&term.key).filter(|_| term.selects(other, ns)) {
                *domains.entry(v.clone()).or_default() += 1;
            }
        }
        for term in theirs.apart.iter().filter(|t| t.selects(pod, ns)) {
            if let Some(v) = labels.get(&term.key) {
                *self.kept_out.entry((term.key.clone(), v.clone())).or_default() += 1;
            }
        }
        let mut score = |term: &Term, weight: i64, selected: &PodFacts| {
            if let Some(v) = labels.get(&term.key).filter(|_| term.selects(selected, ns)) {
                *self.scores.entry((term.key.clone(), v.clone())).or_default() += weight;
            }
        };
        mine.prefer_near.iter().for_each(|(w, t)| score(t, *w as i64, other));
        mine.prefer_apart.iter().for_each(|(w, t)| score(t, -(*w as i64), other));
        theirs.near.iter().for_each(|t| score(t, HARD_WEIGHT, pod));
        theirs.prefer_near.iter().for_each(|(w, t)| score(t, *w as i64, pod));
        theirs.prefer_apart.iter().for_each(|(w, t)| score(t, -(*w as i64), pod));
    }
    /// Whether a pod that is there keeps this one away from somewhere.
    pub fn keeps_out(&self) -> bool {
        !self.kept_out.is_empty()
    }
    /// Why the node does not fit, if so.
    pub fn refuses(&self, pod: &PodFacts, labels: &BTreeMap<String, String>) -> Option<&'static str> {
        let in_domain = |key: &str, m: &HashMap<String, u32>| labels.get(key).is_some_and(|v| m.contains_key(v));
        let keyed = pod.terms.near.iter().all(|t| labels.contains_key(&t.key));
        let there = |t: &Term| labels.get(&t.key).is_some_and(|v| self.near.contains_key(&(t.key.clone(), v.clone())));
        let near = keyed && (self.first_of_its_kind || pod.terms.near.iter().all(there));
        if !pod.terms.near.is_empty() && !near {
            return Some("node(s) didn't match pod affinity rules");
        }
        if pod.terms.apart.iter().zip(&self.apart).any(|(t, m)| in_domain(&t.key, m)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        if self.kept_out.keys().any(|(k, v)| labels.get(k) == Some(v)) {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        None
    }
}
