//! Pods as controllers see them.
use crate::view::{Condition, Time, View, condition};
use serde::Deserialize;
use skiff_json::Value;
use std::{cmp::Ordering, collections::HashMap};

pub type Pod = View<PodSpec, PodStatus>;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub node_name: String,
    pub restart_policy: String,
    pub hostname: String,
    pub subdomain: String,
    pub affinity: Value,
    pub init_containers: Vec<InitContainer>,
    pub volumes: Vec<Volume>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitContainer {
    pub name: String,
    pub restart_policy: String,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub persistent_volume_claim: Option<Claim>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    pub claim_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub phase: String,
    pub reason: String,
    pub start_time: Option<Time>,
    pub conditions: Vec<Condition>,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    pub restart_count: i64,
    pub state: ContainerState,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerState {
    pub terminated: Option<Terminated>,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    pub exit_code: i64,
    pub finished_at: Option<Time>,
}

impl Pod {
    pub fn failed(&self) -> bool {
        self.status.phase == "Failed"
    }
    pub fn succeeded(&self) -> bool {
        self.status.phase == "Succeeded"
    }
    /// Failed or Succeeded: it will never run again.
    pub fn terminal(&self) -> bool {
        self.failed() || self.succeeded()
    }
    /// Neither over nor on its way out.
    pub fn active(&self) -> bool {
        !self.terminal() && !self.metadata.deleting()
    }
    /// On its way out, and still to be waited for.
    pub fn terminating(&self) -> bool {
        !self.terminal() && self.metadata.deleting()
    }
    pub fn ready_condition(&self) -> Option<&Condition> {
        condition(&self.status.conditions, "Ready")
    }
    pub fn ready(&self) -> bool {
        self.ready_condition().is_some_and(|c| c.status == "True")
    }
    pub fn ready_since(&self) -> Option<Time> {
        self.ready_condition().filter(|c| c.status == "True").and_then(|c| c.last_transition_time)
    }
    /// Ready for `min_ready` seconds.
    pub fn available(&self, min_ready: i64, now: Time) -> bool {
        self.ready() && (min_ready == 0 || self.ready_since().is_some_and(|t| t.0 + min_ready <= now.0))
    }
    /// Seconds until a ready pod is available; None when it is, or is not ready.
    pub fn available_in(&self, min_ready: i64, now: Time) -> Option<i64> {
        let at = self.ready_since()?.0 + min_ready;
        (min_ready > 0 && at > now.0).then(|| at - now.0)
    }
    pub fn restarts(&self) -> i64 {
        self.status.container_statuses.iter().map(|c| c.restart_count).max().unwrap_or(0)
    }
    fn deletion_cost(&self) -> i64 {
        self.metadata.annotation("controller.kubernetes.io/pod-deletion-cost").and_then(|c| c.parse::<i32>().ok()).unwrap_or(0).into()
    }
}

/// Seconds until the first of `pods` becomes available.
pub fn next_available(pods: &[&Pod], min_ready: i64, now: Time) -> Option<i64> {
    pods.iter().filter_map(|p| p.available_in(min_ready, now)).min()
}

/// The `count` of `pods` that cost least to delete: unassigned before assigned, pending before running, not ready before
/// ready, cheap before dear, doubled up on a node before alone (counted over `related`), young before old by powers of two.
pub fn to_delete<'a>(mut pods: Vec<&'a Pod>, related: &[&Pod], count: usize, now: Time) -> Vec<&'a Pod> {
    if count < pods.len() {
        let mut on_node: HashMap<&str, usize> = HashMap::new();
        for p in related.iter().filter(|p| p.active()) {
            *on_node.entry(&p.spec.node_name).or_default() += 1;
        }
        let rank = |p: &Pod| on_node.get(p.spec.node_name.as_str()).copied().unwrap_or(0);
        pods.sort_by(|a, b| deletion_order(a, b, rank(a), rank(b), now));
        pods.truncate(count);
    }
    pods
}

/// The same order without ranks and ages in powers of two, as Jobs use it.
pub fn active_order(a: &Pod, b: &Pod) -> Ordering {
    let young = |x: Option<Time>, y: Option<Time>| y.cmp(&x);
    assigned(a, b)
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| a.ready().cmp(&b.ready()))
        .then_with(|| if a.ready() && b.ready() { young(a.ready_since(), b.ready_since()) } else { Ordering::Equal })
        .then_with(|| b.restarts().cmp(&a.restarts()))
        .then_with(|| young(a.metadata.creation_timestamp, b.metadata.creation_timestamp))
}

fn deletion_order(a: &Pod, b: &Pod, rank_a: usize, rank_b: usize, now: Time) -> Ordering {
    let age = |t: Option<Time>| t.map_or(0, |t| 64 - (now.0 - t.0).max(0).leading_zeros());
    let by_age = |x: Option<Time>, y: Option<Time>| {
        if x == y {
            return Ordering::Equal;
        }
        age(x).cmp(&age(y)).then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
    };
    assigned(a, b)
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| a.ready().cmp(&b.ready()))
        .then_with(|| a.deletion_cost().cmp(&b.deletion_cost()))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| if a.ready() && b.ready() { by_age(a.ready_since(), b.ready_since()) } else { Ordering::Equal })
        .then_with(|| b.restarts().cmp(&a.restarts()))
        .then_with(|| by_age(a.metadata.creation_timestamp, b.metadata.creation_timestamp))
}

fn assigned(a: &Pod, b: &Pod) -> Ordering {
    (!a.spec.node_name.is_empty()).cmp(&!b.spec.node_name.is_empty())
}
fn phase_order(p: &Pod) -> u8 {
    match p.status.phase.as_str() {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use skiff_json::json;

    /// `name phase ready-since node`; phase with a `-` is being deleted.
    pub(crate) fn pod(name: &str, phase: &str, ready: Option<i64>, node: &str) -> Pod {
        let mut p: Pod = skiff_json::from_value(
            json!({"metadata": {"name": name, "uid": name, "namespace": "n"}, "spec": {"nodeName": node}, "status": {"phase": phase.trim_end_matches('-')}}),
        )
        .unwrap();
        p.metadata.creation_timestamp = Some(Time(0));
        if phase.ends_with('-') {
            p.metadata.deletion_timestamp = Some(Time(1));
        }
        if let Some(since) = ready {
            p.status.conditions =
                vec![Condition { kind: "Ready".into(), status: "True".into(), last_transition_time: Some(Time(since)), ..Default::default() }];
        }
        p
    }

    #[test]
    fn the_cheapest_go_first() {
        let mut dear = pod("dear", "Running", Some(1), "a");
        dear.metadata.annotations.insert("controller.kubernetes.io/pod-deletion-cost".into(), "100".into());
        let all = [
            dear,
            pod("old", "Running", Some(1), "a"),
            pod("young", "Running", Some(900), "a"),
            pod("alone", "Running", Some(990), "b"),
            pod("unready", "Running", None, "b"),
            pod("pending", "Pending", None, "b"),
            pod("unassigned", "Pending", None, ""),
        ];
        let refs: Vec<&Pod> = all.iter().collect();
        let sibling = pod("sibling", "Running", None, "a");
        let related: Vec<&Pod> = refs.iter().copied().chain([&sibling]).collect();
        let order: Vec<&str> = to_delete(refs.clone(), &related, 6, Time(1000)).iter().map(|p| p.metadata.name.as_str()).collect();
        assert_eq!(order, ["unassigned", "pending", "unready", "young", "old", "alone"]);
    }
    #[test]
    fn availability() {
        let p = pod("a", "Running", Some(100), "n");
        assert!(p.available(0, Time(0)) && p.available(10, Time(110)) && !p.available(10, Time(109)));
        assert_eq!((p.available_in(10, Time(104)), p.available_in(10, Time(110))), (Some(6), None));
    }
}
