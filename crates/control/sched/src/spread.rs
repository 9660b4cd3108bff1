//! Pod topology spread.
use crate::facts::{PodFacts, Spread};
use crate::filter::{affinity_fits, untolerated};
use crate::snapshot::{NodeState, Snapshot};
use std::collections::HashMap;

/// Matching pods by domain, for each constraint.
pub(crate) struct Domains(Vec<HashMap<String, i64>>);

fn counts(c: &Spread, pod: &PodFacts, node: &NodeState) -> bool {
    (!c.honor_affinity || affinity_fits(pod, &node.facts)) && (!c.honor_taints || untolerated(pod, &node.facts, &["NoSchedule", "NoExecute"]).is_none())
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
                // A node must have every key of the constraints of its sort.
                if !keys(c.hard).all(|k| node.facts.labels.contains_key(&k.key)) || !counts(c, pod, node) {
                    continue;
                }
                let matching = node.pods.values().filter(|o| o.namespace == pod.namespace && !o.terminating && c.selector.matches(&o.labels)).count();
                *m.entry(node.facts.labels[&c.key].clone()).or_insert(0) += matching as i64;
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
            let domain = node.facts.labels.get(&c.key)?;
            let weight = ((m.len() + 2) as f64).ln();
            sum += m.get(domain).copied().unwrap_or(0) as f64 * weight + (c.max_skew - 1) as f64;
        }
        Some(sum)
    }
}
