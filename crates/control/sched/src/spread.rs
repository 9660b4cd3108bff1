//! Pod topology spread.
use crate::facts::{PodFacts, Spread};
use crate::filter::{affinity_fits, untolerated};
use crate::snapshot::{NodeState, Snapshot};
use skiff_meta::LabelSelector;
use std::collections::HashMap;

/// Matching pods by domain, for each constraint.
pub(crate) struct Domains(Vec<HashMap<String, i64>>);

fn counts(c: &Spread, pod: &PodFacts, node: &NodeState) -> bool {
    (!c.honor_affinity || affinity_fits(pod, &node.facts)) && (!c.honor_taints || untolerated(pod, &node.facts, &["NoSchedule", "NoExecute"]).is_none())
}

/// The pod with the cluster's default constraints, when it has none of its own: replicas of a Service or a set, which
/// any of `selectors` selects together, are kept apart by node and zone where that is possible.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#internal-default-constraints>
pub fn with_defaults(mut pod: PodFacts, selectors: &[LabelSelector]) -> PodFacts {
    if !pod.spread.is_empty() || selectors.is_empty() {
        return pod;
    }
    let mut selector = LabelSelector::everything();
    selectors.iter().for_each(|s| selector.requirements.extend(s.requirements.iter().cloned()));
    let of = |key: &str, max_skew| Spread {
        default: true,
        key: key.into(),
        max_skew,
        min_domains: 1,
        hard: false,
        selector: selector.clone(),
        honor_affinity: true,
        honor_taints: false,
    };
    pod.spread = vec![of("kubernetes.io/hostname", 3), of("topology.kubernetes.io/zone", 5)];
    pod
}

impl Domains {
    pub fn of(pod: &PodFacts, s: &Snapshot) -> Self {
        let mut all = vec![HashMap::new(); pod.spread.len()];
        if pod.spread.is_empty() {
            return Self(all);
        }
        let keys = |hard: bool| pod.spread.iter().filter(move |c| c.hard == hard);
        for node in s.nodes() {
            for (c, m) in pod.spread.iter().zip(&mut all) {
                // A node must have every key of the constraints of its sort; of the cluster's defaults, that of this one.
                let labelled = if c.default { node.facts.labels.contains_key(&c.key) } else { keys(c.hard).all(|k| node.facts.labels.contains_key(&k.key)) };
                let Some(domain) = node.facts.labels.get(&c.key).filter(|_| labelled && counts(c, pod, node)) else { continue };
                let matching = node.pods.values().filter(|o| o.namespace == pod.namespace && !o.terminating && c.selector.matches(&o.labels)).count();
                *m.entry(domain.clone()).or_insert(0) += matching as i64;
            }
        }
        Self(all)
    }
    pub fn refuses(&self, pod: &PodFacts, node: &NodeState) -> Option<&'static str> {
        for (c, m) in pod.spread.iter().zip(&self.0).filter(|(c, _)| c.hard) {
            let Some(domain) = node.facts.labels.get(&c.key) else {
                return Some("node(s) didn't match pod topology spread constraints (missing required label)");
            };
            let least = if (m.len() as i64) < c.min_domains as i64 { 0 } else { m.values().copied().min().unwrap_or(0) };
            let own = i64::from(c.selector.matches(&pod.labels));
            if m.get(domain).copied().unwrap_or(0) + own - least > c.max_skew as i64 {
                return Some("node(s) didn't match pod topology spread constraints");
            }
        }
        None
    }
    /// Fewer matching pods in the node's domains score higher: the raw sum, to be turned round by the caller.
    pub fn load(&self, pod: &PodFacts, node: &NodeState) -> Option<f64> {
        let mut sum = 0.0;
        for (c, m) in pod.spread.iter().zip(&self.0).filter(|(c, _)| !c.hard) {
            let domain = match node.facts.labels.get(&c.key) {
                Some(d) => d,
                None if c.default => continue,
                None => return None,
            };
            let weight = ((m.len() + 2) as f64).ln();
            sum += m.get(domain).copied().unwrap_or(0) as f64 * weight + (c.max_skew - 1) as f64;
        }
        Some(sum)
    }
}
