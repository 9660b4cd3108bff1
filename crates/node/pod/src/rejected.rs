//! The status of a pod that the node has turned away: nothing of it was ever here, and nothing is said of containers or addresses.
use crate::conditions::owned;
use k8s_openapi::api::core::v1::PodStatus;

/// The same status without what only a pod that came to this node has.
pub fn rejected(s: PodStatus) -> PodStatus {
    let conditions: Vec<_> = s.conditions.into_iter().flatten().filter(|c| !owned(&c.type_)).collect();
    PodStatus {
        conditions: (!conditions.is_empty()).then_some(conditions),
        container_statuses: None,
        init_container_statuses: None,
        ephemeral_container_statuses: None,
        host_ip: None,
        host_ips: None,
        pod_ip: None,
        pod_ips: None,
        ..s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn nothing_is_said_of_what_never_was() {
        let status: PodStatus = skiff_json::from_value(
            json!({"phase": "Failed", "reason": "NodeAffinity", "message": "m", "startTime": "2026-01-01T00:00:00Z", "hostIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "example.com/mine", "status": "True"}], "containerStatuses": []}),
        )
        .unwrap();
        let left = skiff_json::to_value(rejected(status)).unwrap();
        assert_eq!(
            left,
            json!({"phase": "Failed", "reason": "NodeAffinity", "message": "m", "startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "example.com/mine", "status": "True"}]})
        );
    }
}
