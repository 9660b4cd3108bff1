//! LimitRanger: containers get the namespace's defaults; containers, pods and claims keep within its bounds.
mod constraint;
mod defaults;

use crate::{
    request::{Operation, about, aggregate, all, forbidden, operation},
    resources::{self, Resources, Side},
    value,
};
use async_trait::async_trait;
use skiff_json::Value;
use skiff_meta::Status;
use skiff_policy::{Admission, Attributes};

pub struct LimitRanger;

#[async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if concerned(a) && about(a, "", "pods") {
            for range in all(a, "limitranges", &a.target.namespace) {
                if let Some(pod) = a.object.as_deref_mut() {
                    defaults::fill(&range, pod);
                }
            }
        }
        Ok(())
    }
    async fn validate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !concerned(a) {
            return Ok(());
        }
        let Some(v) = a.object.as_deref() else { return Ok(()) };
        for range in all(a, "limitranges", &a.target.namespace) {
            let errors = if about(a, "", "pods") { of_pod(&range, v) } else { of_claim(&range, v) };
            if !errors.is_empty() {
                return Err(forbidden(a, aggregate(&errors)));
            }
        }
        Ok(())
    }
}

/// A pod's containers are set when it is made, or resized; a claim may grow at any time.
fn concerned(a: &Attributes<'_>) -> bool {
    if a.old.is_some_and(|o| value::at(o, "metadata.deletionTimestamp").is_some()) {
        return false;
    }
    match (operation(a), a.target.subresource.as_str()) {
        (Operation::Create, "") => about(a, "", "pods") || about(a, "", "persistentvolumeclaims"),
        (Operation::Update, "") => about(a, "", "persistentvolumeclaims"),
        (Operation::Update, "resize") => about(a, "", "pods"),
        _ => false,
    }
}

fn of_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for limit in value::list(range, "spec.limits") {
        match value::text(limit, "type") {
            kind @ "Container" => {
                for c in value::list(pod, "spec.containers").iter().chain(value::list(pod, "spec.initContainers")) {
                    let (requests, limits) = (resources::of_container(c, Side::Requests), resources::of_container(c, Side::Limits));
                    constraint::check(limit, kind, &requests, &limits, &mut errors);
                }
            }
            kind @ "Pod" => {
                let (requests, limits) = (resources::of_pod(pod, Side::Requests), resources::of_pod(pod, Side::Limits));
                constraint::check(limit, kind, &requests, &limits, &mut errors);
            }
            _ => {}
        }
    }
    errors
}

fn of_claim(range: &Value, claim: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let requests = resources::at(claim, "spec.resources.requests");
    for limit in value::list(range, "spec.limits").iter().filter(|l| value::text(l, "type") == "PersistentVolumeClaim") {
        for (name, bound) in resources::at(limit, "min") {
            errors.extend(constraint::at_least("PersistentVolumeClaim", &name, bound, &requests, &Resources::new()));
        }
        for (name, bound) in resources::at(limit, "max") {
            errors.extend(constraint::requests_at_most("PersistentVolumeClaim", &name, bound, &requests));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    #[test]
    fn bounds() {
        let range = |limit: Value| json!({"spec": {"limits": [limit]}});
        let pod = |requests: Value, limits: Value| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}});
        let cases = [
            (json!({"type": "Container", "min": {"cpu": "100m"}}), json!({}), json!({}), "minimum cpu usage per Container is 100m.  No request is specified"),
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({"cpu": "50m"}),
                json!({}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (json!({"type": "Container", "max": {"memory": "1Gi"}}), json!({}), json!({}), "maximum memory usage per Container is 1Gi.  No limit is specified"),
            (json!({"type": "Pod", "max": {"memory": "1Gi"}}), json!({}), json!({"memory": "2Gi"}), "maximum memory usage per Pod is 1Gi, but limit is 2Gi"),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "100m"}),
                json!({"cpu": "300m"}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
            (json!({"type": "Container", "max": {"memory": "1Gi"}}), json!({"memory": "1Gi"}), json!({"memory": "1Gi"}), ""),
        ];
        for (limit, requests, limits, want) in cases {
            assert_eq!(of_pod(&range(limit), &pod(requests, limits)).join("|"), want);
        }
        let claim = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
        let errors = of_claim(&range(json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}})), &claim);
        assert_eq!(errors, ["maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 5Gi"]);
    }
}
