//! Filters: why a node cannot take a pod.
use crate::affinity::Pairs;
use crate::facts::{NodeFacts, PodFacts};
use crate::selector::term_matches;
use crate::snapshot::{NodeState, Snapshot};
use crate::spread::Domains;
use crate::volumes::{self, Devices, VolumeView, devices_refuse};
use k8s_openapi::api::core::v1::{Taint, Toleration};
use std::collections::HashMap;

/// What could let a refused pod in: a set of kinds of change (KEP-4247).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes(u8);

impl Wakes {
    /// A node came or changed its labels, taints or capacity.
    pub const NODE: Self = Self(1);
    /// A pod left a node, or asks for less.
    pub const POD_GONE: Self = Self(2);
    /// A pod came to a node, or its labels changed.
    pub const POD_PLACED: Self = Self(4);
    /// A claim, a volume or a storage class.
    pub const STORAGE: Self = Self(8);
    /// Labels of a namespace.
    pub const NAMESPACE: Self = Self(16);
    /// A claim of devices.
    pub const DEVICES: Self = Self(32);
    pub const ALL: Self = Self(63);

    pub const fn and(self, o: Self) -> Self {
        Self(self.0 | o.0)
    }
    pub fn meets(self, o: Self) -> bool {
        self.0 & o.0 != 0
    }
}

/// What pod affinity and spread look at.
const PODS: Wakes = Wakes::NODE.and(Wakes::POD_GONE).and(Wakes::POD_PLACED).and(Wakes::NAMESPACE);

/// Why a node was refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub reasons: Vec<String>,
    /// Whether evicting pods could help.
    pub by_eviction: bool,
    pub wakes: Wakes,
}

impl Refusal {
    fn firm(reason: impl Into<String>, wakes: Wakes) -> Option<Self> {
        Some(Self { reasons: vec![reason.into()], by_eviction: false, wakes })
    }
    fn soft(reason: impl Into<String>, wakes: Wakes) -> Option<Self> {
        Some(Self { reasons: vec![reason.into()], by_eviction: true, wakes })
    }
}

/// What is computed once a pod, for all nodes.
pub(crate) struct Prepared {
    pub pairs: Pairs,
    pub domains: Domains,
    /// Image → on how many nodes it is; the number of nodes.
    pub images: (HashMap<String, usize>, usize),
}

impl Prepared {
    pub fn of(pod: &PodFacts, s: &Snapshot) -> Self {
        let on = |image: &String| s.nodes().filter(|n| n.facts.images.contains_key(image)).count();
        let images = pod.images.iter().map(|i| (i.clone(), on(i))).collect();
        Self { pairs: Pairs::of(pod, s), domains: Domains::of(pod, s), images: (images, s.nodes().count()) }
    }
    /// Whether pods that come or go on a node change it.
    pub fn follows_pods(&self, pod: &PodFacts) -> bool {
        !pod.spread.is_empty() || pod.has_pod_affinity() || self.pairs.keeps_out()
    }
}

pub(crate) fn tolerates(t: &Toleration, taint: &Taint) -> bool {
    let effect = t.effect.as_deref().unwrap_or_default();
    let key = t.key.as_deref().unwrap_or_default();
    let value = taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match t.operator.as_deref().unwrap_or("Equal") {
            "Exists" => true,
            "" | "Equal" => t.value.as_deref().unwrap_or_default() == value && !key.is_empty(),
            _ => false,
        }
}

/// The first taint of these effects that the pod does not tolerate.
pub(crate) fn untolerated<'a>(pod: &PodFacts, node: &'a NodeFacts, effects: &[&str]) -> Option<&'a Taint> {
    node.taints.iter().filter(|t| effects.contains(&t.effect.as_str())).find(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)))
}

pub(crate) fn affinity_fits(pod: &PodFacts, node: &NodeFacts) -> bool {
    pod.node_selector.iter().all(|(k, v)| node.labels.get(k) == Some(v))
        && pod.node_terms.as_ref().is_none_or(|ts| ts.iter().any(|t| term_matches(t, &node.labels, &node.name)))
}

/// The first plug-in's refusal, in upstream's order.
pub(crate) fn refuses(pod: &PodFacts, node: &NodeState, prepared: &Prepared, view: &VolumeView, devices: &Devices) -> Option<Refusal> {
    let facts = &node.facts;
    by_node(pod, facts)
        .or_else(|| {
            let taken = pod.ports.iter().any(|p| node.pods.values().any(|o| o.ports.iter().any(|q| p.clashes(q))));
            if taken { Refusal::soft("node(s) didn't have free ports for the requested pod ports", Wakes::NODE.and(Wakes::POD_GONE)) } else { None }
        })
        .or_else(|| resources(pod, node))
        .or_else(|| exclusive(pod, node, view))
        .or_else(|| volumes::refuses(pod, facts, view).and_then(|r| Refusal::firm(r, Wakes::NODE.and(Wakes::STORAGE))))
        .or_else(|| {
            let r = prepared.domains.refuses(pod, node)?;
            if r.contains("missing") { Refusal::firm(r, PODS) } else { Refusal::soft(r, PODS) }
        })
        .or_else(|| {
            let r = prepared.pairs.refuses(pod, &facts.labels)?;
            if r.ends_with("pod affinity rules") { Refusal::firm(r, PODS) } else { Refusal::soft(r, PODS) }
        })
        .or_else(|| devices_refuse(devices, facts).and_then(|r| Refusal::firm(r, Wakes::NODE.and(Wakes::DEVICES))))
}

fn by_node(pod: &PodFacts, facts: &NodeFacts) -> Option<Refusal> {
    let cordon = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Default::default() };
    if facts.unschedulable && !pod.tolerations.iter().any(|t| tolerates(t, &cordon)) {
        return Refusal::firm("node(s) were unschedulable", Wakes::NODE);
    }
    if untolerated(pod, facts, &["NoSchedule", "NoExecute"]).is_some() {
        return Refusal::firm("node(s) had untolerated taint(s)", Wakes::NODE);
    }
    if !affinity_fits(pod, facts) {
        return Refusal::firm("node(s) didn't match Pod's node affinity/selector", Wakes::NODE);
    }
    None
}

/// A claim with `ReadWriteOncePod` that another pod uses.
fn exclusive(pod: &PodFacts, node: &NodeState, view: &VolumeView) -> Option<Refusal> {
    let exclusive = |name: &String| view.get(&format!("{}/{name}", pod.namespace)).is_some_and(|c| c.exclusive);
    let used = |name: &String| node.pods.values().any(|o| o.namespace == pod.namespace && o.claims.contains(name));
    let clash = pod.claims.iter().any(|c| exclusive(c) && used(c));
    let why = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
    if clash { Refusal::soft(why, Wakes::POD_GONE.and(Wakes::STORAGE)) } else { None }
}

/// Every resource that is short, each with its reason.
fn resources(pod: &PodFacts, node: &NodeState) -> Option<Refusal> {
    let (ask, have, used) = (&pod.requests, &node.facts.allocatable, &node.requested);
    let mut reasons = Vec::new();
    let mut by_eviction = true;
    let mut check = |name: &str, ask: i64, have: i64, used: i64| {
        if ask > 0 && ask > have - used {
            reasons.push(format!("Insufficient {name}"));
            by_eviction &= ask <= have;
        }
    };
    check("cpu", ask.milli_cpu, have.milli_cpu, used.milli_cpu);
    check("memory", ask.memory, have.memory, used.memory);
    check("ephemeral-storage", ask.ephemeral, have.ephemeral, used.ephemeral);
    for (name, n) in &ask.extended {
        check(name, *n, have.extended.get(name).copied().unwrap_or(0), used.extended.get(name).copied().unwrap_or(0));
    }
    if node.pods.len() as i64 + 1 > node.facts.max_pods {
        reasons.insert(0, "Too many pods".into());
    }
    (!reasons.is_empty()).then_some(Refusal { reasons, by_eviction, wakes: Wakes::NODE.and(Wakes::POD_GONE) })
}
