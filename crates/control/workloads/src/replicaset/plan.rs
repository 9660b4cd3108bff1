//! How many pods to make, and which to delete.
use crate::{
    pod::{Pod, next_available, to_delete},
    view::{Condition, Labels, Selector, Time, View, condition, is_zero, one},
};
use serde::{Deserialize, Serialize};
use skiff_json::Value;
use skiff_meta::LabelSelector;

pub type ReplicaSet = View<ReplicaSetSpec, ReplicaSetStatus>;

/// At most so many creations or deletions in one go.
const BURST: usize = 500;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetSpec {
    #[serde(default = "one")]
    pub replicas: i64,
    pub min_ready_seconds: i64,
    pub selector: Selector,
    pub template: Value,
}
impl Default for ReplicaSetSpec {
    fn default() -> Self {
        Self { replicas: 1, min_ready_seconds: 0, selector: Selector::default(), template: Value::Null }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    pub replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub fully_labeled_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub ready_replicas: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating_replicas: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A label selector, or the plain map of a ReplicationController.
pub(crate) fn either_selector(selector: &Selector) -> LabelSelector {
    let json = selector.json();
    let structured = json.get("matchLabels").is_some_and(Value::is_object) || json.get("matchExpressions").is_some_and(Value::is_array);
    match &json {
        Value::Object(m) if !structured && !m.is_empty() => LabelSelector::from_map(m.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))),
        Value::Object(m) if m.is_empty() => LabelSelector::nothing(),
        _ => selector.parsed(),
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    pub create: usize,
    pub delete: Vec<&'a Pod>,
}

/// `pods` are those it controls; `related` gives those of its owner's other ReplicaSets too, which spread deletions over
/// nodes: read only when there is something to delete.
pub fn plan<'a>(rs: &ReplicaSet, pods: &'a [Pod], related: impl FnOnce() -> Vec<Pod>, now: Time) -> Plan<'a> {
    let active: Vec<&Pod> = pods.iter().filter(|p| p.active()).collect();
    let wanted = usize::try_from(rs.spec.replicas).unwrap_or(0);
    if active.len() < wanted {
        return Plan { create: (wanted - active.len()).min(BURST), delete: vec![] };
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Plan::default();
    }
    let related = related();
    Plan { create: 0, delete: to_delete(active, &related.iter().collect::<Vec<_>>(), surplus, now) }
}

/// The status after a pass that failed with `failure`, and in how many seconds a pod becomes available.
pub fn status(rs: &ReplicaSet, pods: &[Pod], failure: Option<&str>, now: Time) -> (ReplicaSetStatus, Option<i64>) {
    let active: Vec<&Pod> = pods.iter().filter(|p| p.active()).collect();
    let count = |f: &dyn Fn(&Pod) -> bool| active.iter().filter(|p| f(p)).count() as i64;
    let template: Labels = skiff_json::from_value(rs.spec.template["metadata"]["labels"].clone()).unwrap_or_default();
    let labelled = |p: &Pod| template.iter().all(|(k, v)| p.metadata.label(k) == Some(v));
    let status = ReplicaSetStatus {
        replicas: active.len() as i64,
        fully_labeled_replicas: count(&labelled),
        ready_replicas: count(&Pod::ready),
        available_replicas: count(&|p| p.available(rs.spec.min_ready_seconds, now)),
        terminating_replicas: Some(pods.iter().filter(|p| p.terminating()).count() as i64),
        observed_generation: rs.metadata.generation,
        conditions: conditions(rs, active.len() as i64, failure, now),
    };
    let wait = (status.ready_replicas != status.available_replicas).then(|| next_available(&active, rs.spec.min_ready_seconds, now)).flatten();
    (status, wait)
}

fn conditions(rs: &ReplicaSet, active: i64, failure: Option<&str>, now: Time) -> Vec<Condition> {
    const FAILURE: &str = "ReplicaFailure";
    let mut all = rs.status.conditions.clone();
    match (failure, condition(&all, FAILURE)) {
        (Some(message), None) => {
            let reason = match active.cmp(&rs.spec.replicas) {
                std::cmp::Ordering::Less => "FailedCreate",
                std::cmp::Ordering::Greater => "FailedDelete",
                std::cmp::Ordering::Equal => "",
            };
            all.push(Condition {
                kind: FAILURE.into(),
                status: "True".into(),
                reason: reason.into(),
                message: message.into(),
                last_transition_time: Some(now),
                ..Default::default()
            });
        }
        (None, Some(_)) => all.retain(|c| c.kind != FAILURE),
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::tests::pod;
    use skiff_json::json;

    fn rs(replicas: i64) -> ReplicaSet {
        skiff_json::from_value(
            json!({"metadata": {"generation": 3}, "spec": {"replicas": replicas, "minReadySeconds": 10, "template": {"metadata": {"labels": {"a": "b"}}}}}),
        )
        .unwrap()
    }

    #[test]
    fn counts_are_brought_to_what_is_asked() {
        let pods =
            [pod("run", "Running", Some(1), "x"), pod("pend", "Pending", None, ""), pod("gone", "Running-", Some(1), "x"), pod("over", "Failed", None, "x")];
        for (replicas, create, delete) in [(2, 0, vec![]), (4, 2, vec![]), (1, 0, vec!["pend"]), (0, 0, vec!["run", "pend"]), (2000, 500, vec![])] {
            let p = plan(&rs(replicas), &pods, Vec::new, Time(100));
            let names: Vec<&str> = p.delete.iter().map(|p| p.metadata.name.as_str()).collect();
            assert_eq!((p.create, names), (create, delete), "{replicas}");
        }
    }

    #[test]
    fn status_counts_and_waits() {
        let pods = [pod("old", "Running", Some(1), "x"), pod("new", "Running", Some(95), "x"), pod("gone", "Running-", None, "x")];
        let (s, wait) = status(&rs(2), &pods, None, Time(100));
        assert_eq!((s.replicas, s.ready_replicas, s.available_replicas, s.terminating_replicas, s.observed_generation), (2, 2, 1, Some(1), 3));
        assert_eq!((s.fully_labeled_replicas, wait), (0, Some(5)));
    }

    #[test]
    fn a_failure_shows_until_it_is_over() {
        let mut r = rs(3);
        let (s, _) = status(&r, &[], Some("quota"), Time(7));
        assert_eq!((s.conditions[0].reason.as_str(), s.conditions[0].last_transition_time), ("FailedCreate", Some(Time(7))));
        r.status = s;
        assert_eq!(status(&r, &[], Some("other"), Time(9)).0.conditions[0].message, "quota");
        assert!(status(&r, &[], None, Time(9)).0.conditions.is_empty());
    }

    #[test]
    fn selectors_of_both_kinds() {
        for (json, text) in [(json!({"a": "b"}), "a=b"), (json!({"matchLabels": {"a": "b"}}), "a=b")] {
            assert_eq!(either_selector(&Selector::from(json)).to_string(), text);
        }
    }
}
