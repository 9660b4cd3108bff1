//! Preemption: which pods of lower priority to evict, and where.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
use crate::facts::PodFacts;
use crate::filter::{Prepared, refuses};
use crate::snapshot::{NodeState, Snapshot};
use crate::volumes::VolumeView;
use skiff_meta::LabelSelector;
use std::sync::Arc;

/// A PodDisruptionBudget: how many of the pods it selects may still be disrupted.
#[derive(Clone, Debug)]
pub struct Budget {
    pub namespace: String,
    pub selector: LabelSelector,
    pub allowed: i32,
}

/// Evict these pods of this node.
#[derive(Clone, Debug)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodFacts>>,
    violations: usize,
}

/// The best node among `candidates`: fewest budgets broken, then lowest highest priority, lowest sum of priorities,
/// fewest victims, latest start of the most important victims. None: evicting does not help anywhere.
pub fn preempt(pod: &PodFacts, s: &Snapshot, view: &VolumeView, candidates: &[String], budgets: &[Budget]) -> Option<Preemption> {
    if pod.never_preempts {
        return None;
    }
    let plans = candidates.iter().filter_map(|n| s.node(n)).filter_map(|n| victims(pod, n, s, view, budgets));
    plans.min_by_key(|p| {
        let highest = p.victims.iter().map(|v| v.priority).max().unwrap_or(i32::MIN);
        let sum: i64 = p.victims.iter().map(|v| v.priority as i64 + i32::MAX as i64 + 1).sum();
        let start = p.victims.iter().filter(|v| v.priority == highest).map(|v| v.started).min().unwrap_or(0);
        (p.violations, highest, sum, p.victims.len(), std::cmp::Reverse(start))
    })
}

/// Takes all less important pods away, then puts back as many as fit, the most important and budget-protected first.
fn victims(pod: &PodFacts, node: &NodeState, s: &Snapshot, view: &VolumeView, budgets: &[Budget]) -> Option<Preemption> {
    let mut lower: Vec<Arc<PodFacts>> = node.pods.values().filter(|p| p.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut trial = s.clone();
    let mut state = node.clone();
    lower.iter().for_each(|p| drop(state.remove(&p.key())));
    let fits = |state: &NodeState, trial: &mut Snapshot| {
        trial.replace_state(state.clone());
        refuses(pod, state, &Prepared::of(pod, trial), view).is_none()
    };
    if !fits(&state, &mut trial) {
        return None;
    }
    lower.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.started.cmp(&b.started)));
    let mut left: Vec<i32> = budgets.iter().map(|b| b.allowed).collect();
    let breaks = |p: &PodFacts, left: &mut [i32]| {
        let mut broken = false;
        for (b, n) in budgets.iter().zip(left) {
            if b.namespace == p.namespace && b.selector.matches(&p.labels) {
                *n -= 1;
                broken |= *n < 0;
            }
        }
        broken
    };
    let (protected, free): (Vec<_>, Vec<_>) = lower.into_iter().partition(|p| breaks(p, &mut left));
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (p, is_protected) in protected.into_iter().map(|p| (p, true)).chain(free.into_iter().map(|p| (p, false))) {
        let mut with = state.clone();
        with.insert(p.clone());
        if fits(&with, &mut trial) {
            state = with;
        } else {
            violations += usize::from(is_protected);
            victims.push(p);
        }
    }
    Some(Preemption { node: node.facts.name.clone(), victims, violations })
}
