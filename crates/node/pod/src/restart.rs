//! Whether a container that ended starts again:
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
use crate::{Observed, view};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use skiff_cri::ContainerState;

/// The container's own rules first, then its policy, then the pod's.
pub fn restarts(c: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    if let Some(policy) = &c.restart_policy {
        if rule_says_restart(c, exit_code) {
            return true;
        }
        if let Some(answer) = by_policy(policy, exit_code) {
            return answer;
        }
    }
    by_policy(spec.restart_policy.as_deref().unwrap_or("Always"), exit_code).unwrap_or(true)
}

/// Whether the pod or the container lets it start again after a kill by a probe (no exit code is known yet).
pub fn restarts_after_kill(c: &Container, spec: &PodSpec) -> bool {
    c.restart_policy.as_deref().or(spec.restart_policy.as_deref()) != Some("Never")
}

/// The container isn't running, and should be.
pub fn should_start(c: &Container, pod: &Pod, observed: &Observed) -> bool {
    if view::deleted(pod) {
        return false;
    }
    match observed.find(&c.name) {
        None => true,
        Some(s) => match s.state {
            ContainerState::Running => false,
            ContainerState::Created | ContainerState::Unknown => true,
            ContainerState::Exited => restarts(c, view::spec(pod), s.exit_code),
        },
    }
}

fn rule_says_restart(c: &Container, exit_code: i32) -> bool {
    let matching = c.restart_policy_rules.iter().flatten().find(|r| {
        r.exit_codes.as_ref().is_some_and(|e| {
            let listed = e.values.iter().flatten().any(|v| *v == exit_code);
            match e.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    });
    matching.is_some_and(|r| r.action == "Restart")
}

fn by_policy(policy: &str, exit_code: i32) -> Option<bool> {
    match policy {
        "Always" => Some(true),
        "OnFailure" => Some(exit_code != 0),
        "Never" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn rules_then_container_then_pod() {
        let rules = r#","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]"#;
        for (pod_policy, container, exit, want) in [
            ("Always", "", 0, true),
            ("OnFailure", "", 0, false),
            ("OnFailure", "", 1, true),
            ("Never", "", 1, false),
            ("Never", r#","restartPolicy":"Always""#, 0, true),
            ("Always", r#","restartPolicy":"Never""#, 1, false),
            ("Never", &format!(r#","restartPolicy":"Never"{rules}"#), 42, true),
            ("Never", &format!(r#","restartPolicy":"Never"{rules}"#), 1, false),
        ] {
            let spec: PodSpec = skiff_json::from_str(&format!(r#"{{"restartPolicy":"{pod_policy}","containers":[{{"name":"a"{container}}}]}}"#)).unwrap();
            assert_eq!(restarts(&spec.containers[0], &spec, exit), want, "{pod_policy} {container} {exit}");
        }
    }
}
