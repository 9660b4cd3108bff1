//! Preemption: which pods of lower priority to evict, and where.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
use crate::decide::{FitError, Scene, fits_with_nominated};
use crate::facts::PodFacts;
use crate::filter::Prepared;
use crate::snapshot::{NodeState, Snapshot};
use skiff_meta::LabelSelector;
use std::fmt;
use std::sync::Arc;

/// A PodDisruptionBudget: how many of the pods it selects may still be disrupted.
#[derive(Clone, Debug)]
pub struct Budget {
    pub namespace: String,
    pub selector: LabelSelector,
    pub allowed: i32,
    /// Pods whose disruption it has counted already, by name.
    pub disrupted: Vec<String>,
}

/// Evict these pods of this node.
#[derive(Clone, Debug)]
pub struct Preemption {
    pub node: String,
    pub victims: Vec<Arc<PodFacts>>,
    violations: usize,
}

impl fmt::Display for Preemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found a potential placement for pod on node {}, preempting {} victims", self.node, self.victims.len())
    }
}

/// Why nobody is evicted; its Display is the end of the pod's message.
#[derive(Clone, Debug, PartialEq)]
pub enum NoRoom {
    Never,
    /// Victims of an earlier plan are on their way out: the node stays promised.
    Waiting,
    /// Evicting does not help anywhere: a promise is void.
    Helpless {
        nodes: usize,
        candidates: usize,
    },
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoom::Never => f.write_str("not eligible due to preemptionPolicy=Never."),
            NoRoom::Waiting => f.write_str("not eligible due to a terminating pod on the nominated node."),
            NoRoom::Helpless { nodes, candidates } => {
                let firm = nodes.saturating_sub(*candidates);
                let mut parts: Vec<String> = Vec::new();
                if *candidates > 0 {
                    parts.push(format!("{candidates} No preemption victims found for incoming pod"));
                }
                if firm > 0 {
                    parts.push(format!("{firm} Preemption is not helpful for scheduling"));
                }
                parts.sort();
                write!(f, "0/{nodes} nodes are available: {}.", parts.join(", "))
            }
        }
    }
}

/// The best node among the candidates of `error`: fewest budgets broken, then lowest highest priority, lowest sum of
/// priorities, fewest victims, latest start of the most important victims.
pub fn preempt(pod: &PodFacts, scene: &Scene<'_>, error: &FitError, budgets: &[Budget]) -> Result<Preemption, NoRoom> {
    if pod.never_preempts {
        return Err(NoRoom::Never);
    }
    let leaving = |n: &NodeState| n.pods.values().any(|p| p.preempted && p.priority < pod.priority);
    if !error.nominated_is_firm && scene.snapshot.node(&pod.nominated).is_some_and(leaving) {
        return Err(NoRoom::Waiting);
    }
    let prepared = Prepared::of(pod, scene.snapshot);
    // A copy to try things in, only for pods that look beyond their own node.
    let mut trial = prepared.follows_pods(pod).then(|| scene.snapshot.clone());
    let plans = error.candidates.iter().filter_map(|n| scene.snapshot.node(n)).filter_map(|n| victims(pod, n, scene, &prepared, trial.as_mut(), budgets));
    let best = plans.min_by_key(|p| {
        let highest = p.victims.iter().map(|v| v.priority).max().unwrap_or(i32::MIN);
        let sum: i64 = p.victims.iter().map(|v| i64::from(v.priority) + i64::from(i32::MAX) + 1).sum();
        let start = p.victims.iter().filter(|v| v.priority == highest).map(|v| v.started).min().unwrap_or(0);
        (p.violations, highest, sum, p.victims.len(), std::cmp::Reverse(start))
    });
    best.ok_or(NoRoom::Helpless { nodes: error.nodes, candidates: error.candidates.len() })
}

/// Takes all less important pods away, then puts back as many as fit, the most important and budget-protected first.
fn victims(
    pod: &PodFacts,
    node: &NodeState,
    scene: &Scene<'_>,
    prepared: &Prepared,
    mut trial: Option<&mut Snapshot>,
    budgets: &[Budget],
) -> Option<Preemption> {
    let mut lower: Vec<Arc<PodFacts>> = node.pods.values().filter(|p| p.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut state = node.clone();
    lower.iter().for_each(|p| drop(state.remove(&p.key())));
    let mut fits = |state: &NodeState| match trial.as_deref_mut() {
        None => fits_with_nominated(pod, state, scene, prepared).is_none(),
        Some(trial) => {
            trial.replace_state(state.clone());
            let with = Prepared::of(pod, trial);
            fits_with_nominated(pod, state, scene, &with).is_none()
        }
    };
    let plan = fits(&state).then(|| {
        lower.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.started.cmp(&b.started)));
        let (protected, free) = by_budget(lower, budgets);
        let (mut victims, mut violations) = (Vec::new(), 0);
        for (p, is_protected) in protected.into_iter().map(|p| (p, true)).chain(free.into_iter().map(|p| (p, false))) {
            let mut with = state.clone();
            with.insert(p.clone());
            if fits(&with) {
                state = with;
            } else {
                violations += usize::from(is_protected);
                victims.push(p);
            }
        }
        Preemption { node: node.facts.name.clone(), victims, violations }
    });
    if let Some(trial) = trial {
        trial.replace_state(node.clone());
    }
    plan
}

/// Those whose eviction would break a budget, and the others.
fn by_budget(pods: Vec<Arc<PodFacts>>, budgets: &[Budget]) -> (Vec<Arc<PodFacts>>, Vec<Arc<PodFacts>>) {
    let mut left: Vec<i32> = budgets.iter().map(|b| b.allowed).collect();
    pods.into_iter().partition(|p| {
        let mut broken = false;
        for (b, n) in budgets.iter().zip(&mut left) {
            if b.namespace == p.namespace && !b.selector.is_everything() && b.selector.matches(&p.labels) && !b.disrupted.contains(&p.name) {
                *n -= 1;
                broken |= *n < 0;
            }
        }
        broken
    })
}
