//! Sizes of ReplicaSets during a rollout, a scaling and a pause.
use super::view::{DeploymentSpec, Set};
use std::cmp::Reverse;

fn total(sets: &[Set]) -> i64 {
    sets.iter().map(|s| s.size).sum()
}

/// The size of a new ReplicaSet among all of them: up to maxSurge over the wanted count.
pub(super) fn new_size(spec: &DeploymentSpec, all: i64, own: i64) -> i64 {
    if !spec.rolling() {
        return spec.replicas;
    }
    let room = spec.replicas + spec.max_surge() - all;
    if room <= 0 { own } else { own + room.min(spec.replicas - own) }
}

/// One step of a rolling update: the new set up if there is room, else the old ones down as far as availability allows.
pub(super) fn rolling(spec: &DeploymentSpec, sets: &mut [Set], new: usize) {
    let Some(own) = sets.get(new).map(|s| s.size) else { return };
    let size = if own > spec.replicas { spec.replicas } else { new_size(spec, total(sets), own) };
    if size != own {
        sets[new].size = size;
        return;
    }
    let available = sets[new].rs.status.available_replicas;
    let spare = total(sets) - (spec.replicas - spec.max_unavailable()) - (own - available);
    if spare > 0 {
        drop_unhealthy(sets, new, spare);
        drop_surplus(spec, sets, new);
    }
}

fn oldest_first(sets: &[Set], new: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sets.len()).filter(|i| *i != new && sets[*i].size > 0).collect();
    order.sort_by(|a, b| sets[*a].age().cmp(&sets[*b].age()));
    order
}

/// Pods of old sets that are not available anyway.
fn drop_unhealthy(sets: &mut [Set], new: usize, most: i64) {
    let mut left = most;
    for i in oldest_first(sets, new) {
        let s = &mut sets[i];
        let n = (s.size - s.rs.status.available_replicas).clamp(0, left);
        s.size -= n;
        left -= n;
    }
}

/// Pods of old sets that availability does not need.
fn drop_surplus(spec: &DeploymentSpec, sets: &mut [Set], new: usize) {
    let available: i64 = sets.iter().map(|s| s.rs.status.available_replicas).sum();
    let mut left = available - (spec.replicas - spec.max_unavailable());
    for i in oldest_first(sets, new) {
        let n = sets[i].size.min(left.max(0));
        sets[i].size -= n;
        left -= n;
    }
}

/// A scaling while a rollout is under way, or paused: shared out in proportion to the sizes.
pub(super) fn scale(spec: &DeploymentSpec, before: i64, sets: &mut [Set], new: Option<usize>) {
    let active: Vec<usize> = (0..sets.len()).filter(|i| sets[*i].size > 0).collect();
    match active[..] {
        [] => {
            let newest = (0..sets.len()).max_by(|a, b| sets[*a].age().cmp(&sets[*b].age()));
            if let Some(i) = new.or(newest) {
                sets[i].size = spec.replicas;
            }
        }
        [one] => sets[one].size = spec.replicas,
        _ if new.is_some_and(|i| saturated(spec, &sets[i])) => active.iter().filter(|i| Some(**i) != new).for_each(|i| sets[*i].size = 0),
        _ if spec.rolling() => share(spec, before, sets, active),
        _ => {}
    }
}

fn saturated(spec: &DeploymentSpec, set: &Set) -> bool {
    set.size == spec.replicas && set.desired() == Some(spec.replicas) && set.rs.status.available_replicas == spec.replicas
}

fn share(spec: &DeploymentSpec, before: i64, sets: &mut [Set], mut order: Vec<usize>) {
    let allowed = if spec.replicas > 0 { spec.replicas + spec.max_surge() } else { 0 };
    let to_add = allowed - order.iter().map(|i| sets[*i].size).sum::<i64>();
    if to_add == 0 {
        return;
    }
    order.sort_by(|a, b| {
        let (a, b) = (&sets[*a], &sets[*b]);
        let by_age = if to_add > 0 { b.age().cmp(&a.age()) } else { a.age().cmp(&b.age()) };
        Reverse(a.size).cmp(&Reverse(b.size)).then(by_age)
    });
    let mut added = 0;
    for i in &order {
        let left = to_add - added;
        let part = fraction(spec, before, &sets[*i]);
        let part = if left == 0 {
            0
        } else if to_add > 0 {
            part.min(left)
        } else {
            part.max(left)
        };
        sets[*i].size += part;
        added += part;
    }
    if let Some(first) = order.first() {
        sets[*first].size = (sets[*first].size + to_add - added).max(0);
    }
}

/// A set's own part of a change, by what all were allowed to be before (`before` pods when a set does not say).
fn fraction(spec: &DeploymentSpec, before: i64, set: &Set) -> i64 {
    if spec.replicas == 0 {
        return -set.size;
    }
    let was = set.max().filter(|m| *m > 0).unwrap_or(before);
    if was == 0 {
        return 0;
    }
    let exact = (set.size * (spec.replicas + spec.max_surge())) as f64 / was as f64;
    exact.round() as i64 - set.size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::view::{DESIRED, MAX};
    use skiff_json::json;

    fn spec(replicas: i64, surge: i64, unavailable: i64) -> DeploymentSpec {
        skiff_json::from_value(
            json!({"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}),
        )
        .unwrap()
    }
    /// Size, available, max annotation.
    fn set(name: &str, size: i64, available: i64, max: i64) -> Set {
        Set::new(
            skiff_json::from_value(json!({
                "metadata": {"name": name, "annotations": {DESIRED: "10", MAX: max.to_string()}},
                "spec": {"replicas": size}, "status": {"availableReplicas": available}
            }))
            .unwrap(),
        )
    }
    fn sizes(sets: &[Set]) -> Vec<i64> {
        sets.iter().map(|s| s.size).collect()
    }

    #[test]
    fn rolling_steps() {
        // (replicas, surge, unavailable), [(size, available)…] with the new set last → sizes
        for (s, sets, expected) in [
            ((10, 3, 2), vec![(10, 10), (0, 0)], vec![10, 3]),
            ((10, 3, 2), vec![(10, 10), (3, 0)], vec![8, 3]),
            ((10, 3, 2), vec![(8, 8), (5, 0)], vec![8, 5]),
            ((10, 3, 2), vec![(8, 8), (5, 5)], vec![3, 5]),
            ((10, 3, 2), vec![(8, 6), (5, 2)], vec![6, 5]),
            ((1, 1, 0), vec![(1, 1), (0, 0)], vec![1, 1]),
            ((1, 1, 0), vec![(1, 1), (1, 0)], vec![1, 1]),
            ((1, 1, 0), vec![(1, 1), (1, 1)], vec![0, 1]),
            ((2, 0, 1), vec![(2, 2), (0, 0)], vec![1, 0]),
            ((3, 1, 0), vec![(0, 0), (5, 5)], vec![0, 3]),
        ] {
            let mut all: Vec<Set> = sets.iter().enumerate().map(|(i, (n, a))| set(&i.to_string(), *n, *a, 0)).collect();
            let new = all.len() - 1;
            rolling(&spec(s.0, s.1, s.2), &mut all, new);
            assert_eq!(sizes(&all), expected, "{s:?} {sets:?}");
        }
    }

    #[test]
    fn a_scaling_is_shared_out() {
        // Mid-rollout at 10 (+3): 8 old, 5 new; scaled to 15, then back to 5 and to 0.
        for (replicas, expected) in [(15, vec![11, 7]), (5, vec![5, 3]), (0, vec![0, 0])] {
            let mut all = [set("old", 8, 8, 13), set("new", 5, 0, 13)];
            scale(&spec(replicas, 3, 2), 13, &mut all, Some(1));
            assert_eq!(sizes(&all), expected, "{replicas}");
        }
        let mut one = [set("old", 0, 0, 13), set("new", 5, 5, 13)];
        scale(&spec(7, 1, 0), 5, &mut one, Some(1));
        assert_eq!(sizes(&one), [0, 7]);
        let mut none = [set("a", 0, 0, 0), set("b", 0, 0, 0)];
        scale(&spec(2, 1, 0), 0, &mut none, None);
        assert_eq!(sizes(&none), [0, 2]);
    }

    #[test]
    fn a_new_set_fills_the_surge() {
        assert_eq!(new_size(&spec(10, 3, 2), 10, 0), 3);
        assert_eq!(new_size(&spec(10, 3, 2), 13, 0), 0);
        assert_eq!(new_size(&spec(2, 5, 0), 0, 0), 2);
    }
}
