//! Filters: why a node cannot take a pod.
use crate::affinity::Pairs;
use crate::facts::{NodeFacts, PodFacts};
use crate::selector::term_matches;
use crate::snapshot::{NodeState, Snapshot};
use crate::spread::Domains;
use crate::volumes::{self, VolumeView};
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Why a node was refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub reasons: Vec<String>,
    /// Whether evicting pods could help.
    pub by_eviction: bool,
}

impl Refusal {
    fn firm(reason: impl Into<String>) -> Option<Self> {
        Some(Self { reasons: vec![reason.into()], by_eviction: false })
    }
    fn soft(reason: impl Into<String>) -> Option<Self> {
        Some(Self { reasons: vec![reason.into()], by_eviction: true })
    }
}

/// What is computed once a pod, for all nodes.
pub(crate) struct Prepared {
    pub pairs: Pairs,
    pub domains: Domains,
}

impl Prepared {
    pub fn of(pod: &PodFacts, s: &Snapshot) -> Self {
        Self { pairs: Pairs::of(pod, s), domains: Domains::of(pod, s) }
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
    pod.node_selector.iter().all(|(k, v)| node.labels.get(k) == Some(v)) && pod.node_terms.as_ref().is_none_or(|ts| ts.iter().any(|t| term_matches(t, &node.labels, &node.name)))
}

/// The first plug-in's refusal, in upstream's order.
pub(crate) fn refuses(pod: &PodFacts, node: &NodeState, prepared: &Prepared, view: &VolumeView) -> Option<Refusal> {
    let facts = &node.facts;
    let cordon = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Default::default() };
    if facts.unschedulable && !pod.tolerations.iter().any(|t| tolerates(t, &cordon)) {
        return Refusal::firm("node(s) were unschedulable");
    }
    if let Some(t) = untolerated(pod, facts, &["NoSchedule", "NoExecute"]) {
        let value = t.value.as_deref().unwrap_or_default();
        return Refusal::firm(format!("node(s) had untolerated taint {{{}: {value}}}", t.key));
    }
    if !affinity_fits(pod, facts) {
        return Refusal::firm("node(s) didn't match Pod's node affinity/selector");
    }
    if pod.ports.iter().any(|p| node.pods.values().any(|o| o.ports.iter().any(|q| p.clashes(q)))) {
        return Refusal::soft("node(s) didn't have free ports for the requested pod ports");
    }
    if let Some(r) = resources(pod, node) {
        return Some(r);
    }
    if let Some(r) = volumes::refuses(pod, facts, view) {
        return Refusal::firm(r);
    }
    let exclusive = |name: &String| view.get(&format!("{}/{name}", pod.namespace)).is_some_and(|c| c.exclusive);
    let used = |name: &String| node.pods.values().any(|o| o.namespace == pod.namespace && o.claims.contains(name));
    if pod.claims.iter().any(|c| exclusive(c) && used(c)) {
        return Refusal::soft("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode");
    }
    if let Some(r) = prepared.domains.refuses(pod, node) {
        return if r.contains("missing") { Refusal::firm(r) } else { Refusal::soft(r) };
    }
    prepared.pairs.refuses(pod, &facts.labels).and_then(|r| if r.ends_with("pod affinity rules") { Refusal::firm(r) } else { Refusal::soft(r) })
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
    (!reasons.is_empty()).then_some(Refusal { reasons, by_eviction })
}
