//! Scores: which of the nodes that fit is best. Each plug-in gives 0 to 100, times its weight.
use crate::facts::PodFacts;
use crate::filter::{Prepared, tolerates};
use crate::selector::term_matches;
use crate::snapshot::NodeState;

const MAX: f64 = 100.0;
const TAINTS: f64 = 3.0;
const NODE_AFFINITY: f64 = 2.0;
const SPREAD: f64 = 2.0;
const POD_AFFINITY: f64 = 2.0;

/// One score a node, in the order given. Higher is better.
pub(crate) fn scores(pod: &PodFacts, nodes: &[&NodeState], prepared: &Prepared) -> Vec<f64> {
    let mut total = vec![0.0; nodes.len()];
    let mut add = |weight: f64, raw: Vec<f64>| raw.into_iter().zip(&mut total).for_each(|(r, t)| *t += weight * r);
    add(1.0, nodes.iter().map(|n| least_allocated(pod, n)).collect());
    add(1.0, nodes.iter().map(|n| balanced(pod, n)).collect());
    add(1.0, nodes.iter().map(|n| images(pod, n, prepared)).collect());
    add(TAINTS, turned(scaled(nodes.iter().map(|n| intolerable(pod, n)).collect())));
    add(NODE_AFFINITY, scaled(nodes.iter().map(|n| preferred(pod, n)).collect()));
    if pod.spread.iter().any(|c| !c.hard) {
        let load: Vec<f64> = nodes.iter().map(|n| prepared.domains.load(pod, n).unwrap_or(f64::INFINITY)).collect();
        add(SPREAD, by_load(load));
    }
    if !prepared.pairs.scores.is_empty() {
        add(POD_AFFINITY, by_range(nodes.iter().map(|n| near(n, prepared)).collect()));
    }
    total
}

fn scaled(raw: Vec<f64>) -> Vec<f64> {
    let max = raw.iter().copied().fold(0.0, f64::max);
    if max == 0.0 { raw } else { raw.into_iter().map(|r| r / max * MAX).collect() }
}
fn turned(raw: Vec<f64>) -> Vec<f64> {
    raw.into_iter().map(|r| MAX - r).collect()
}
fn by_range(raw: Vec<f64>) -> Vec<f64> {
    let (min, max) = raw.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &r| (a.min(r), b.max(r)));
    raw.into_iter().map(|r| if max > min { MAX * (r - min) / (max - min) } else { 0.0 }).collect()
}
/// Low loads score high; nodes outside any domain score nothing.
fn by_load(load: Vec<f64>) -> Vec<f64> {
    let finite = || load.iter().copied().filter(|l| l.is_finite());
    let (min, max) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    load.iter()
        .map(|&l| {
            if !l.is_finite() {
                0.0
            } else if max == 0.0 {
                MAX
            } else {
                MAX * (max + min - l) / max
            }
        })
        .collect()
}

/// The share of CPU and memory that would stay free, as percent.
fn least_allocated(pod: &PodFacts, n: &NodeState) -> f64 {
    let free = |have: i64, used: i64, ask: i64| if have <= 0 || used + ask > have { 0.0 } else { (have - used - ask) as f64 / have as f64 * MAX };
    let a = &n.facts.allocatable;
    (free(a.milli_cpu, n.scored.milli_cpu, pod.scored.milli_cpu) + free(a.memory, n.scored.memory, pod.scored.memory)) / 2.0
}

/// How alike the used shares of CPU and memory would be.
fn balanced(pod: &PodFacts, n: &NodeState) -> f64 {
    let share = |have: i64, used: i64, ask: i64| if have <= 0 { 1.0 } else { ((used + ask) as f64 / have as f64).min(1.0) };
    let a = &n.facts.allocatable;
    let (c, m) = (share(a.milli_cpu, n.requested.milli_cpu, pod.requests.milli_cpu), share(a.memory, n.requested.memory, pod.requests.memory));
    (1.0 - (c - m).abs() / 2.0) * MAX
}

/// Bytes of the pod's images that are there already, between 23 MB and 1 GB a container; an image counts by the share
/// of nodes that have it, so that not all pods heap up where the first one pulled it.
fn images(pod: &PodFacts, n: &NodeState, prepared: &Prepared) -> f64 {
    const LOW: f64 = 23.0 * 1024.0 * 1024.0;
    const HIGH: f64 = 1000.0 * 1024.0 * 1024.0;
    let (on, nodes) = &prepared.images;
    let share = |i: &String| on.get(i).copied().unwrap_or(0) as f64 / (*nodes).max(1) as f64;
    let present: f64 = pod.images.iter().filter_map(|i| n.facts.images.get(i).map(|size| *size as f64 * share(i))).sum();
    let high = HIGH * pod.images.len().max(1) as f64;
    (present.clamp(LOW, high) - LOW) / (high - LOW) * MAX
}

fn intolerable(pod: &PodFacts, n: &NodeState) -> f64 {
    let soft = n.facts.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
    soft.filter(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint))).count() as f64
}

fn preferred(pod: &PodFacts, n: &NodeState) -> f64 {
    pod.preferred_nodes.iter().filter(|(_, t)| term_matches(t, &n.facts.labels, &n.facts.name)).map(|(w, _)| *w as f64).sum()
}

fn near(n: &NodeState, p: &Prepared) -> f64 {
    p.pairs.scores.iter().filter(|((k, v), _)| n.facts.labels.get(k) == Some(v)).map(|(_, w)| *w as f64).sum()
}
