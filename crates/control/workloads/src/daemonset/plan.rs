//! Which nodes get a pod, which pods go, how an update rolls.
use super::{
    fit::{Fit, fit},
    template::{HASH, node_of, tolerant},
    view::{DaemonSet, DaemonSetStatus, Node},
};
use crate::{
    pod::{Pod, next_available},
    view::Time,
};
use std::collections::BTreeMap;

/// At most so many creations or deletions in one go.
const BURST: usize = 250;

pub struct Snapshot<'a> {
    pub ds: &'a DaemonSet,
    pub nodes: &'a [Node],
    /// The pods that it controls.
    pub pods: &'a [Pod],
    /// The wanted revision's hash.
    pub hash: &'a str,
    /// Seconds to wait before another failed pod of this node may be replaced.
    pub backoff: &'a dyn Fn(&str) -> Option<i64>,
    pub now: Time,
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Names of nodes.
    pub create: Vec<String>,
    /// Names of pods.
    pub delete: Vec<String>,
    /// Pods that are over: (pod, node, whether it failed).
    pub over: Vec<(String, String, bool)>,
    pub status: DaemonSetStatus,
    /// Look again in so many seconds.
    pub again: Option<i64>,
}

struct Work<'a> {
    s: &'a Snapshot<'a>,
    by_node: BTreeMap<&'a str, Vec<&'a Pod>>,
    fits: Vec<(&'a Node, Fit)>,
    plan: Plan,
}

pub fn plan(s: &Snapshot<'_>) -> Plan {
    let tolerations = tolerant(&s.ds.spec.template)["spec"]["tolerations"].clone();
    let fits: Vec<(&Node, Fit)> = s.nodes.iter().map(|n| (n, fit(s.ds, &tolerations, n))).collect();
    let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for p in s.pods {
        by_node.entry(node_of(p).unwrap_or_default()).or_default().push(p);
    }
    // Bound before unbound, old before young.
    for pods in by_node.values_mut() {
        pods.sort_by_key(|p| (p.spec.node_name.is_empty(), p.metadata.creation_timestamp, p.metadata.name.clone()));
    }
    let mut w = Work { s, by_node, fits, plan: Plan::default() };
    w.plan.status = w.status();
    if s.ds.metadata.deleting() {
        return w.plan;
    }
    w.manage();
    if w.plan.create.is_empty() && w.plan.delete.is_empty() && s.ds.spec.update_strategy.kind != "OnDelete" {
        w.roll();
    }
    w.plan.create.truncate(BURST);
    w.plan.delete.truncate(BURST);
    w.plan
}

impl<'a> Work<'a> {
    fn on(&self, node: &str) -> Vec<&'a Pod> {
        self.by_node.get(node).cloned().unwrap_or_default()
    }
    fn available(&self, p: &Pod) -> bool {
        p.available(self.s.ds.spec.min_ready_seconds, self.s.now)
    }
    fn updated(&self, p: &Pod) -> bool {
        p.metadata.label(HASH) == Some(self.s.hash)
    }
    /// Each node on its own: a pod where one should be, none where none may stay, one and no more.
    fn manage(&mut self) {
        for (node, f) in self.fits.clone() {
            let name = node.metadata.name.as_str();
            let pods = self.on(name);
            match f {
                Fit { run: true, .. } if pods.is_empty() => self.plan.create.push(name.to_owned()),
                Fit { stay: true, .. } => self.tidy(name, pods, f.run),
                Fit { stay: false, .. } => self.drop(pods.iter().filter(|p| !p.metadata.deleting())),
            }
        }
        // Pods for nodes that are gone and that will never be bound.
        let names: Vec<&str> = self.fits.iter().map(|(n, _)| n.metadata.name.as_str()).collect();
        let lost: Vec<&Pod> = self
            .by_node
            .iter()
            .filter(|(n, _)| !names.contains(n))
            .flat_map(|(_, pods)| pods.iter().copied())
            .filter(|p| p.spec.node_name.is_empty() && !p.metadata.deleting())
            .collect();
        self.drop(lost.iter());
    }
    fn drop<'b>(&mut self, pods: impl Iterator<Item = &'b &'b Pod>) {
        self.plan.delete.extend(pods.map(|p| p.metadata.name.clone()));
    }
    fn tidy(&mut self, node: &str, pods: Vec<&'a Pod>, run: bool) {
        let mut running = Vec::new();
        for p in pods.into_iter().filter(|p| !p.metadata.deleting()) {
            if !p.terminal() {
                running.push(p);
            } else if let Some(wait) = p.failed().then(|| (self.s.backoff)(node)).flatten() {
                self.look_again(wait);
            } else {
                self.plan.over.push((p.metadata.name.clone(), node.to_owned(), p.failed()));
                self.plan.delete.push(p.metadata.name.clone());
            }
        }
        if !self.s.ds.spec.surges() {
            return self.drop(running.iter().skip(1));
        }
        if running.is_empty() && run {
            // Only pods on their way out are left.
            return self.plan.create.push(node.to_owned());
        }
        self.tidy_pair(&running);
    }
    /// One of each revision at most; the old one goes once the new one is available, or when it is not ready itself.
    fn tidy_pair(&mut self, running: &[&'a Pod]) {
        if running.len() < 2 {
            return;
        }
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().copied().partition(|p| self.updated(p));
        let extra: Vec<&Pod> = new.iter().skip(1).chain(old.iter().skip(1)).copied().collect();
        self.drop(extra.iter());
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!old.ready() || self.available(new))
        {
            self.drop([old].into_iter().copied().collect::<Vec<_>>().iter());
        }
    }
    fn look_again(&mut self, seconds: i64) {
        self.plan.again = Some(self.plan.again.map_or(seconds, |a| a.min(seconds)));
    }
    fn roll(&mut self) {
        let desired = self.plan.status.desired_number_scheduled;
        let (surge, unavailable) = self.s.ds.spec.fences(desired);
        if surge == 0 { self.roll_down_first(unavailable) } else { self.roll_up_first(surge, desired) }
    }
    /// The new and the old pod of a node; None when there is more than one of a kind.
    fn pair(&self, node: &str) -> Option<(Option<&'a Pod>, Option<&'a Pod>)> {
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = self.on(node).into_iter().filter(|p| !p.metadata.deleting()).partition(|p| self.updated(p));
        (new.len() < 2 && old.len() < 2).then(|| (new.first().copied(), old.first().copied()))
    }
    /// Old pods go, as many as may be unavailable; those that are so already at once.
    fn roll_down_first(&mut self, most: i64) {
        let (mut missing, mut candidates) = (0, Vec::new());
        let nodes: Vec<&str> = self.by_node.keys().copied().collect();
        for node in nodes {
            match self.pair(node) {
                Some((Some(new), None)) => missing += i64::from(!self.available(new)),
                Some((None, Some(old))) if !self.available(old) => {
                    missing += 1;
                    self.plan.delete.push(old.metadata.name.clone());
                }
                Some((None, Some(old))) => candidates.push(old.metadata.name.clone()),
                _ => missing += 1,
            }
        }
        let room = usize::try_from(most - missing).unwrap_or(0);
        self.plan.delete.extend(candidates.into_iter().take(room));
    }
    /// New pods come beside the old ones, as many as may surge.
    fn roll_up_first(&mut self, most: i64, desired: i64) {
        let (mut surging, mut available) = (0, 0);
        let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
        let nodes: Vec<&str> = self.by_node.keys().copied().collect();
        for node in nodes {
            let Some((new, old)) = self.pair(node) else {
                surging += 1;
                continue;
            };
            available += i64::from(old.or(new).is_some_and(|p| self.available(p)));
            let run = self.fits.iter().any(|(n, f)| n.metadata.name == node && f.run);
            match (new, old) {
                (None, Some(old)) if !self.available(old) && !run => self.plan.delete.push(old.metadata.name.clone()),
                (None, Some(old)) if !self.available(old) => {
                    let _ = old;
                    self.plan.create.push(node.to_owned());
                }
                (None, Some(old)) if !run => misplaced.push(old.metadata.name.clone()),
                (None, Some(_)) => candidates.push(node.to_owned()),
                (Some(new), Some(old)) if self.available(new) => self.plan.delete.push(old.metadata.name.clone()),
                (Some(_), Some(_)) => surging += 1,
                (_, None) => {}
            }
        }
        let spare = usize::try_from(available - desired).unwrap_or(0);
        self.plan.delete.extend(misplaced.into_iter().take(spare));
        let room = usize::try_from(most - surging).unwrap_or(0);
        self.plan.create.extend(candidates.into_iter().take(room));
    }
    fn status(&mut self) -> DaemonSetStatus {
        let old = &self.s.ds.status;
        let mut st = DaemonSetStatus {
            observed_generation: self.s.ds.metadata.generation,
            collision_count: old.collision_count,
            conditions: old.conditions.clone(),
            ..Default::default()
        };
        let mut waiting = Vec::new();
        for (node, f) in &self.fits {
            let pods = self.on(&node.metadata.name);
            let first = pods.first();
            match (f.run, first) {
                (true, None) => st.desired_number_scheduled += 1,
                (true, Some(p)) => {
                    st.desired_number_scheduled += 1;
                    st.current_number_scheduled += 1;
                    st.number_ready += i64::from(p.ready());
                    st.number_available += i64::from(self.available(p));
                    st.updated_number_scheduled += i64::from(self.updated(p));
                    waiting.push(*p);
                }
                (false, Some(_)) => st.number_misscheduled += 1,
                (false, None) => {}
            }
        }
        st.number_unavailable = st.desired_number_scheduled - st.number_available;
        if let Some(wait) = next_available(&waiting, self.s.ds.spec.min_ready_seconds, self.s.now) {
            self.look_again(wait);
        }
        st
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::tests::pod;
    use skiff_json::{Value, json};

    fn planned(strategy: Value, nodes: &str, pods: &str) -> Plan {
        let ds: DaemonSet = skiff_json::from_value(
            json!({"metadata": {"name": "d"}, "spec": {"updateStrategy": strategy, "template": {"spec": {"nodeSelector": {"on": "yes"}}}}}),
        )
        .unwrap();
        let nodes: Vec<Node> = nodes
            .split_whitespace()
            .map(|n| {
                let on = if n.ends_with('!') { "no" } else { "yes" };
                skiff_json::from_value(json!({"metadata": {"name": n.trim_end_matches('!'), "labels": {"on": on}}})).unwrap()
            })
            .collect();
        // `pod@node:state:hash`
        let pods: Vec<Pod> = pods
            .split_whitespace()
            .map(|t| {
                let (name, rest) = t.split_once('@').unwrap();
                let parts: Vec<&str> = rest.split(':').collect();
                let mut p = match parts[1] {
                    "ready" => pod(name, "Running", Some(0), parts[0]),
                    "dying" => pod(name, "Running-", Some(0), parts[0]),
                    "failed" => pod(name, "Failed", None, parts[0]),
                    _ => pod(name, "Pending", None, parts[0]),
                };
                p.metadata.labels.insert(HASH.into(), parts[2].into());
                p
            })
            .collect();
        plan(&Snapshot { ds: &ds, nodes: &nodes, pods: &pods, hash: "new", backoff: &|n| (n == "slow").then_some(9), now: Time(100) })
    }
    fn rolling(unavailable: i64, surge: i64) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
    }

    #[test]
    fn plans() {
        for (strategy, nodes, pods, create, delete) in [
            (rolling(1, 0), "a b c!", "", vec!["a", "b"], vec![]),
            (rolling(1, 0), "a b!", "p@a:ready:new q@b:ready:new", vec![], vec!["q"]),
            (rolling(1, 0), "a", "p@a:ready:new q@a:ready:new", vec![], vec!["q"]),
            (rolling(1, 0), "a", "p@a:failed:new", vec![], vec!["p"]),
            (rolling(1, 0), "slow", "p@slow:failed:new", vec![], vec![]),
            (rolling(1, 0), "a", "p@a:dying:new", vec![], vec![]),
            (rolling(1, 0), "a b", "p@a:ready:old q@b:ready:old", vec![], vec!["p"]),
            (rolling(1, 0), "a b", "p@a:dying:old q@b:ready:old", vec![], vec![]),
            (rolling(1, 0), "a b", "p@a:pending:old q@b:ready:old", vec![], vec!["p"]),
            (rolling(2, 0), "a b", "p@a:ready:old q@b:ready:old", vec![], vec!["p", "q"]),
            (json!({"type": "OnDelete"}), "a", "p@a:ready:old", vec![], vec![]),
            (rolling(0, 1), "a b", "p@a:ready:old q@b:ready:old", vec!["a"], vec![]),
            (rolling(0, 1), "a b", "p@a:ready:old r@a:pending:new q@b:ready:old", vec![], vec![]),
            (rolling(0, 1), "a b", "p@a:ready:old r@a:ready:new q@b:ready:old", vec![], vec!["p"]),
        ] {
            let p = planned(strategy.clone(), nodes, pods);
            assert_eq!(
                (p.create, p.delete),
                (create.iter().map(|s| s.to_string()).collect(), delete.iter().map(|s| s.to_string()).collect()),
                "{strategy} {nodes} {pods}"
            );
        }
    }
    #[test]
    fn counts() {
        let s = planned(rolling(1, 0), "a b c d!", "p@a:ready:new q@b:pending:old r@d:ready:new").status;
        assert_eq!((s.desired_number_scheduled, s.current_number_scheduled, s.number_misscheduled), (3, 2, 1));
        assert_eq!((s.number_ready, s.number_available, s.number_unavailable, s.updated_number_scheduled), (1, 1, 2, 1));
        assert_eq!(planned(rolling(1, 0), "slow", "p@slow:failed:new").again, Some(9));
    }
}
