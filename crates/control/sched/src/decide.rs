//! The decision for one pod.
use crate::facts::PodFacts;
use crate::filter::{Prepared, Refusal, refuses};
use crate::score::scores;
use crate::snapshot::{NodeState, Snapshot};
use crate::volumes::{self, VolumeView};
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
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 && self.reasons.is_empty() {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        let mut lines: Vec<String> = self.reasons.iter().map(|(r, n)| if *n == 0 { r.clone() } else { format!("{n} {r}") }).collect();
        lines.sort();
        write!(f, " {}.", lines.join(", "))?;
        if !self.preemption.is_empty() {
            write!(f, " preemption: {}", self.preemption)?;
        }
        Ok(())
    }
}

/// Chooses a node. `nominated` are pods that preemption has promised a node: those of at least this pod's priority count
/// as if they were there. `tie` picks among the best (a random number).
pub fn schedule(pod: &PodFacts, s: &Snapshot, view: &VolumeView, nominated: &[PodFacts], tie: u64) -> Decision {
    if !pod.gates.is_empty() {
        return Decision::Gated;
    }
    let total = s.nodes().count();
    if let Some(reason) = volumes::refuses_all(pod, view) {
        return Decision::Unfit(FitError { nodes: total, reasons: BTreeMap::from([(reason, 0)]), ..Default::default() });
    }
    let prepared = Prepared::of(pod, s);
    let mut error = FitError { nodes: total, ..Default::default() };
    let mut fit: Vec<&NodeState> = Vec::new();
    for node in s.nodes() {
        match fits_with_nominated(pod, node, nominated, &prepared, view) {
            None => fit.push(node),
            Some(refusal) => {
                if refusal.by_eviction {
                    error.candidates.push(node.facts.name.clone());
                }
                for reason in refusal.reasons {
                    *error.reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    if fit.is_empty() {
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

fn fits_with_nominated(pod: &PodFacts, node: &NodeState, nominated: &[PodFacts], prepared: &Prepared, view: &VolumeView) -> Option<Refusal> {
    let promised: Vec<&PodFacts> = nominated.iter().filter(|n| n.nominated == node.facts.name && n.priority >= pod.priority && n.uid != pod.uid).collect();
    if !promised.is_empty() {
        let mut with = node.clone();
        promised.into_iter().for_each(|p| with.insert(std::sync::Arc::new(p.clone())));
        if let Some(r) = refuses(pod, &with, prepared, view) {
            return Some(r);
        }
    }
    refuses(pod, node, prepared, view)
}

#[cfg(test)]
mod tests;
