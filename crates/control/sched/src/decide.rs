//! The decision for one pod.
use crate::facts::PodFacts;
use crate::filter::{Prepared, Refusal, Wakes, refuses};
use crate::score::scores;
use crate::snapshot::{NodeState, Snapshot};
use crate::volumes::{self, Devices, VolumeView};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Bind to this node.
    Bind(String),
    Unfit(FitError),
    /// `spec.schedulingGates` is not empty.
    Gated,
}

/// Why no node fits; its Display is the text of the event and of the PodScheduled condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitError {
    pub nodes: usize,
    /// Reason → on how many nodes.
    pub reasons: BTreeMap<String, usize>,
    /// Nodes on which evicting pods could help.
    pub candidates: Vec<String>,
    /// Put behind the reasons once preemption was tried.
    pub preemption: String,
    /// What could help.
    pub wakes: Wakes,
    /// A firm refusal of the node that preemption had promised.
    pub nominated_is_firm: bool,
}

/// Everything a decision looks at, the pod apart.
pub struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    pub volumes: &'a VolumeView,
    pub devices: &'a Devices,
    /// Pods that preemption has promised a node: those of at least this pod's priority count as if they were there.
    pub nominated: &'a [PodFacts],
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 && self.reasons.is_empty() {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        let mut lines: Vec<String> = self.reasons.iter().map(|(r, n)| if *n == 0 { r.clone() } else { format!("{n} {r}") }).collect();
        lines.sort();
        if !lines.is_empty() {
            write!(f, " {}.", lines.join(", "))?;
        }
        if !self.preemption.is_empty() {
            write!(f, " preemption: {}", self.preemption)?;
        }
        Ok(())
    }
}

/// Chooses a node. `tie` picks among the best (a random number).
pub fn schedule(pod: &PodFacts, scene: &Scene<'_>, tie: u64) -> Decision {
    if !pod.gates.is_empty() {
        return Decision::Gated;
    }
    let s = scene.snapshot;
    let mut error = FitError { nodes: s.nodes().count(), ..Default::default() };
    let for_all = volumes::refuses_all(pod, scene.volumes).map(|r| (r, Wakes::STORAGE)).or_else(|| Some((scene.devices.refusal.clone()?, Wakes::DEVICES)));
    if let Some((reason, wakes)) = for_all {
        error.reasons.insert(reason, 0);
        return Decision::Unfit(FitError { wakes, ..error });
    }
    let prepared = Prepared::of(pod, s);
    let mut fit: Vec<&NodeState> = Vec::new();
    for node in s.nodes() {
        let name = &node.facts.name;
        if pod.pinned.as_ref().is_some_and(|names| !names.contains(name)) {
            *error.reasons.entry("node(s) didn't satisfy plugin(s) [NodeAffinity]".into()).or_default() += 1;
            error.wakes = error.wakes.and(Wakes::NODE);
            continue;
        }
        match fits_with_nominated(pod, node, scene, &prepared) {
            None => fit.push(node),
            Some(refusal) => error.add(refusal, name, &pod.nominated),
        }
    }
    if fit.is_empty() {
        error.wakes = error.wakes.and(Wakes::NODE);
        return Decision::Unfit(error);
    }
    if let Some(n) = fit.iter().find(|n| n.facts.name == pod.nominated) {
        return Decision::Bind(n.facts.name.clone());
    }
    let scores = scores(pod, &fit, &prepared);
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ties: Vec<&&NodeState> = fit.iter().zip(&scores).filter(|(_, s)| best - **s < 1e-9).map(|(n, _)| n).collect();
    match ties.get((tie % ties.len().max(1) as u64) as usize) {
        Some(n) => Decision::Bind(n.facts.name.clone()),
        None => Decision::Unfit(error),
    }
}

impl FitError {
    fn add(&mut self, refusal: Refusal, node: &str, nominated: &str) {
        if refusal.by_eviction {
            self.candidates.push(node.to_owned());
        } else if node == nominated {
            self.nominated_is_firm = true;
        }
        self.wakes = self.wakes.and(refusal.wakes);
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

/// Must fit with those who were promised the node, and without them: they may never come.
pub(crate) fn fits_with_nominated(pod: &PodFacts, node: &NodeState, scene: &Scene<'_>, prepared: &Prepared) -> Option<Refusal> {
    let promised: Vec<&PodFacts> =
        scene.nominated.iter().filter(|n| n.nominated == node.facts.name && n.priority >= pod.priority && n.uid != pod.uid).collect();
    if !promised.is_empty() {
        let mut with = node.clone();
        promised.into_iter().for_each(|p| with.insert(std::sync::Arc::new(p.clone())));
        if let Some(r) = refuses(pod, &with, prepared, scene.volumes, scene.devices) {
            return Some(r);
        }
    }
    refuses(pod, node, prepared, scene.volumes, scene.devices)
}

#[cfg(test)]
mod tests;
