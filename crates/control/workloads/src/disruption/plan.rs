//! Counts of one budget.
use crate::{
    pod::Pod,
    view::{IntOrPercent, Selector, Time, View, is_zero},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

pub type Budget = View<BudgetSpec, BudgetStatus>;

/// An evicted pod that is not being deleted by then will not be.
const DELETION_SECONDS: i64 = 120;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetSpec {
    pub min_available: Option<IntOrPercent>,
    pub max_unavailable: Option<IntOrPercent>,
    pub selector: Selector,
}
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub disrupted_pods: BTreeMap<String, Time>,
    pub disruptions_allowed: i64,
    pub current_healthy: i64,
    pub desired_healthy: i64,
    pub expected_pods: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<crate::view::Condition>,
}

pub struct Snapshot<'a> {
    pub budget: &'a Budget,
    /// Those that its selector finds.
    pub pods: &'a [Pod],
    /// The scale of each pod's controller, by the controller's uid.
    pub scales: &'a HashMap<String, i64>,
    pub now: Time,
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub status: BudgetStatus,
    /// Names of pods that no controller stands behind: a percentage of them means nothing.
    pub unmanaged: Vec<String>,
    /// Evicted pods that are still there.
    pub not_deleted: Vec<String>,
    pub again: Option<i64>,
}

/// The error is what the budget's condition shows: its scale cannot be told.
pub fn plan(s: &Snapshot<'_>) -> Result<Plan, String> {
    let mut p = Plan::default();
    let (expected, desired) = expectation(s, &mut p.unmanaged)?;
    let mut disrupted = BTreeMap::new();
    for pod in s.pods.iter().filter(|p| !p.metadata.deleting()) {
        let Some(since) = s.budget.status.disrupted_pods.get(&pod.metadata.name) else { continue };
        let left = since.0 + DELETION_SECONDS - s.now.0;
        if left < 0 {
            p.not_deleted.push(pod.metadata.name.clone());
        } else {
            disrupted.insert(pod.metadata.name.clone(), *since);
            p.again = Some(p.again.map_or(left, |a: i64| a.min(left)));
        }
    }
    let healthy = s.pods.iter().filter(|p| !p.metadata.deleting() && p.ready() && !disrupted.contains_key(&p.metadata.name)).count() as i64;
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    p.status = BudgetStatus {
        observed_generation: s.budget.metadata.generation,
        disrupted_pods: disrupted,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: desired,
        expected_pods: expected,
        conditions: s.budget.status.conditions.clone(),
    };
    let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    tell(&mut p.status, status, reason, "", s.now);
    Ok(p)
}

/// The status when nothing can be counted: no disruption.
pub fn unknown(budget: &Budget, why: &str, now: Time) -> BudgetStatus {
    let mut status = BudgetStatus { disruptions_allowed: 0, ..budget.status.clone() };
    tell(&mut status, "False", "SyncFailed", why, now);
    status
}

fn tell(s: &mut BudgetStatus, status: &str, reason: &str, message: &str, now: Time) {
    const KIND: &str = "DisruptionAllowed";
    let old = s.conditions.iter().find(|c| c.kind == KIND);
    let since = old.filter(|c| c.status == status).and_then(|c| c.last_transition_time).unwrap_or(now);
    let new = crate::view::Condition {
        kind: KIND.into(),
        status: status.into(),
        observed_generation: Some(s.observed_generation),
        last_transition_time: Some(since),
        reason: reason.into(),
        message: message.into(),
        ..Default::default()
    };
    s.conditions.retain(|c| c.kind != KIND);
    s.conditions.push(new);
}

/// How many pods there should be, and how many of them healthy.
fn expectation(s: &Snapshot<'_>, unmanaged: &mut Vec<String>) -> Result<(i64, i64), String> {
    match (&s.budget.spec.max_unavailable, &s.budget.spec.min_available) {
        (Some(most), _) => {
            let expected = scale(s, unmanaged)?;
            Ok((expected, (expected - most.of(expected, true)).max(0)))
        }
        (None, Some(IntOrPercent::Int(least))) => Ok((s.pods.len() as i64, *least)),
        (None, Some(least)) => {
            let expected = scale(s, unmanaged)?;
            Ok((expected, least.of(expected, true)))
        }
        (None, None) => Ok((0, 0)),
    }
}

fn scale(s: &Snapshot<'_>, unmanaged: &mut Vec<String>) -> Result<i64, String> {
    let mut seen: HashMap<&str, i64> = HashMap::new();
    for p in s.pods {
        match p.metadata.controller() {
            None => unmanaged.push(p.metadata.name.clone()),
            Some(c) => {
                let n = s.scales.get(&c.uid).ok_or_else(|| format!("found no controllers for pod {:?}", p.metadata.name))?;
                seen.insert(&c.uid, *n);
            }
        }
    }
    Ok(seen.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pod::tests::pod, view::OwnerRef};
    use skiff_json::{Value, json};

    fn budget(spec: Value, disrupted: Value) -> Budget {
        skiff_json::from_value(json!({"metadata": {"generation": 2}, "spec": spec, "status": {"disruptedPods": disrupted}})).unwrap()
    }
    fn owned(name: &str, phase: &str, ready: bool) -> Pod {
        let mut p = pod(name, phase, ready.then_some(0), "x");
        p.metadata.owner_references = vec![OwnerRef { uid: "rs".into(), controller: Some(true), ..Default::default() }];
        p
    }

    #[test]
    fn budgets() {
        let pods = [owned("a", "Running", true), owned("b", "Running", true), owned("c", "Running", false), owned("d", "Running-", true)];
        let scales = HashMap::from([("rs".to_owned(), 3)]);
        for (spec, disrupted, expected) in [
            (json!({"minAvailable": 1}), json!({}), (4, 1, 2, 1)),
            (json!({"minAvailable": 2}), json!({}), (4, 2, 2, 0)),
            (json!({"minAvailable": "50%"}), json!({}), (3, 2, 2, 0)),
            (json!({"maxUnavailable": 2}), json!({}), (3, 1, 2, 1)),
            (json!({"maxUnavailable": "34%"}), json!({}), (3, 1, 2, 1)),
            (json!({"maxUnavailable": 2}), json!({"a": Time(90)}), (3, 1, 1, 0)),
            (json!({"maxUnavailable": 2}), json!({"a": Time(-90)}), (3, 1, 2, 1)),
        ] {
            let s = plan(&Snapshot { budget: &budget(spec.clone(), disrupted), pods: &pods, scales: &scales, now: Time(100) }).unwrap().status;
            assert_eq!((s.expected_pods, s.desired_healthy, s.current_healthy, s.disruptions_allowed), expected, "{spec}");
            assert_eq!(s.conditions[0].reason, if expected.3 > 0 { "SufficientPods" } else { "InsufficientPods" });
        }
    }
    #[test]
    fn what_cannot_be_counted_allows_nothing() {
        let b = budget(json!({"maxUnavailable": 1}), json!({}));
        let pods = [owned("a", "Running", true)];
        let e = plan(&Snapshot { budget: &b, pods: &pods, scales: &HashMap::new(), now: Time(1) }).unwrap_err();
        assert_eq!(e, "found no controllers for pod \"a\"");
        assert_eq!(unknown(&b, &e, Time(1)).conditions[0].reason, "SyncFailed");
    }
}
