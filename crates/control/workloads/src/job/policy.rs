//! What a pod's failure means, and when enough has succeeded.
use super::{
    Indexes,
    view::{FailurePolicy, FailureRule, OnExitCodes, SuccessPolicy},
};
use crate::pod::{ContainerStatus, Pod};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Towards the back-off limit.
    Count,
    Ignore,
    /// Its index is not tried again.
    FailIndex,
    /// The whole job fails, with this message.
    FailJob(String),
}

impl Verdict {
    pub fn counts(&self) -> bool {
        *self != Verdict::Ignore
    }
}

/// The first rule that matches decides; none counts the failure.
pub fn judge(policy: Option<&FailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.map(|p| p.rules.as_slice()).unwrap_or_default();
    let hit = |(i, rule): (usize, &FailureRule)| match &rule.on_exit_codes {
        Some(codes) => exited(pod, codes).map(|(name, code)| {
            verdict(rule, || format!("Container {name} for pod {} failed with exit code {code} matching {} rule at index {i}", pod.metadata.key(), rule.action))
        }),
        None => conditioned(pod, rule)
            .map(|kind| verdict(rule, || format!("Pod {} has condition {kind} matching {} rule at index {i}", pod.metadata.key(), rule.action))),
    };
    rules.iter().enumerate().find_map(hit).unwrap_or(Verdict::Count)
}

fn verdict(rule: &FailureRule, message: impl Fn() -> String) -> Verdict {
    match rule.action.as_str() {
        "Ignore" => Verdict::Ignore,
        "FailIndex" => Verdict::FailIndex,
        "FailJob" => Verdict::FailJob(message()),
        _ => Verdict::Count,
    }
}

fn exited<'a>(pod: &'a Pod, rule: &OnExitCodes) -> Option<(&'a str, i64)> {
    let matches = |c: &'a ContainerStatus| {
        let code = c.state.terminated.as_ref()?.exit_code;
        let named = rule.container_name.as_ref().is_none_or(|n| *n == c.name);
        let listed = rule.values.contains(&code);
        let hit = match rule.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        (named && code != 0 && hit).then_some((c.name.as_str(), code))
    };
    pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses).find_map(matches)
}

fn conditioned<'a>(pod: &'a Pod, rule: &FailureRule) -> Option<&'a str> {
    let wanted = |kind: &str, status: &str| rule.on_pod_conditions.iter().any(|p| p.kind == kind && p.status == status);
    pod.status.conditions.iter().find(|c| wanted(&c.kind, &c.status)).map(|c| c.kind.as_str())
}

/// The message of the rule that is met, if one is.
pub fn success(policy: Option<&SuccessPolicy>, completions: i64, succeeded: &Indexes) -> Option<String> {
    let met = |rule: &super::view::SuccessRule| match &rule.succeeded_indexes {
        Some(text) => {
            let wanted = Indexes::parse(text, completions);
            let there = wanted.common(succeeded);
            wanted.total() > 0 && (there == wanted.total() || rule.succeeded_count.is_some_and(|n| there >= n))
        }
        None => rule.succeeded_count.is_some_and(|n| succeeded.total() >= n),
    };
    let at = policy?.rules.iter().position(met)?;
    Some(format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn failures_are_judged_by_the_first_rule() {
        let policy: FailurePolicy = skiff_json::from_value(json!({"rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
        ]}))
        .unwrap();
        let pod = |name: &str, code: i64, disrupted: bool| -> Pod {
            let conditions = if disrupted { json!([{"type": "DisruptionTarget", "status": "True"}]) } else { json!([]) };
            skiff_json::from_value(json!({"metadata": {"namespace": "n", "name": "p"}, "status": {"conditions": conditions, "containerStatuses": [{"name": name, "state": {"terminated": {"exitCode": code}}}]}})).unwrap()
        };
        assert_eq!(
            judge(Some(&policy), &pod("main", 42, true)),
            Verdict::FailJob("Container main for pod n/p failed with exit code 42 matching FailJob rule at index 0".into())
        );
        assert_eq!(judge(Some(&policy), &pod("main", 1, true)), Verdict::Ignore);
        assert_eq!(judge(Some(&policy), &pod("side", 42, false)), Verdict::FailIndex);
        assert_eq!(judge(Some(&policy), &pod("main", 1, false)), Verdict::Count);
        assert_eq!(judge(Some(&policy), &pod("main", 0, false)), Verdict::Count);
        assert_eq!(judge(None, &pod("main", 42, false)), Verdict::Count);
    }
    #[test]
    fn success_by_indexes_or_count() {
        let policy: SuccessPolicy =
            skiff_json::from_value(json!({"rules": [{"succeededIndexes": "0-2", "succeededCount": 2}, {"succeededIndexes": "4"}, {"succeededCount": 4}]}))
                .unwrap();
        for (done, expected) in [("0", None), ("0,2", Some(0)), ("4", Some(1)), ("2,3,5,6", Some(2))] {
            let expected = expected.map(|i: i32| format!("Matched rules at index {i}"));
            assert_eq!(success(Some(&policy), 10, &Indexes::parse(done, 10)), expected, "{done}");
        }
    }
}
